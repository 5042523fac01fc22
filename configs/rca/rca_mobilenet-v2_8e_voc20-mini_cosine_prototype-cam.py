# RCA with the maps of cam_mobilenet-v2_8e_voc20-mini_prototype-cam.py.
_base_ = './rca_mobilenet-v2_8e_voc20-mini_cosine.py'
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
custom_hooks = [*_base_.custom_hooks, dict(type='mmrca.PrototypeCAMHook')]
# Log ratios against one background compare between classes. Chosen by the
# images' colours the threshold comes out too low for these maps.
pseudo_label = dict(normalization='image', background=dict(threshold=0.3))
