# Plain CAM of ResNet38 at stride 8, for 20 classes.
_base_ = './cam_vgg16.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmrca.ResNet38',
        out_indices=(2, 3, 4, 5),
        norm_eval=True,
        init_cfg=dict(
            type='Pretrained',
            _scope_='mmrca',
            checkpoint='weights/ilsvrc-cls_rna-a1_cls1000_ep-0001.pth',
        ),
    ),
    cam_head=dict(in_channels=4096),
)
