# DeepLabV3+ on pseudo-labels of voc20_mini; stock types only.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/voc20_mini_seg.py',
    '../_base_/models/deeplabv3plus_mobilenet-v2.py',
]
max_iters = 240
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=5.0))),
)
param_scheduler = dict(type='PolyLR', power=0.9, by_epoch=False, end=max_iters)
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=max_iters, val_interval=240
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    checkpoint=dict(by_epoch=False, interval=60, max_keep_ckpts=1)
)
log_processor = dict(by_epoch=False)
