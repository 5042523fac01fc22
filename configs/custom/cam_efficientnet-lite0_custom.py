# Plain CAM on your own images: the baseline of
# rca_efficientnet-lite0_custom.py.
_base_ = [
    '../_base_/models/cam_efficientnet-lite0.py',
    '../_base_/schedules/cam_custom.py',
]
model = dict(cam_head=dict(num_classes=_base_.own_num_classes))
