# RCA with DINOv2's ViT-S/14 on PASCAL VOC 2012: contrast and prototype CAM.
#
#   python tools/train.py THIS
#   python tools/make_pseudo_labels.py THIS \
#       work_dirs/rca_dinov2-vits14_8e_voc12/last_checkpoint \
#       --out-dir work_dirs/labels
#
# Weights: dinov2_vits14_pretrain.pth of facebookresearch/dinov2 (the file
# without registers), in the folder weights
# (https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/).
# Not run on the full set: we have no figures and no times of it. The paper's
# stand in rca_vgg16_30e_voc12_paper.py.
_base_ = [
    '../_base_/rca_photos.py',
    '../_base_/datasets/voc12_cam.py',
    '../_base_/models/cam_dinov2-vits14.py',
    '../_base_/schedules/adamw_8e_vit.py',
]
model = _base_.recipe
