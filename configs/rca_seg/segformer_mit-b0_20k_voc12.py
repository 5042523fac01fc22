# SegFormer-B0 on pseudo-labels of PASCAL VOC 2012.
#
#   LABEL_DIR=work_dirs/labels torchrun --nproc-per-node 4 tools/train.py \
#       THIS --launcher pytorch
#   python tools/test.py THIS \
#       work_dirs/segformer_mit-b0_20k_voc12/last_checkpoint
#
# On 1 or 8 GPUs set train_dataloader.batch_size=16 or 2 (README.md here).
# Weights: MMSegmentation downloads those of its MiT-B0.
# Figures, the paper's, of its own segmenter: 71.1 mIoU on val and 71.6 on test
# with the saliency maps of OAA, 72.2 and 72.8 with those of EPS. We have none:
# not run on the full set.
_base_ = [
    '../_base_/datasets/voc12_seg.py',
    '../_base_/models/segformer_mit-b0.py',
    '../_base_/schedules/segformer_20k.py',
]
