# RCA without aggregation, with a prototype CAM, on photographs, of
# the weights that install with mmrca.
_base_ = [
    '../_base_/classifier_runtime.py',
    '../_base_/datasets/voc20_mini_cam.py',
    '../_base_/models/cam_efficientnet-lite0.py',
    '../_base_/schedules/cam_8e_photos.py',
    '../_base_/rca.py',
]
model = dict(
    _base_.recipe,
    backbone=dict(out_indices=(3, 4, 5, 6)),
)
default_hooks = _base_.recipe_hooks
