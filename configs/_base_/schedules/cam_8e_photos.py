# 8 epochs of photographs from ImageNet weights, and how their labels are made.
_base_ = ['./sgd_8e.py', '../labels_photos.py']
