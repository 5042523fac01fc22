# RCA without aggregation on the drawn creatures: the contrast shapes F, P is
# the result.
_base_ = [
    '../_base_/classifier_runtime.py',
    '../_base_/datasets/toy_cam.py',
    '../_base_/models/cam_r18.py',
    '../_base_/schedules/cam_16e_toy.py',
    '../_base_/rca.py',
]
model = dict(_base_.contrast, memory=_base_.recipe.memory)
default_hooks = _base_.contrast_hooks
