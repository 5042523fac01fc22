# RCA on photographs, the recipe with the best labels: the memory's contrast
# shapes the features; the maps are affinities to prototypes of the surest
# regions and of the background, on the last four stages.
_base_ = './rca_mobilenet-v2_8e_voc20-mini_cosine.py'
model = dict(
    backbone=dict(out_indices=(3, 4, 5, 6)),
    cam_head=dict(loss_weight=1.0),
    aggregation=None,
    cls_head=None,
    affinity_map=dict(
        type='mmrca.AffinityMap', num_classes=20, channels=64 + 96 + 160 + 320
    ),
)
custom_hooks = [*_base_.custom_hooks, dict(type='mmrca.AffinityMapHook')]
# Chosen by the images' colours the threshold comes out too low for these maps.
pseudo_label = dict(background=dict(threshold=0.3))
