# The boundary network of your own images, for the refinement by a random
# walk. It learns from the surest labels:
#
#     python tools/make_pseudo_labels.py CONFIG CHECKPOINT --out-dir SURE \
#         --cfg-options pseudo_label.margin=0.2
#     LABEL_DIR=SURE CLASSIFIER=CHECKPOINT python tools/train.py \
#         configs/custom/boundary_efficientnet-lite0_custom.py
_base_ = ['./deeplabv3plus_efficientnet-lite0_custom.py']
model = dict(
    backbone=dict(frozen_stages=7),
    decode_head=dict(
        _delete_=True,
        type='mmrca.BoundaryHead',
        in_channels=(24, 40, 112, 320),
        in_index=(0, 1, 2, 3),
    ),
)
max_iters = 400
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-3, weight_decay=1e-4),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, end=30),
    dict(type='PolyLR', power=0.9, by_epoch=False, begin=30, end=max_iters),
]
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters
)
val_dataloader = val_evaluator = val_cfg = None
test_dataloader = test_evaluator = test_cfg = None
