# RCA with VGG16 at stride 8 on COCO 2014, with the paper's settings.
#
#   python tools/train.py configs/rca/rca_vgg16_30e_coco14.py
#   torchrun --nproc-per-node 4 tools/train.py THIS --launcher pytorch \
#       --auto-scale-lr    # on 8 GPUs 8
#
# Weights: vgg16-397923af.pth of torchvision, in the folder weights
# (https://download.pytorch.org/models/).
# Time: not measured at this scale (about 10,260 iterations of 8 images an
# epoch on one GPU).
# Figures, the paper's: segmenters trained on the pseudo-labels 35.7 mIoU on
# val with the saliency maps of OAA, 36.8 with those of EPS.
# We measured nothing at this scale; the recipe ran on generated images.
#
# Labels are made without saliency maps; rca_vgg16_30e_voc12_saliency.py shows
# how to use them.
_base_ = [
    '../_base_/classifier_runtime.py',
    '../_base_/datasets/coco14_cam.py',
    '../_base_/models/cam_vgg16.py',
    '../_base_/schedules/rca_30e.py',
    '../_base_/rca.py',
]
model = dict(
    _base_.paper,
    aggregation=dict(
        type='mmrca.SemanticAggregation', temperature=0.07, cosine=True
    ),
    cam_head=dict(_base_.paper.cam_head, num_classes=80),
)
default_hooks = _base_.contrast_hooks
# The 40,504 images of val2014 are measured at the end only.
train_cfg = dict(val_interval=30)
