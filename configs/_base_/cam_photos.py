# Plain CAM on photographs, but for data, backbone and schedule.
_base_ = ['./classifier_runtime.py', './labels_photos.py']
