# MMSegmentation's schedule of 20,000 iterations of 16 images.
_base_ = '../default_runtime.py'
max_iters = 20000
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4),
)
auto_scale_lr = dict(enable=False, base_batch_size=16)
param_scheduler = dict(
    type='PolyLR', power=0.9, eta_min=1e-4, by_epoch=False, end=max_iters
)
train_cfg = dict(
    type='IterBasedTrainLoop',
    max_iters=max_iters,
    val_interval=max_iters // 10,
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    checkpoint=dict(by_epoch=False, interval=max_iters // 10, max_keep_ckpts=2)
)
log_processor = dict(by_epoch=False)
