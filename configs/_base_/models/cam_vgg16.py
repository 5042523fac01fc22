# Plain CAM of VGG16 at stride 8, the paper's backbone, for 20 classes.
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
        # The last is F; all of them feed a prototype CAM.
        out_indices=(2, 3, 4),
        # _scope_: mmrca's loader refuses a file that lacks weights.
        init_cfg=dict(
            type='Pretrained',
            _scope_='mmrca',
            checkpoint='weights/vgg16-397923af.pth',
        ),
    ),
    cam_head=dict(type='mmrca.CAMHead', in_channels=512, num_classes=20),
)
