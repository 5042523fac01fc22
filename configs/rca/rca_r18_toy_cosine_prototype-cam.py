# RCA on the drawn creatures with the maps of cam_r18_toy_prototype-cam.py.
_base_ = './rca_r18_toy_cosine.py'
model = dict(
    _base_.prototype,
    backbone=dict(out_indices=(0, 1, 2)),
    # Creatures and surroundings share colours, so similar cells mislead, and
    # a creature is divided by its own maximum (docs/decisions.md).
    prototype_cam=dict(_base_.prototype.prototype_cam, self_similarity=None),
    test_cfg=dict(normalization='class'),
)
default_hooks = _base_.prototype_hooks
# Chosen by the images' colours the threshold comes out too low for these maps.
pseudo_label = dict(background=dict(threshold=0.3))
