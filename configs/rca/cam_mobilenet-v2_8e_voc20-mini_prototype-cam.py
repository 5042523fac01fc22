# Plain CAM, completed by a prototype CAM: prototypes of the surest regions and
# of the background, of all images and of the image itself, on the features of
# the last four stages; averaged over cells that look alike.
_base_ = './cam_mobilenet-v2_8e_voc20-mini.py'
model = dict(
    backbone=dict(out_indices=(3, 4, 5, 6)),
    prototype_cam=dict(
        type='mmrca.PrototypeCAM',
        num_classes=20,
        channels=64 + 96 + 160 + 320,
        image_region=0.4,
        self_similarity=0.3,
    ),
)
custom_hooks = [dict(type='mmrca.PrototypeCAMHook')]
# Log ratios against one background compare between classes. Chosen by the
# images' colours the threshold comes out too low for these maps.
pseudo_label = dict(normalization='image', background=dict(threshold=0.3))
