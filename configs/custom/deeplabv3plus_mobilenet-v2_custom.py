# A segmenter of your own images, trained on the pseudo-labels in LABEL_DIR,
# from the backbone of the checkpoint CLASSIFIER names (docs/own_images.md).
# Used alone it needs MMSegmentation only.
_base_ = [
    '../_base_/models/deeplabv3plus_mobilenet-v2.py',
    '../_base_/schedules/seg_custom.py',
]
model = dict(decode_head=dict(num_classes=_base_.own_num_labels))
