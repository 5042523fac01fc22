# For MMSegmentation's own data set. Pseudo-labels, in the folder LABEL_DIR,
# stand in for the masks of the training images.
_base_ = './toy.py'
data_root = '{{$TOY_DATA:data/toy}}'
label_dir = '{{$LABEL_DIR:work_dirs/labels}}'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomCrop', crop_size=(96, 128)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='BaseSegDataset',
        metainfo={{_base_.metainfo}},
        ann_file=data_root + '/ImageSets/Segmentation/train.txt',
        data_prefix=dict(
            img_path=data_root + '/JPEGImages', seg_map_path=label_dir
        ),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BaseSegDataset',
        metainfo={{_base_.metainfo}},
        ann_file=data_root + '/ImageSets/Segmentation/val.txt',
        data_prefix=dict(
            img_path=data_root + '/JPEGImages',
            seg_map_path=data_root + '/SegmentationClass',
        ),
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_dataloader = val_dataloader
test_evaluator = val_evaluator
