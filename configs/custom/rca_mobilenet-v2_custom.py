# RCA on your own images: docs/own_images.md.
#
#     OWN_DATA=data/mine MOBILENET_V2=weights/mobilenet_v2.pth \
#         python tools/train.py configs/custom/rca_mobilenet-v2_custom.py
_base_ = ['./cam_mobilenet-v2_custom.py', '../_base_/rca.py']
model = dict(_base_.recipe, backbone=dict(out_indices=(3, 4, 5, 6)))
default_hooks = dict(_base_.prototype_hooks, **_base_.own_memory_hooks)
# Chosen by the images' colours the threshold comes out too low for these maps.
pseudo_label = dict(background=dict(threshold=0.3))
