# MMSegmentation's schedule of 80,000 iterations of 16 images.
_base_ = './seg_20k.py'
max_iters = 80000
param_scheduler = dict(end=max_iters)
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=max_iters // 10))
