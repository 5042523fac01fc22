# COCO's train2014 and val2014; masks are PNGs with 0 for the background and
# c + 1 for class c.
_base_ = ['./photos_cam.py', './coco14.py']
dataset = dict(
    data_root=_base_.data_root,
    metainfo=_base_.metainfo,
)
train_dataloader = dict(
    dataset=dict(
        **dataset,
        ann_file='labels/train2014_cls.txt',
        data_prefix=dict(img_path='train2014'),
    )
)
val_dataloader = dict(
    dataset=dict(
        **dataset,
        ann_file='labels/val2014_cls.txt',
        data_prefix=dict(
            img_path='val2014', seg_map_path='SegmentationClass/val2014'
        ),
    )
)
test_dataloader = val_dataloader
