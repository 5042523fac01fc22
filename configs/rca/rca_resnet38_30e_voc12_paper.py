# RCA with ResNet38 at stride 8 on PASCAL VOC 2012, with the paper's settings.
#
#   python tools/train.py THIS
#   python tools/make_pseudo_labels.py THIS \
#       work_dirs/rca_resnet38_30e_voc12_paper/last_checkpoint \
#       --out-dir work_dirs/labels
#
# Weights: ilsvrc-cls_rna-a1_cls1000_ep-0001.pth, which PSA, IRN and SEAM pass
# around, in the folder weights.
# Figures: none; not run on the full set. The paper's, of VGG16, stand in
# rca_vgg16_30e_voc12_paper.py.
_base_ = [
    '../_base_/rca_paper.py',
    '../_base_/datasets/voc12_cam.py',
    '../_base_/models/cam_resnet38.py',
    '../_base_/schedules/rca_30e.py',
]
model = _base_.paper
