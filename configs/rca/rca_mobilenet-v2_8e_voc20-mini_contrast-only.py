# RCA without aggregation on photographs: the contrast shapes F, P is the
# result.
_base_ = [
    '../_base_/classifier_runtime.py',
    '../_base_/datasets/voc20_mini_cam.py',
    '../_base_/models/cam_mobilenet-v2.py',
    '../_base_/schedules/cam_8e_photos.py',
    '../_base_/rca.py',
]
model = dict(_base_.contrast, memory=_base_.recipe.memory)
default_hooks = _base_.contrast_hooks
