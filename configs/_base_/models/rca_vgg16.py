# RCA on VGG16 at stride 8, the paper's classifier, for 20 classes.
channels, num_classes = 512, 20
model = dict(
    type='mmrca.RCA',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        size=(368, 368),
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type='mmrca.VGG16',
        # _scope_: mmrca's loader refuses a file that lacks weights.
        init_cfg=dict(
            type='Pretrained',
            _scope_='mmrca',
            checkpoint='weights/vgg16-397923af.pth',
        ),
    ),
    cam_head=dict(
        type='mmrca.CAMHead',
        in_channels=channels,
        num_classes=num_classes,
        loss_weight=0.4,
    ),
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
        type='mmrca.SemanticAggregation', temperature=0.07, cosine=True
    ),
    cls_head=dict(
        type='mmrca.CAMHead',
        in_channels=2 * channels,
        num_classes=num_classes,
    ),
)
