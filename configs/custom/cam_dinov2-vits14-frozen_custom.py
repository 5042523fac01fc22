# Plain CAM on your own images on a frozen DINOv2 ViT-S/14: the baseline of
# cam_dinov2-vits14-frozen_custom_prototype-cam.py.
_base_ = [
    '../_base_/schedules/cam_custom.py',
]
model = dict(
    type='mmrca.RCA',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        size=(224, 224),
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type='mmpretrain.VisionTransformer',
        arch='dinov2-small',
        img_size=518,  # the weights'; positions are resized to each image
        patch_size=14,
        layer_scale_init_value=1e-5,
        out_type='featmap',
        out_indices=(11,),
        frozen_stages=12,
        # _scope_: mmrca's loader refuses a file that lacks weights.
        init_cfg=dict(
            type='Pretrained',
            _scope_='mmrca',
            checkpoint='{{$DINOV2:weights/dinov2_vits14_pretrain.pth}}',
        ),
    ),
    cam_head=dict(
        type='mmrca.CAMHead',
        in_channels=384,
        num_classes=_base_.own_num_classes,
    ),
)
