# RCA on the drawn creatures as the paper has it: affinities are the softmax of
# plain dot products, the memory's momentum is .99.
_base_ = [
    '../_base_/classifier_runtime.py',
    '../_base_/datasets/toy_cam.py',
    '../_base_/models/cam_r18.py',
    '../_base_/schedules/cam_16e_toy.py',
    '../_base_/rca.py',
]
model = _base_.paper
default_hooks = _base_.contrast_hooks
