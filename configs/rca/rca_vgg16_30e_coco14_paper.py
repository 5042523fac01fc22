# RCA with VGG16 at stride 8 on COCO 2014, with the paper's settings.
#
#   python tools/train.py THIS
#   python tools/make_pseudo_labels.py THIS \
#       work_dirs/rca_vgg16_30e_coco14_paper/last_checkpoint \
#       --out-dir work_dirs/labels
#
# Weights: vgg16-397923af.pth of torchvision, in the folder weights
# (https://download.pytorch.org/models/).
# Figures, the paper's: segmenters trained on the pseudo-labels 35.7 mIoU on
# val with the saliency maps of OAA, 36.8 with those of EPS.
# We have none: not run on the full set.
#
# Labels are made without saliency maps; rca_vgg16_30e_voc12_paper_saliency.py
# shows how to use them.
_base_ = [
    '../_base_/rca_paper.py',
    '../_base_/datasets/coco14_cam.py',
    '../_base_/models/cam_vgg16.py',
    '../_base_/schedules/rca_30e.py',
]
model = dict(
    _base_.paper,
    cam_head=dict(_base_.paper.cam_head, num_classes=80),
)
# The 40,504 images of val2014 are measured at the end only.
train_cfg = dict(val_interval=_base_.max_epochs)
