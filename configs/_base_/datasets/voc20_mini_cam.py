# 628 + 100 photographs with the 20 PASCAL VOC classes in a VOC-style folder.
_base_ = ['./small_photos_cam.py', './voc12.py']
data_root = '{{$VOC20_MINI:data/voc20_mini}}'
dataset = dict(
    data_root=data_root,
    metainfo=_base_.metainfo,
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
)
train_dataloader = dict(
    dataset=dict(**dataset, ann_file='labels/train_cls.txt')
)
val_dataloader = dict(dataset=dict(**dataset, ann_file='labels/val_cls.txt'))
test_dataloader = val_dataloader
