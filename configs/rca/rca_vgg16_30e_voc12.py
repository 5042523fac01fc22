# RCA with VGG16 at stride 8 on PASCAL VOC 2012, with the paper's settings.
#
#   python tools/train.py configs/rca/rca_vgg16_30e_voc12.py
#   torchrun --nproc-per-node 4 tools/train.py THIS --launcher pytorch \
#       --auto-scale-lr    # on 8 GPUs 8
#
# Weights: vgg16-397923af.pth of torchvision, in the folder weights
# (https://download.pytorch.org/models/).
# Time: not measured at this scale (1,323 iterations of 8 images an epoch on
# one GPU).
# Figures, the paper's: pseudo-labels of VOC train 74.1 mIoU over the labelled
# pixels, with saliency maps; segmenters trained on them 71.1 on val and 71.6
# on test with the maps of OAA, 72.2 and 72.8 with those of EPS.
# We measured nothing at this scale; the recipe ran on generated images.
#
# Labels are made without saliency maps; rca_vgg16_30e_voc12_saliency.py makes
# the paper's.
_base_ = [
    '../_base_/classifier_runtime.py',
    '../_base_/datasets/voc12_cam.py',
    '../_base_/models/cam_vgg16.py',
    '../_base_/schedules/rca_30e.py',
    '../_base_/rca.py',
]
model = dict(
    _base_.paper,
    aggregation=dict(
        type='mmrca.SemanticAggregation', temperature=0.07, cosine=True
    ),
)
default_hooks = _base_.contrast_hooks
