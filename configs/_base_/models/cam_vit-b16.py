# Plain CAM of mmpretrain's ViT-B/16, for 20 classes.
_base_ = './cam_vgg16.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.VisionTransformer',
        arch='base',
        img_size=224,  # the weights'; positions are resized to each image
        patch_size=16,
        drop_path_rate=0.1,
        out_type='featmap',  # tokens as a map
        out_indices=(8, 9, 10, 11),
        init_cfg=dict(
            type='Pretrained',
            _scope_='mmrca',
            checkpoint='weights/vit-base-p16_pt-32xb128-mae_in1k_20220623-4c544545.pth',
        ),
    ),
    cam_head=dict(in_channels=768),
)
