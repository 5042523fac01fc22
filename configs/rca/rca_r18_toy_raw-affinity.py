# The released code's affinity: twice the dot products, no softmax.
_base_ = './rca_r18_toy_paper.py'
model = dict(aggregation=dict(temperature=0.5, softmax=False))
