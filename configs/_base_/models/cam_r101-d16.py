# Plain CAM of ResNet-101 at stride 16, for 20 classes.
_base_ = './cam_r50-d16.py'
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(checkpoint='weights/resnet101-63fe2227.pth'),
    )
)
