# RCA on the drawn creatures with the maps of cam_r18_toy_prototype-cam.py.
_base_ = './rca_r18_toy_cosine.py'
model = dict(
    backbone=dict(out_indices=(0, 1, 2)),
    prototype_cam=dict(
        type='mmrca.PrototypeCAM',
        num_classes=6,
        channels=32 + 64 + 128,
        image_region=0.4,
    ),
)
custom_hooks = [*_base_.custom_hooks, dict(type='mmrca.PrototypeCAMHook')]
# Chosen by the images' colours the threshold comes out too low for these maps.
pseudo_label = dict(background=dict(threshold=0.3))
