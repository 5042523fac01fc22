# Plain CAM of DINOv2's ViT-B/14, for 20 classes.
_base_ = './cam_vgg16.py'
model = dict(
    # 27 patches; images of another size end in a patch that is filled up.
    data_preprocessor=dict(size=(378, 378)),
    backbone=dict(
        _delete_=True,
        type='mmpretrain.VisionTransformer',
        arch='base',
        img_size=518,  # the weights'; positions are resized to each image
        patch_size=14,
        layer_scale_init_value=1e-5,
        out_type='featmap',  # tokens as a map
        out_indices=(8, 9, 10, 11),
        init_cfg=dict(
            type='Pretrained',
            _scope_='mmrca',
            checkpoint='weights/dinov2_vitb14_pretrain.pth',
        ),
    ),
    cam_head=dict(in_channels=768),
)
