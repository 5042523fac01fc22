# RCA on photographs with the maps of
# cam_mobilenet-v2_8e_voc20-mini_prototype-cam.py.
_base_ = './rca_mobilenet-v2_8e_voc20-mini_cosine.py'
model = dict(
    _base_.prototype,
    backbone=dict(out_indices=(3, 4, 5, 6)),
)
default_hooks = _base_.prototype_hooks
# Chosen by the images' colours the threshold comes out too low for these maps.
pseudo_label = dict(background=dict(threshold=0.3))
