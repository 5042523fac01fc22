# Plain CAM on your own images: the baseline of
# rca_efficientnet-lite0_custom.py.
_base_ = [
    '../_base_/classifier_runtime.py',
    '../_base_/datasets/custom_cam.py',
    '../_base_/models/cam_efficientnet-lite0.py',
    '../_base_/schedules/cam_8e_photos.py',
]
model = dict(cam_head=dict(num_classes=_base_.own_num_classes))
# Without it the training diverges on steel and tiles (docs/decisions.md).
optim_wrapper = dict(clip_grad=dict(max_norm=1.0))
