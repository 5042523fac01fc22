# Plain CAM on your own images: the baseline of rca_mobilenet-v2_custom.py.
_base_ = [
    '../_base_/models/cam_mobilenet-v2.py',
    '../_base_/schedules/cam_custom.py',
]
model = dict(cam_head=dict(num_classes=_base_.own_num_classes))
