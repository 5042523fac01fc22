# The released code's pseudo-regions: drawn on the maps' softmax over classes.
_base_ = './rca_r18_toy_paper.py'
model = dict(softmax_regions=True)
