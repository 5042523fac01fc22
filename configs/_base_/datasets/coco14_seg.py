# Pseudo-labels, in the folder LABEL_DIR, stand in for the masks of the
# training images; the list names those that have one.
_base_ = ['./photos_seg.py', './coco14.py']
data_root = _base_.data_root
label_dir = '{{$LABEL_DIR:work_dirs/labels}}'
train_dataloader = dict(
    dataset=dict(
        metainfo=_base_.metainfo,
        ann_file=data_root + '/ImageSets/Segmentation/train2014.txt',
        data_prefix=dict(
            img_path=data_root + '/train2014', seg_map_path=label_dir
        ),
    )
)
val_dataloader = dict(
    dataset=dict(
        metainfo=_base_.metainfo,
        data_prefix=dict(
            img_path=data_root + '/val2014',
            seg_map_path=data_root + '/SegmentationClass/val2014',
        ),
    )
)
test_dataloader = val_dataloader
