# Plain CAM: the yardstick. P alone, no memory, no contrast, no aggregation.
model = dict(
    type='mmrca.RCA',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        size=(224, 224),
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type='MobileNetV2',
        strides=(1, 2, 2, 2, 1, 1, 1),
        dilations=(1, 1, 1, 1, 1, 2, 2),
        out_indices=(6,),
        frozen_stages=2,
        norm_eval=True,
        # _scope_: mmrca's loader refuses a file that lacks weights.
        init_cfg=dict(
            type='Pretrained',
            _scope_='mmrca',
            checkpoint='{{$MOBILENET_V2:weights/mobilenet_v2.pth}}',
        ),
    ),
    cam_head=dict(type='mmrca.CAMHead', in_channels=320, num_classes=20),
)
