# Drawn creatures (tools/make_toy_data.py): 6 classes, 400 train and 100 val
# images of about 160x120. Masks are read by validation only.
data_root = '{{$TOY_DATA:data/toy}}'
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
    dict(type='RandomCrop', crop_size=(128, 160)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmrca.PackImageLabels'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='mmrca.PackImageLabels'),
]
dataset = dict(
    type='mmrca.ImageLevelDataset',
    data_root=data_root,
    metainfo=metainfo,
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
)
train_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        **dataset, ann_file='labels/train_cls.txt', pipeline=train_pipeline
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **dataset,
        ann_file='labels/val_cls.txt',
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
val_evaluator = dict(type='mmrca.CAMMetric', threshold=0.3)
test_dataloader = val_dataloader
test_evaluator = val_evaluator
