# DeepLabV2 with ResNet-101 at stride 8, the paper's segmenter, on
# pseudo-labels of PASCAL VOC 2012.
#
#   LABEL_DIR=work_dirs/labels torchrun --nproc-per-node 4 tools/train.py \
#       THIS --launcher pytorch
#   python tools/test.py THIS \
#       work_dirs/deeplabv2_r101-d8_20k_voc12/last_checkpoint
#
# On 1 or 8 GPUs set train_dataloader.batch_size=16 or 2 (README.md here).
# Weights: torchvision's, which MMSegmentation downloads. The model needs mmrca
# where it runs.
# Figures, the paper's, of its own segmenter: 71.1 mIoU on val and 71.6 on test
# with the saliency maps of OAA, 72.2 and 72.8 with those of EPS. We have none:
# not run on the full set.
_base_ = [
    '../_base_/datasets/voc12_seg.py',
    '../_base_/models/deeplabv2_r101-d8.py',
    '../_base_/schedules/seg_20k.py',
]
# DeepLabV2's rates; its crops are of 321 pixels, 10 in an iteration.
optim_wrapper = dict(
    optimizer=dict(lr=2.5e-4),
    paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=10.0))),
)
param_scheduler = dict(eta_min=0.0)
