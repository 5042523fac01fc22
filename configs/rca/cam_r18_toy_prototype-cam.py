# Plain CAM on the drawn creatures, completed by a prototype CAM on the
# features of all stages.
_base_ = [
    '../_base_/classifier_runtime.py',
    '../_base_/datasets/toy_cam.py',
    '../_base_/models/cam_r18.py',
    '../_base_/schedules/cam_16e_toy.py',
    '../_base_/rca.py',
]
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
