# Your own images with their image-level labels.
_base_ = ['./small_photos_cam.py', './custom.py']
dataset = dict(metainfo=_base_.own_metainfo, data_prefix=_base_.own_prefix)
train_dataloader = dict(dataset=dict(**dataset, ann_file=_base_.own_list))
val_dataloader = dict(
    dataset=dict(
        **dataset,
        ann_file=_base_.own_val_list,
        pipeline=[
            dict(type='LoadImageFromFile'),
            *_base_.own_load_masks,
            dict(type='mmrca.PackImageLabels'),
        ],
    )
)
test_dataloader = val_dataloader
