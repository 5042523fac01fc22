# Prototype CAM on your own images, on the last four blocks of a frozen DINOv2
# ViT-S/14. Only the head trains: a contrast would have nothing to shape.
#
#     OWN_DATA=data/mine DINOV2=weights/dinov2_vits14_pretrain.pth \
#         python tools/train.py \
#         configs/custom/cam_dinov2-vits14-frozen_custom_prototype-cam.py
#
# Weights: facebookresearch/dinov2's dinov2_vits14_pretrain.pth or mmpretrain's
# vit-small-p14_dinov2-pre_3rdparty_20230426-5641ca5a.pth. The files with
# register tokens do not fit.
# Figures: none; the recipe was not run with these weights.
_base_ = ['./cam_dinov2-vits14-frozen_custom.py', '../_base_/rca.py']
model = dict(_base_.prototype, backbone=dict(out_indices=(8, 9, 10, 11)))
default_hooks = _base_.prototype_hooks
# Chosen by the images' colours the threshold comes out too low for these maps.
pseudo_label = dict(background=dict(threshold=0.3))
