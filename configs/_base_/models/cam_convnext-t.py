# Plain CAM of mmpretrain's ConvNeXt-T at stride 32, for 20 classes.
_base_ = './cam_vgg16.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.ConvNeXt',
        arch='tiny',
        # Each stage that is returned has a norm of its own, and the file has
        # the last one's only.
        out_indices=(3,),
        drop_path_rate=0.1,
        gap_before_final_norm=False,  # else it gives a vector
        init_cfg=dict(
            type='Pretrained',
            _scope_='mmrca',
            checkpoint='weights/convnext-tiny_32xb128_in1k_20221207-998cf3e9.pth',
        ),
    ),
    cam_head=dict(in_channels=768),
)
