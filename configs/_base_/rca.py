# The method's parts, to be put into a model; numbers of classes and channels
# come from the model's cam_head. First the paper's, with the paper's settings.
contrast = dict(
    memory=dict(
        type='mmrca.RegionMemory', num_prototypes=10, momentum=0.99, gate=0.7
    ),
    loss_nce=dict(
        type='mmrca.RegionMixupNCELoss',
        temperature=0.07,
        beta=8.0,
        loss_weight=0.01,
    ),
)
paper = dict(
    **contrast,
    aggregation=dict(
        type='mmrca.SemanticAggregation', temperature=1.0, cosine=False
    ),
    cls_head=dict(type='mmrca.CAMHead', loss_weight=1.0),
    cam_head=dict(loss_weight=0.4),
)
contrast_hooks = dict(
    memory_bank=dict(
        type='mmrca.MemoryBankHook', warm_up=2, refresh_interval=1
    )
)
# Ours: the maps are log ratios of likeness to prototypes of a class and of
# the background, made of all images when training is over and of the image
# itself, averaged over similar cells. They compare between classes, so they
# are divided by the image's maximum.
prototype = dict(
    prototype_cam=dict(
        type='mmrca.PrototypeCAM',
        num_prototypes=10,
        num_background=20,
        temperature=0.1,
        image_region=0.4,
        self_similarity=0.3,
    ),
    test_cfg=dict(normalization='image', threshold=0.3),
)
prototype_hooks = dict(
    prototype_cam=dict(
        type='mmrca.PrototypeCAMHook', region=0.9, background=0.1, rounds=2
    )
)
# The best labels: contrast and prototype CAM, no aggregation.
recipe = dict(
    **prototype,
    memory=dict(
        type='mmrca.RegionMemory', num_prototypes=10, momentum=0.5, gate=0.7
    ),
    loss_nce=contrast['loss_nce'],
)
recipe_hooks = dict(**contrast_hooks, **prototype_hooks)
