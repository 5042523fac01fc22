# Classifiers of your own images train for 8 epochs, but for 300 iterations at
# least and 10,000 at most, in whole epochs. No mask was used to choose this.
_base_ = [
    '../classifier_runtime.py',
    '../datasets/custom_cam.py',
    './cam_8e_photos.py',
]
batches = -(-_base_.own_count // 16)  # of an epoch
max_epochs = max(-(-300 // batches), min(8, 10_000 // batches), 1)
quarter = -(-max_epochs // 4)
# Of one size: 17 images are 9 and 8, not 16 and 1.
train_dataloader = dict(batch_size=-(-_base_.own_count // batches))
train_cfg = dict(max_epochs=max_epochs, val_interval=quarter)
# Without an end it comes down to 0 where the training ends.
param_scheduler = dict(
    _delete_=True,
    type='PolyLR',
    power=0.9,
    by_epoch=True,
    convert_to_iter_based=True,
)
# Unclipped, trainings on steel and tiles diverge (docs/decisions.md).
optim_wrapper = dict(clip_grad=dict(max_norm=1.0))
default_hooks = dict(checkpoint=dict(interval=quarter))
own_memory_hooks = dict(
    memory_bank=dict(
        type='mmrca.MemoryBankHook',
        warm_up=0.25,
        refresh_interval=-(-max_epochs // 8),
    )
)
if not _base_.own_has_val:
    val_dataloader = val_cfg = val_evaluator = None
    test_dataloader = test_cfg = test_evaluator = None
