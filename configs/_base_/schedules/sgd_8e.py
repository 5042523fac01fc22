# 8 epochs of 16 images an iteration, from ImageNet weights.
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
auto_scale_lr = dict(enable=False, base_batch_size=16)
param_scheduler = dict(
    type='PolyLR', power=0.9, by_epoch=True, end=max_epochs,
    convert_to_iter_based=True,
)  # fmt: skip
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
