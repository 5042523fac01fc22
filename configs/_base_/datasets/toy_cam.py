# Image-level labels; masks are read by validation only.
_base_ = './toy.py'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomCrop', crop_size=(96, 128)),
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
    data_root={{_base_.data_root}},
    metainfo={{_base_.metainfo}},
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
val_evaluator = dict(type='mmrca.CAMMetric')
test_dataloader = val_dataloader
test_evaluator = val_evaluator
