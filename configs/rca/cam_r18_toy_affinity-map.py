# Plain CAM on the drawn creatures, completed by an affinity map: prototypes of
# the surest regions and of the background, of all images and of the image
# itself, on the features of all stages.
_base_ = './cam_r18_toy.py'
model = dict(
    backbone=dict(out_indices=(0, 1, 2)),
    affinity_map=dict(
        type='mmrca.AffinityMap',
        num_classes=6,
        channels=32 + 64 + 128,
        own_region=0.4,
    ),
)
custom_hooks = [dict(type='mmrca.AffinityMapHook')]
# Chosen by the images' colours the threshold comes out too low for these maps.
pseudo_label = dict(background=dict(threshold=0.3))
