# RCA without contrast: the memory serves the aggregation alone.
_base_ = './rca_r18_toy.py'
model = dict(loss_nce=None)
