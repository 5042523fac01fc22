# RCA with ConvNeXt-T at stride 32 on PASCAL VOC 2012: contrast and prototype
# CAM.
#
#   python tools/train.py THIS
#   python tools/make_pseudo_labels.py THIS \
#       work_dirs/rca_convnext-t_8e_voc12/last_checkpoint \
#       --out-dir work_dirs/labels
#
# Weights: mmpretrain's convnext-tiny_32xb128_in1k_20221207-998cf3e9.pth, in
# the folder weights (its model zoo, configs/convnext). Prototypes are of the
# last stage only, as the file has no norm for the others.
# Not run on the full set: we have no figures and no times of it. The paper's
# stand in rca_vgg16_30e_voc12_paper.py.
_base_ = [
    '../_base_/rca_photos.py',
    '../_base_/datasets/voc12_cam.py',
    '../_base_/models/cam_convnext-t.py',
    '../_base_/schedules/adamw_8e.py',
]
model = _base_.recipe
