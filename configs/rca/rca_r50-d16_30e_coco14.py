# RCA with ResNet-50 at stride 16 on COCO 2014: contrast and prototype CAM.
#
#   python tools/train.py THIS
#   python tools/make_pseudo_labels.py THIS \
#       work_dirs/rca_r50-d16_30e_coco14/last_checkpoint \
#       --out-dir work_dirs/labels
#
# Weights: resnet50-0676ba61.pth of torchvision, in the folder weights
# (https://download.pytorch.org/models/).
# Not run on the full set: we have no figures and no times of it. The paper's
# stand in rca_vgg16_30e_coco14_paper.py.
_base_ = [
    '../_base_/rca_photos.py',
    '../_base_/datasets/coco14_cam.py',
    '../_base_/models/cam_r50-d16.py',
    '../_base_/schedules/rca_30e.py',
]
model = dict(
    _base_.recipe,
    cam_head=dict(num_classes=80),
)
# A row for each of 241,035 labels would take 1,883 MB.
train_dataloader = dict(dataset=dict(rows_per_class=500))
# The 40,504 images of val2014 are measured at the end only.
train_cfg = dict(val_interval=_base_.max_epochs)
