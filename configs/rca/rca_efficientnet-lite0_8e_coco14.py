# RCA with EfficientNet-Lite0 at stride 16 on COCO 2014: contrast and prototype
# CAM.
#
#   python tools/train.py THIS
#   python tools/make_pseudo_labels.py THIS \
#       work_dirs/rca_efficientnet-lite0_8e_coco14/last_checkpoint \
#       --out-dir work_dirs/labels
#
# Weights: a package, in mmrca's extra 'weights'.
# Not run on the full set: we have no figures and no times of it. The paper's
# stand in rca_vgg16_30e_coco14_paper.py.
_base_ = [
    '../_base_/rca_photos.py',
    '../_base_/datasets/coco14_cam.py',
    '../_base_/models/cam_efficientnet-lite0.py',
    '../_base_/schedules/sgd_8e.py',
]
model = dict(
    _base_.recipe,
    cam_head=dict(num_classes=80),
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(out_indices=(3, 4, 5, 6)),
)
train_dataloader = dict(batch_size=16)
# The 40,504 images of val2014 are measured at the end only.
train_cfg = dict(val_interval=_base_.max_epochs)
