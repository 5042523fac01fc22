# Plain CAM on the drawn creatures: the baseline of rca_r18_toy.py.
_base_ = [
    '../_base_/classifier_runtime.py',
    '../_base_/datasets/toy_cam.py',
    '../_base_/models/cam_r18.py',
    '../_base_/schedules/cam_16e_toy.py',
]
