# RCA on the drawn creatures with the maps of cam_r18_toy_affinity-map.py.
_base_ = './rca_r18_toy_cosine.py'
model = dict(
    backbone=dict(out_indices=(0, 1, 2)),
    affinity_map=dict(
        type='mmrca.AffinityMap',
        num_classes=6,
        channels=32 + 64 + 128,
        own_region=0.4,
    ),
)
custom_hooks = [*_base_.custom_hooks, dict(type='mmrca.AffinityMapHook')]
# Chosen by the images' colours the threshold comes out too low for these maps.
pseudo_label = dict(background=dict(threshold=0.3))
