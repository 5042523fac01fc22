# RCA on your own images: README, 'Your own images in five minutes'.
#
#     OWN_DATA=data/mine MOBILENET_V2=weights/mobilenet_v2.pth \
#         python tools/train.py configs/custom/rca_mobilenet-v2_custom.py
#
# With masks of the val images add seg_map_path to the data_prefix of
# val_dataloader and dict(type='LoadAnnotations') to its pipeline.
_base_ = [
    '../rca/rca_mobilenet-v2_8e_voc20-mini.py',
    '../_base_/datasets/custom.py',
]
model = dict(
    cam_head=dict(num_classes={{_base_.own_num_classes}}),
    memory=dict(num_classes={{_base_.own_num_classes}}),
    prototype_cam=dict(num_classes={{_base_.own_num_classes}}),
)
dataset = dict(
    data_root={{_base_.own_root}},
    metainfo={{_base_.own_metainfo}},
    data_prefix=dict(_delete_=True, img_path='images'),
)
train_dataloader = dict(dataset=dict(**dataset, ann_file='labels/train.csv'))
val_dataloader = dict(
    dataset=dict(
        **dataset,
        ann_file='labels/val.csv',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='mmrca.PackImageLabels'),
        ],
    )
)
test_dataloader = val_dataloader
