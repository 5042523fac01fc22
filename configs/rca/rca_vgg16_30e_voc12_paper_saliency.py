# rca_vgg16_30e_voc12_paper.py with the paper's pseudo-labels, which need
# saliency maps: 1 - saliency as background, a dense CRF of 10 iterations, 255
# where two classes claim a pixel or label and saliency disagree. The
# classifier is the same; train either.
#
#   python tools/train.py configs/rca/rca_vgg16_30e_voc12_paper.py
#   python tools/make_pseudo_labels.py \
#       configs/rca/rca_vgg16_30e_voc12_paper_saliency.py \
#       work_dirs/rca_vgg16_30e_voc12_paper/last_checkpoint \
#       --out-dir work_dirs/labels
#
# Weights: as there. Saliency maps of OAA's or EPS's authors, as 8-bit ID.png.
# Figures, the paper's: labels of VOC train 74.1 mIoU over the labelled pixels.
# We have none: not run on the full set.
_base_ = './rca_vgg16_30e_voc12_paper.py'
pseudo_label = dict(
    background=dict(
        _delete_=True,
        type='saliency',
        dir='data/VOCdevkit/VOC2012/Saliency',
    ),
    conflict=0.9,
    background_conflict=True,
)
