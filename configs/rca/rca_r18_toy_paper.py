# RCA on the drawn creatures as the paper has it: affinities are the softmax
# of plain dot products, the memory's momentum is .99.
_base_ = './cam_r18_toy.py'
num_classes, channels = 6, 128
model = dict(
    cam_head=dict(loss_weight=0.4),
    memory=dict(
        type='mmrca.RegionMemory',
        num_classes=num_classes,
        channels=channels,
        num_prototypes=10,
    ),
    loss_nce=dict(
        type='mmrca.RegionMixupNCELoss',
        temperature=0.07,
        beta=8.0,
        loss_weight=0.01,
    ),
    aggregation=dict(
        type='mmrca.SemanticAggregation', temperature=1.0, cosine=False
    ),
    cls_head=dict(
        type='mmrca.CAMHead',
        in_channels=2 * channels,
        num_classes=num_classes,
    ),
)
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(cls_head=dict(lr_mult=10.0)))
)
custom_hooks = [
    dict(
        type='mmrca.MemoryBankHook',
        momentum=0.99,
        gate=0.7,
        warm_up=2,
        refresh_interval=1,
    )
]
