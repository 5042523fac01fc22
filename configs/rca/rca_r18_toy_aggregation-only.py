# RCA without contrast: the memory serves the aggregation alone.
_base_ = './rca_r18_toy_cosine.py'
model = dict(loss_nce=None)
