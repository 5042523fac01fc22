# Plain CAM of ResNet-50 at stride 16, for 20 classes.
_base_ = './cam_vgg16.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=50,
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 2),
        out_indices=(1, 2, 3),
        norm_eval=True,
        init_cfg=dict(
            type='Pretrained',
            _scope_='mmrca',
            checkpoint='weights/resnet50-0676ba61.pth',
        ),
    ),
    cam_head=dict(in_channels=2048),
)
