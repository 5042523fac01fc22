# Pseudo-labels, in the folder LABEL_DIR, stand in for the masks of the
# training images.
_base_ = ['./photos_seg.py', './voc12.py']
data_root = _base_.data_root
label_dir = '{{$LABEL_DIR:work_dirs/labels}}'
train_dataloader = dict(
    dataset=dict(
        metainfo=_base_.metainfo,
        ann_file=data_root + '/ImageSets/Segmentation/trainaug.txt',
        data_prefix=dict(
            img_path=data_root + '/JPEGImages', seg_map_path=label_dir
        ),
    )
)
val_dataloader = dict(
    dataset=dict(
        metainfo=_base_.metainfo,
        ann_file=data_root + '/ImageSets/Segmentation/val.txt',
        data_prefix=dict(
            img_path=data_root + '/JPEGImages',
            seg_map_path=data_root + '/SegmentationClass',
        ),
    )
)
test_dataloader = val_dataloader
