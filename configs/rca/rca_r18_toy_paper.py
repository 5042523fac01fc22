# RCA with the paper's equations as they stand: affinities are the softmax of
# plain dot products, the memory's momentum is .99.
_base_ = './rca_r18_toy.py'
model = dict(aggregation=dict(temperature=1.0, cosine=False))
custom_hooks = [
    dict(
        type='mmrca.MemoryBankHook',
        momentum=0.99,
        gate=0.7,
        warm_up=2,
        refresh_interval=1,
    )
]
