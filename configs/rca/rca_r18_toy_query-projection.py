# The contrast asks with projected regions; the memory keeps plain ones.
_base_ = './rca_r18_toy_paper.py'
model = dict(projection=dict(type='mmrca.QueryProjection'))
