# Plain CAM on the drawn creatures, completed by a prototype CAM: prototypes of
# the surest regions and of the background, of all images and of the image
# itself, on the features of all stages.
_base_ = './cam_r18_toy.py'
model = dict(
    backbone=dict(out_indices=(0, 1, 2)),
    prototype_cam=dict(
        type='mmrca.PrototypeCAM',
        num_classes=6,
        channels=32 + 64 + 128,
        image_region=0.4,
    ),
)
custom_hooks = [dict(type='mmrca.PrototypeCAMHook')]
# Chosen by the images' colours the threshold comes out too low for these maps.
pseudo_label = dict(background=dict(threshold=0.3))
