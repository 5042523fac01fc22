# The same images for MMSegmentation's own data set; pseudo-labels stand in
# for the masks of the training images.
data_root = '{{$TOY_DATA:data/toy}}'
label_dir = '{{$LABEL_DIR:labels}}'
metainfo = dict(
    classes=(
        'background', 'starpuff', 'ringslug', 'crossbug', 'moonbean',
        'kitefish', 'boltworm',
    ),
    palette=[
        [0, 0, 0], [255, 225, 30], [250, 60, 200], [240, 30, 40],
        [60, 240, 250], [255, 130, 10], [120, 255, 60],
    ],
)  # fmt: skip
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomCrop', crop_size=(128, 160)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='BaseSegDataset',
        metainfo=metainfo,
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
        metainfo=metainfo,
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
