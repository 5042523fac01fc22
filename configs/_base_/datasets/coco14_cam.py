# Image-level labels of COCO's train2014; masks are read by validation only,
# as PNGs with 0 for the background and c + 1 for class c.
_base_ = './coco14.py'
crop_size = (368, 368)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='RandomResize',
        scale=(512, 512),
        ratio_range=(0.75, 1.25),
        keep_ratio=True,
    ),
    # What is smaller than the crop stays so; the model's SegDataPreProcessor
    # pads it and knows which cells are padding.
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
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
)
train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        **dataset,
        ann_file='labels/train2014_cls.txt',
        data_prefix=dict(img_path='train2014'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **dataset,
        ann_file='labels/val2014_cls.txt',
        data_prefix=dict(
            img_path='val2014', seg_map_path='SegmentationClass/val2014'
        ),
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
val_evaluator = dict(type='mmrca.CAMMetric', threshold=0.3)
test_dataloader = val_dataloader
test_evaluator = val_evaluator
