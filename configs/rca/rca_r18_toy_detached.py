# The second head learns from the features, but sends no gradient to them.
_base_ = './rca_r18_toy_cosine.py'
model = dict(aggregation=dict(detach=True))
