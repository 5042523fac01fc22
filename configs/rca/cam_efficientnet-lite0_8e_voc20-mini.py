# Plain CAM on photographs: the baseline of
# rca_efficientnet-lite0_8e_voc20-mini.py.
_base_ = [
    '../_base_/classifier_runtime.py',
    '../_base_/datasets/voc20_mini_cam.py',
    '../_base_/models/cam_efficientnet-lite0.py',
    '../_base_/schedules/cam_8e_photos.py',
]
