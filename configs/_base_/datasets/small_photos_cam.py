# Photographs at about 300 pixels with image-level labels; masks are read by
# validation only. Which ones, a file beside this one says.
# A crop keeps its image's labels, whether or not it shows the objects. Crops
# that are smaller than the model's input are padded by its data_preprocessor,
# at the bottom and the right; a Pad in here would count as image.
crop_size = (224, 224)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='RandomResize',
        scale=(384, 320),
        ratio_range=(0.75, 1.25),
        keep_ratio=True,
    ),
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
train_dataloader = dict(
    batch_size=16,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='mmrca.ImageLevelDataset', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmrca.ImageLevelDataset',
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type='mmrca.CAMMetric')
