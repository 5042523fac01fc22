# Plain CAM on photographs: the baseline of rca_mobilenet-v2_8e_voc20-mini.py.
_base_ = [
    '../_base_/classifier_runtime.py',
    '../_base_/datasets/voc20_mini_cam.py',
    '../_base_/models/cam_mobilenet-v2.py',
    '../_base_/schedules/cam_8e_photos.py',
]
