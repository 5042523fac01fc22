# RCA on your own images: docs/own_images.md.
#
#     OWN_DATA=data/mine python tools/train.py \
#         configs/custom/rca_efficientnet-lite0_custom.py
_base_ = ['./cam_efficientnet-lite0_custom.py', '../_base_/rca.py']
model = dict(_base_.recipe, backbone=dict(out_indices=(3, 4, 5, 6)))
default_hooks = dict(_base_.prototype_hooks, **_base_.own_memory_hooks)
