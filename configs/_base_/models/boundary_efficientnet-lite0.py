# A boundary network on a classifier's frozen EfficientNet-Lite0, at stride 4.
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        size=(192, 192),
        mean=[127.0, 127.0, 127.0],
        std=[128.0, 128.0, 128.0],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type='mmrca.EfficientNetLite',
        arch='lite0',
        output_stride=16,
        out_indices=(1, 2, 4, 6),
        frozen_stages=7,
        norm_eval=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='{{$CLASSIFIER:work_dirs/voc_rca/epoch_8.pth}}',
            prefix='backbone',
        ),
    ),
    decode_head=dict(
        type='mmrca.BoundaryHead',
        in_channels=(24, 40, 112, 320),
        in_index=(0, 1, 2, 3),
    ),
    test_cfg=dict(mode='whole'),
)
