# Your own images with pseudo-labels, in the folder LABEL_DIR, for a segmenter.
# MMSegmentation's own data set reads images of one suffix; this one is needed
# for training and tests, not where the segmenter is used.
_base_ = ['./small_photos_seg.py', './custom.py']
dataset = dict(type='mmrca.ImageLevelDataset', metainfo=_base_.own_metainfo)
train_dataloader = dict(
    dataset=dict(
        **dataset,
        ann_file=_base_.own_list,
        data_prefix=dict(
            img_path=_base_.own_images,
            seg_map_path='{{$LABEL_DIR:work_dirs/labels}}',
        ),
    )
)
val_dataloader = dict(
    dataset=dict(
        **dataset,
        ann_file=_base_.own_val_list,
        data_prefix=_base_.own_prefix,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(256, 256), keep_ratio=True),
            *_base_.own_load_masks,
            dict(type='PackSegInputs'),
        ],
    )
)
test_dataloader = val_dataloader
