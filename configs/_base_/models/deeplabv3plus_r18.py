# MMSegmentation's DeepLabV3+ on three stages of a narrow ResNet-18 at stride
# 8, which goes on from what the classifier learned of the image-level labels.
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        size=(96, 128),
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type='ResNet',
        depth=18,
        num_stages=3,
        stem_channels=24,
        base_channels=24,
        strides=(1, 2, 1),
        dilations=(1, 1, 1),
        out_indices=(0, 1, 2),
        init_cfg=dict(
            type='Pretrained',
            checkpoint='{{$CLASSIFIER:work_dirs/rca_r18_toy/epoch_16.pth}}',
            prefix='backbone',
        ),
    ),
    decode_head=dict(
        type='DepthwiseSeparableASPPHead',
        in_channels=96,
        in_index=2,
        channels=64,
        dilations=(1, 3, 6, 9),
        c1_in_channels=24,
        c1_channels=16,
        num_classes=7,
        norm_cfg=dict(type='BN'),
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss'),
    ),
    test_cfg=dict(mode='whole'),
)
