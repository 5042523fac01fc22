# A segmenter of your own images, trained on the pseudo-labels in LABEL_DIR,
# from the backbone of the checkpoint that CLASSIFIER names. MMSegmentation's
# own data set wants images of one suffix, here .jpg. There are no masks to
# validate with.
_base_ = [
    '../rca_seg/deeplabv3plus_mobilenet-v2_voc20-mini.py',
    '../_base_/datasets/custom.py',
]
model = dict(decode_head=dict(num_classes={{_base_.own_num_labels}}))
train_dataloader = dict(
    dataset=dict(
        metainfo={{_base_.own_metainfo}},
        ann_file={{_base_.own_ids}},
        data_prefix=dict(img_path={{_base_.own_images}}),
    )
)
val_dataloader = val_evaluator = val_cfg = None
# Without masks a test writes its predictions, as PNGs of class numbers.
test_dataloader = dict(
    dataset=dict(
        metainfo={{_base_.own_metainfo}},
        ann_file={{_base_.own_val_ids}},
        data_prefix=dict(img_path={{_base_.own_images}}),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(256, 256), keep_ratio=True),
            dict(type='PackSegInputs'),
        ],
    )
)
test_evaluator = dict(format_only=True, output_dir='work_dirs/own_predictions')
