"""A training that takes a second: three colours of squares, a small net."""

import uuid
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image

CLASSES = ('background', 'red', 'green', 'blue')
CHANNELS = 32
# What the released code does otherwise than the paper, as dotted keys.
AS_RELEASED = {
    'model.softmax_regions': True,
    'model.projection': dict(type='mmrca.QueryProjection'),
    'model.memory.gaussian_start': True,
    'model.aggregation.softmax': False,
    'model.aggregation.learned': True,
    'model.cam_head.num_convs': 2,
    'model.cam_head.channels': 8,
    'model.cls_head.num_convs': 2,
    'model.cls_head.channels': 8,
    'model.cls_head.per_class': True,
    'model.memory.kmeans': 'sklearn',
    'model.memory.ring': True,
}


def write_images(root: Path, labels: list[list[int]]) -> Path:
    """Write one image per label: a square of its colour for each class."""
    rng = np.random.default_rng(0)
    (root / 'images').mkdir(parents=True)
    (root / 'masks').mkdir()
    lines = []
    for number, classes in enumerate(labels):
        image = rng.integers(60, 120, (32, 32, 3), dtype=np.uint8)
        mask = np.zeros((32, 32), np.uint8)
        for c in classes:
            y, x = rng.integers(0, 20, 2)
            image[y : y + 12, x : x + 12, c] = 250
            mask[y : y + 12, x : x + 12] = c + 1
        Image.fromarray(image).save(root / f'images/{number}.png')
        Image.fromarray(mask).save(root / f'masks/{number}.png')
        lines.append(' '.join(map(str, [number, *classes])))
    (root / 'labels.txt').write_text('\n'.join(lines) + '\n')
    return root


def config(root: Path, **changes) -> Config:
    """Configure RCA on such a folder; ``changes`` are dotted keys."""
    dataset = dict(
        type='mmrca.ImageLevelDataset',
        ann_file=str(root / 'labels.txt'),
        data_prefix=dict(
            img_path=str(root / 'images'), seg_map_path=str(root / 'masks')
        ),
        img_suffix='.png',
        metainfo=dict(classes=CLASSES, palette=[[0, 0, 0]] * 4),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='mmrca.PackImageLabels'),
        ],
    )
    cfg = Config(
        dict(
            default_scope='mmseg',
            work_dir=str(root / 'work'),
            randomness=dict(seed=0),
            log_level='WARNING',
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=1),
                memory_bank=dict(type='mmrca.MemoryBankHook', warm_up=1),
            ),
            model=dict(
                type='mmrca.RCA',
                data_preprocessor=dict(
                    type='SegDataPreProcessor',
                    size=(40, 40),
                    mean=[127.5] * 3,
                    std=[127.5] * 3,
                ),
                # Group norm: the same on one process and on many.
                backbone=dict(
                    type='ResNet',
                    depth=18,
                    num_stages=3,
                    base_channels=8,
                    strides=(1, 2, 1),
                    dilations=(1, 1, 1),
                    out_indices=(2,),
                    norm_cfg=dict(type='GN', num_groups=2),
                ),
                cam_head=dict(
                    type='mmrca.CAMHead',
                    in_channels=CHANNELS,
                    num_classes=3,
                    loss_weight=0.4,
                ),
                memory=dict(
                    type='mmrca.RegionMemory',
                    num_prototypes=2,
                    momentum=0.9,
                    gate=0.0,
                ),
                loss_nce=dict(type='mmrca.RegionMixupNCELoss'),
                aggregation=dict(
                    type='mmrca.SemanticAggregation',
                    temperature=0.07,
                    cosine=True,
                ),
                cls_head=dict(type='mmrca.CAMHead'),
            ),
            train_dataloader=dict(
                batch_size=4,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=True),
                dataset=dataset,
            ),
            optim_wrapper=dict(
                optimizer=dict(type='SGD', lr=0.05, momentum=0.9)
            ),
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=2),
            val_dataloader=dict(
                batch_size=1,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=dataset,
            ),
            val_cfg=dict(type='ValLoop'),
            val_evaluator=dict(type='mmrca.CAMMetric'),
        )
    )
    cfg.merge_from_dict(changes)
    return cfg


def runner(cfg: Config) -> Runner:
    """Build a Runner; several may live in one process."""
    cfg.experiment_name = f'tiny_{uuid.uuid4().hex}'
    return Runner.from_cfg(cfg)
