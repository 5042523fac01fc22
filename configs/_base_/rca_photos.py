# The recipe with the best labels on photographs, contrast and prototype CAM,
# but for data, backbone and schedule: `model = _base_.recipe`.
_base_ = ['./cam_photos.py', './rca.py']
default_hooks = _base_.recipe_hooks
