# 8 epochs of 8 images an iteration for backbones with layer norms. Learning
# rate, heads ten times it, weight decay and warm-up are those of
# MMSegmentation's SegFormer, epochs and decay those of sgd_8e.py. Not tuned.
max_epochs = 8
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=6e-5, weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys=dict(
            cam_head=dict(lr_mult=10.0), cls_head=dict(lr_mult=10.0)
        )
    ),
)
auto_scale_lr = dict(enable=False, base_batch_size=8)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, end=1500),
    dict(
        type='PolyLR', power=0.9, by_epoch=True, end=max_epochs,
        convert_to_iter_based=True,
    ),
]  # fmt: skip
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
