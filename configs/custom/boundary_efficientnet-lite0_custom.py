# The boundary network of your own images, for the refinement by a random
# walk. It learns from the surest labels of the classifier CHECKPOINT:
#
#     python tools/make_pseudo_labels.py CONFIG CHECKPOINT --out-dir SURE \
#         --cfg-options pseudo_label.margin=0.2
#     LABEL_DIR=SURE CLASSIFIER=CHECKPOINT python tools/train.py \
#         configs/custom/boundary_efficientnet-lite0_custom.py
#
# then give CHECKPOINT's labels the refinement dict(type='random_walk',
# config=..., checkpoint=...): docs/results.md shows the command.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/custom_seg.py',
    '../_base_/models/boundary_efficientnet-lite0.py',
    '../_base_/schedules/boundary_400.py',
]
val_dataloader = val_evaluator = val_cfg = None
test_dataloader = test_evaluator = test_cfg = None
default_hooks = dict(
    checkpoint=dict(by_epoch=False, interval=200, max_keep_ckpts=1)
)
