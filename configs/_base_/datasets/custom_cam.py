# Your own images with their image-level labels; masks are not needed.
_base_ = ['./small_photos_cam.py', './custom.py']
dataset = dict(
    data_root=_base_.own_root,
    metainfo=_base_.own_metainfo,
    data_prefix=dict(img_path='images'),
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
