# RCA with VGG16 at stride 8 on PASCAL VOC 2012, with the paper's settings.
#
#   python tools/train.py THIS
#   python tools/make_pseudo_labels.py THIS \
#       work_dirs/rca_vgg16_30e_voc12_paper/last_checkpoint \
#       --out-dir work_dirs/labels
#
# Weights: vgg16-397923af.pth of torchvision, in the folder weights
# (https://download.pytorch.org/models/).
# Figures, the paper's: pseudo-labels of VOC train 74.1 mIoU over the labelled
# pixels, with saliency maps; segmenters trained on them 71.1 on val and 71.6
# on test with the maps of OAA, 72.2 and 72.8 with those of EPS.
# We have none: not run on the full set.
#
# Labels are made without saliency maps; rca_vgg16_30e_voc12_paper_saliency.py
# makes the paper's.
_base_ = [
    '../_base_/rca_paper.py',
    '../_base_/datasets/voc12_cam.py',
    '../_base_/models/cam_vgg16.py',
    '../_base_/schedules/rca_30e.py',
]
model = _base_.paper
