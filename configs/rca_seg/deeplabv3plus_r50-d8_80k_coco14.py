# DeepLabV3+ with ResNet-50 at stride 8 on pseudo-labels of COCO 2014.
#
#   LABEL_DIR=work_dirs/labels torchrun --nproc-per-node 4 tools/train.py \
#       THIS --launcher pytorch
#   python tools/test.py THIS \
#       work_dirs/deeplabv3plus_r50-d8_80k_coco14/last_checkpoint
#
# On 1 or 8 GPUs set train_dataloader.batch_size=16 or 2 (README.md here).
# The list of the training images is made of that of their labels:
#   cut -d ' ' -f 1 data/coco/labels/train2014_cls.txt \
#       > data/coco/ImageSets/Segmentation/train2014.txt
# Weights: MMSegmentation downloads those of its ResNet-50.
# Figures, the paper's, of its own segmenter: 35.7 mIoU on val with the
# saliency maps of OAA, 36.8 with those of EPS. We have none: not run on the
# full set.
_base_ = [
    '../_base_/datasets/coco14_seg.py',
    '../_base_/models/deeplabv3plus_r50-d8.py',
    '../_base_/schedules/seg_80k.py',
]
model = dict(
    decode_head=dict(num_classes=81), auxiliary_head=dict(num_classes=81)
)
