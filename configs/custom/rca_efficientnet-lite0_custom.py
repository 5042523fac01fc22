# RCA on your own images: README, 'Your own images in five minutes'.
#
#     OWN_DATA=data/mine python tools/train.py \
#         configs/custom/rca_efficientnet-lite0_custom.py
#
# With masks of the val images add seg_map_path to the data_prefix of
# val_dataloader and dict(type='LoadAnnotations') to its pipeline.
_base_ = [
    '../_base_/classifier_runtime.py',
    '../_base_/datasets/custom_cam.py',
    '../_base_/models/cam_efficientnet-lite0.py',
    '../_base_/schedules/cam_8e_photos.py',
    '../_base_/rca.py',
]
model = dict(
    _base_.recipe,
    backbone=dict(out_indices=(3, 4, 5, 6)),
    cam_head=dict(num_classes=_base_.own_num_classes),
)
default_hooks = _base_.recipe_hooks
# Without it the training diverges on steel and tiles (docs/decisions.md).
optim_wrapper = dict(clip_grad=dict(max_norm=1.0))
