# Plain CAM of three stages of a narrow ResNet-18 at stride 8, trained from
# scratch: the yardstick. P alone, no memory, no contrast, no aggregation.
model = dict(
    type='mmrca.RCA',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        size=(96, 128),
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type='ResNet',
        depth=18,
        num_stages=3,
        stem_channels=24,
        base_channels=24,
        strides=(1, 2, 1),
        dilations=(1, 1, 1),
        out_indices=(2,),
        zero_init_residual=False,
    ),
    cam_head=dict(type='mmrca.CAMHead', in_channels=96, num_classes=6),
)
