# RCA with ResNet-50 at stride 16 on PASCAL VOC 2012, with the paper's
# settings.
#
#   python tools/train.py THIS
#   python tools/make_pseudo_labels.py THIS \
#       work_dirs/rca_r50-d16_30e_voc12_paper/last_checkpoint \
#       --out-dir work_dirs/labels
#
# Weights: resnet50-0676ba61.pth of torchvision, in the folder weights
# (https://download.pytorch.org/models/).
# Figures: none; not run on the full set. The paper's, of VGG16, stand in
# rca_vgg16_30e_voc12_paper.py.
_base_ = [
    '../_base_/rca_paper.py',
    '../_base_/datasets/voc12_cam.py',
    '../_base_/models/cam_r50-d16.py',
    '../_base_/schedules/rca_30e.py',
]
model = _base_.paper
