# RCA with ViT-B/16 on COCO 2014: contrast and prototype CAM.
#
#   python tools/train.py THIS
#   python tools/make_pseudo_labels.py THIS \
#       work_dirs/rca_vit-b16_8e_coco14/last_checkpoint \
#       --out-dir work_dirs/labels
#
# Weights: mmpretrain's vit-base-p16_pt-32xb128-mae_in1k_20220623-4c544545.pth,
# in the folder weights (its model zoo, configs/vision_transformer).
# Not run on the full set: we have no figures and no times of it. The paper's
# stand in rca_vgg16_30e_coco14_paper.py.
_base_ = [
    '../_base_/rca_photos.py',
    '../_base_/datasets/coco14_cam.py',
    '../_base_/models/cam_vit-b16.py',
    '../_base_/schedules/adamw_8e_vit.py',
]
model = dict(
    _base_.recipe,
    cam_head=dict(num_classes=80),
)
# The 40,504 images of val2014 are measured at the end only.
train_cfg = dict(val_interval=_base_.max_epochs)
