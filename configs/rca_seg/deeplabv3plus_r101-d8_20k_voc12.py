# DeepLabV3+ with ResNet-101 at stride 8 on pseudo-labels of PASCAL VOC 2012;
# MMSegmentation's model and schedule of 20,000 iterations of 16 images.
#
#   LABEL_DIR=labels torchrun --nproc-per-node 4 tools/train.py THIS \
#       --launcher pytorch
#
# On 1 or 8 GPUs set train_dataloader.batch_size=16 or 2, or leave it and add
# --auto-scale-lr. LABEL_DIR is the folder of the labels. MMSegmentation
# downloads the weights of its ResNet-101.
# Time: not measured at this scale.
# Figures, the paper's, of its own segmenter: 71.1 mIoU on val and 71.6 on
# test with the saliency maps of OAA, 72.2 and 72.8 with those of EPS.
# We measured nothing at this scale; the recipe ran on generated images.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/voc12_seg.py',
    '../_base_/models/deeplabv3plus_r101-d8.py',
]
max_iters = 20000
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4),
)
auto_scale_lr = dict(enable=False, base_batch_size=16)
param_scheduler = dict(
    type='PolyLR', power=0.9, eta_min=1e-4, by_epoch=False, end=max_iters
)
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=max_iters, val_interval=2000
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    checkpoint=dict(by_epoch=False, interval=2000, max_keep_ckpts=2)
)
log_processor = dict(by_epoch=False)
