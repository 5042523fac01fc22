# Plain CAM of VGG16 at stride 8 on COCO 2014: the baseline of
# rca_vgg16_30e_coco14.py.
#
#   python tools/train.py THIS
#   python tools/make_pseudo_labels.py THIS \
#       work_dirs/cam_vgg16_30e_coco14/last_checkpoint \
#       --out-dir work_dirs/labels
#
# Weights: vgg16-397923af.pth of torchvision, in the folder weights
# (https://download.pytorch.org/models/).
# Not run on the full set: we have no figures and no times of it. The paper's
# stand in rca_vgg16_30e_coco14_paper.py.
_base_ = [
    '../_base_/cam_photos.py',
    '../_base_/datasets/coco14_cam.py',
    '../_base_/models/cam_vgg16.py',
    '../_base_/schedules/rca_30e.py',
]
model = dict(cam_head=dict(num_classes=80))
# The 40,504 images of val2014 are measured at the end only.
train_cfg = dict(val_interval=_base_.max_epochs)
