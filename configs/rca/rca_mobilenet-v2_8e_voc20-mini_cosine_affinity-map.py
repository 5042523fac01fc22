# RCA with the maps of cam_mobilenet-v2_8e_voc20-mini_affinity-map.py.
_base_ = './rca_mobilenet-v2_8e_voc20-mini_cosine.py'
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
custom_hooks = [*_base_.custom_hooks, dict(type='mmrca.AffinityMapHook')]
# Log ratios against one background compare between classes. Chosen by the
# images' colours the threshold comes out too low for these maps.
pseudo_label = dict(normalization='image', background=dict(threshold=0.3))
