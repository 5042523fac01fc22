# Plain CAM, completed by an affinity map: prototypes of the surest regions and
# of the background, of all images and of the image itself, on the features of
# the last four stages; averaged over cells that look alike.
_base_ = './cam_mobilenet-v2_8e_voc20-mini.py'
model = dict(
    backbone=dict(out_indices=(3, 4, 5, 6)),
    affinity_map=dict(
        type='mmrca.AffinityMap',
        num_classes=20,
        channels=64 + 96 + 160 + 320,
        own_region=0.4,
        alike=0.3,
    ),
)
custom_hooks = [dict(type='mmrca.AffinityMapHook')]
# Log ratios against one background compare between classes. Chosen by the
# images' colours the threshold comes out too low for these maps.
pseudo_label = dict(normalization='image', background=dict(threshold=0.3))
