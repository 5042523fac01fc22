# DeepLabV3+ on pseudo-labels of voc20_mini; stock types only.
#
#   LABEL_DIR=... CLASSIFIER=... VOC20_MINI=... python tools/train.py THIS
#
# LABEL_DIR is the folder of the labels, CLASSIFIER the checkpoint whose
# backbone the segmenter starts from, VOC20_MINI the folder of the images.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/voc20_mini_seg.py',
    '../_base_/models/deeplabv3plus_mobilenet-v2.py',
]
max_iters = 1000
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-4, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=10.0))),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, end=30),
    dict(type='PolyLR', power=0.9, by_epoch=False, begin=30, end=max_iters),
]
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=max_iters, val_interval=500
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    checkpoint=dict(by_epoch=False, interval=250, max_keep_ckpts=2)
)
log_processor = dict(by_epoch=False)
