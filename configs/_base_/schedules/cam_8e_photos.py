# 8 epochs of photographs from ImageNet weights, and how their labels are made.
max_epochs = 8
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(
        custom_keys=dict(
            cam_head=dict(lr_mult=10.0), cls_head=dict(lr_mult=10.0)
        )
    ),
)
param_scheduler = dict(
    type='PolyLR', power=0.9, by_epoch=True, end=max_epochs,
    convert_to_iter_based=True,
)  # fmt: skip
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
pseudo_label = dict(
    scales=(1.0, 1.5),
    flip=True,
    background=dict(type='constant', threshold='auto'),
    margin=0.05,
    refinement=dict(type='pixel_adaptive', half_resolution=True),
)
