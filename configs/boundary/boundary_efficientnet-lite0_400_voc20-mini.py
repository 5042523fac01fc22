# The boundary network of voc20_mini, for the refinement by a random walk.
#
#     LABEL_DIR=SURE CLASSIFIER=CHECKPOINT VOC20_MINI=... \
#         python tools/train.py THIS
#
# CHECKPOINT is a classifier on EfficientNet-Lite0, SURE its labels made with
# --cfg-options pseudo_label.margin=0.2. docs/results.md says what it brings.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/voc20_mini_seg.py',
    '../_base_/models/boundary_efficientnet-lite0.py',
    '../_base_/schedules/boundary_400.py',
]
val_dataloader = val_evaluator = val_cfg = None
test_dataloader = test_evaluator = test_cfg = None
default_hooks = dict(
    checkpoint=dict(by_epoch=False, interval=200, max_keep_ckpts=1)
)
