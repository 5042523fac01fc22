# Plain CAM and prototype CAM on the features of a frozen DINOv2 ViT-S/14, of
# its last four blocks. Only the head trains: a contrast would have nothing to
# shape.
#
#   VOC20_MINI=... python tools/train.py THIS
#
# Weights: facebookresearch/dinov2's dinov2_vits14_pretrain.pth or mmpretrain's
# vit-small-p14_dinov2-pre_3rdparty_20230426-5641ca5a.pth, in the folder
# weights. The files with register tokens do not fit.
# Figures: none; the recipe ran with random weights of these names.
_base_ = [
    '../_base_/classifier_runtime.py',
    '../_base_/datasets/voc20_mini_cam.py',
    '../_base_/schedules/cam_8e_photos.py',
    '../_base_/rca.py',
]
model = dict(
    _base_.prototype,
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
        out_indices=(8, 9, 10, 11),
        frozen_stages=12,
        # _scope_: mmrca's loader refuses a file that lacks weights.
        init_cfg=dict(
            type='Pretrained',
            _scope_='mmrca',
            checkpoint='weights/dinov2_vits14_pretrain.pth',
        ),
    ),
    cam_head=dict(type='mmrca.CAMHead', in_channels=384, num_classes=20),
)
default_hooks = _base_.prototype_hooks
# Chosen by the images' colours the threshold comes out too low for these maps.
pseudo_label = dict(background=dict(threshold=0.3))
