# All that the released code does otherwise than the paper, together: except
# for what is a plain error there (see docs/decisions.md).
_base_ = './rca_r18_toy_ring.py'
model = dict(
    softmax_regions=True,
    projection=dict(type='mmrca.QueryProjection'),
    aggregation=dict(temperature=0.5, softmax=False, learned=True),
    cam_head=dict(num_convs=3, channels=128),
    cls_head=dict(num_convs=3, channels=128, per_class=True),
)
