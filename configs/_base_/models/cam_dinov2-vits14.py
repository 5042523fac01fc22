# Plain CAM of DINOv2's ViT-S/14, for 20 classes.
_base_ = './cam_dinov2-vitb14.py'
model = dict(
    backbone=dict(
        arch='dinov2-small',
        init_cfg=dict(checkpoint='weights/dinov2_vits14_pretrain.pth'),
    ),
    cam_head=dict(in_channels=384),
)
