# The second head learns from the features, and they not from it.
_base_ = './rca_r18_toy_cosine.py'
model = dict(aggregation=dict(detach=True))
