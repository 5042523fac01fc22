# DeepLabV3+ on pseudo-labels of the drawn creatures; stock types only.
# LABEL_DIR=DIR chooses the folder of the labels.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/toy_seg.py',
    '../_base_/models/deeplabv3plus_r18.py',
]
max_iters = 400
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05),
)
param_scheduler = dict(
    type='OneCycleLR',
    eta_max=2e-3,
    pct_start=0.2,
    total_steps=max_iters,
    by_epoch=False,
)
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=max_iters, val_interval=200
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    checkpoint=dict(by_epoch=False, interval=200, max_keep_ckpts=1)
)
log_processor = dict(by_epoch=False)
