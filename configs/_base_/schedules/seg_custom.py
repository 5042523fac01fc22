# Segmenters of your own images train for 12 epochs of 8 images, but for 300
# iterations at least and 10,000 at most. No mask was used to choose this.
_base_ = ['../default_runtime.py', '../datasets/custom_seg.py']
max_iters = min(max(300, round(12 / 8 * _base_.own_count)), 10_000)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-4, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=10.0))),
)
# Without an end it comes down to 0 where the training ends.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, end=30),
    dict(type='PolyLR', power=0.9, by_epoch=False),
]
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters // 2
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    checkpoint=dict(by_epoch=False, interval=max_iters // 4, max_keep_ckpts=2)
)
log_processor = dict(by_epoch=False)
if not (_base_.own_has_val and _base_.own_has_masks):
    val_dataloader = val_cfg = val_evaluator = None
# Without masks a test writes its predictions, as PNGs of class numbers.
if not _base_.own_has_masks:
    test_evaluator = dict(
        format_only=True, output_dir='work_dirs/own_predictions'
    )
if not _base_.own_has_val:
    test_dataloader = test_cfg = test_evaluator = None
