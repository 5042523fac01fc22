# The 10,582 images of trainaug.
_base_ = ['./photos_cam.py', './voc12.py']
dataset = dict(
    data_root=_base_.data_root,
    metainfo=_base_.metainfo,
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
)
train_dataloader = dict(
    dataset=dict(**dataset, ann_file='labels/trainaug_cls.txt')
)
val_dataloader = dict(dataset=dict(**dataset, ann_file='labels/val_cls.txt'))
test_dataloader = val_dataloader
