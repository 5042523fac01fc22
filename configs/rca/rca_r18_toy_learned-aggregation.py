# Learned projections of queries, keys, values and their sum.
_base_ = './rca_r18_toy_paper.py'
model = dict(aggregation=dict(learned=True))
