"""A few small images with a classifier for them, to make labels of."""

import json
from pprint import pformat

import mmcv
import numpy as np
import torch
from mmengine.registry import init_default_scope
from PIL import Image

from mmrca.registry import MODELS

CLASSES = ('background', 'disc', 'bar', 'ring')
PALETTE = [[0, 0, 0], [200, 30, 30], [30, 200, 30], [30, 30, 200]]
SIZES = {'a': (24, 32), 'b': (32, 24), 'c': (24, 32), 'd': (25, 31)}
LABELS = {'a': [0], 'b': [0, 2], 'c': [1], 'd': [0, 1, 2]}


def model_config(parts):
    config = dict(
        type='mmrca.RCA',
        data_preprocessor=dict(
            type='SegDataPreProcessor',
            size=(32, 32),
            mean=[127.5] * 3,
            std=[127.5] * 3,
            bgr_to_rgb=True,
        ),
        backbone=dict(
            type='ResNet',
            depth=18,
            base_channels=8,
            num_stages=2,
            strides=(1, 2),
            dilations=(1, 1),
            out_indices=(1,),
            # At momentum 1 one batch settles the statistics.
            norm_cfg=dict(type='BN', momentum=1.0),
        ),
        cam_head=dict(type='mmrca.CAMHead', in_channels=16, num_classes=3),
    )
    if parts == 'rca':
        config |= dict(
            memory=dict(
                type='mmrca.RegionMemory',
                num_prototypes=2,
            ),
            aggregation=dict(
                type='mmrca.SemanticAggregation', temperature=1.0, cosine=True
            ),
            cls_head=dict(type='mmrca.CAMHead'),
        )
    return config


def save_model(path, config, classes=CLASSES):
    torch.manual_seed(0)
    init_default_scope('mmseg')
    model = MODELS.build(config)
    model.backbone(torch.randn(4, 3, 24, 32))
    if model.memory is not None:
        model.memory.bind([0, 1, 2, 2], b'data', 2)
        model.memory.prototypes.normal_()
        model.memory.prototype_valid.fill_(True)
    meta = dict(dataset_meta=dict(classes=classes))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)


def write_data(root):
    rng = np.random.default_rng(0)
    for folder in ('JPEGImages', 'SegmentationClass', 'Saliency'):
        (root / folder).mkdir(parents=True)
    for name, (height, width) in SIZES.items():
        coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        image = mmcv.imresize(coarse, (width, height))
        mmcv.imwrite(image, str(root / f'JPEGImages/{name}.jpg'))
        values = [0, 255, *(c + 1 for c in LABELS[name])]
        coarse = rng.choice(values, (4, 5)).astype(np.uint8)
        mask = mmcv.imresize(coarse, (width, height), interpolation='nearest')
        Image.fromarray(mask).save(root / f'SegmentationClass/{name}.png')
        saliency = mmcv.imresize(image[..., 0], (width, height))
        Image.fromarray(saliency).save(root / f'Saliency/{name}.png')
    lines = [' '.join(map(str, [n, *c])) for n, c in LABELS.items()]
    (root / 'labels.txt').write_text('\n'.join(lines) + '\n')


class Place:
    """Data, config and checkpoint of one test, and the folder to fill."""

    def __init__(self, root, parts='plain'):
        self.root, self.out = root, root / 'out' / 'labels'
        self.record = root / 'out' / 'labels.json'
        self.config, self.checkpoint = root / 'config.py', root / 'model.pth'
        write_data(root)
        self.write_config(parts)
        save_model(self.checkpoint, model_config(parts))

    def write_config(
        self, parts='plain', classes=3, max_side=1024, **pseudo_label
    ):
        model = model_config(parts)
        model['cam_head']['num_classes'] = classes
        model['test_cfg'] = dict(max_side=max_side)
        content = dict(
            default_scope='mmseg',
            model=model,
            train_dataloader=dict(
                batch_size=2,
                dataset=dict(
                    type='mmrca.ImageLevelDataset',
                    ann_file=str(self.root / 'labels.txt'),
                    data_prefix=dict(
                        img_path=str(self.root / 'JPEGImages'),
                        seg_map_path=str(self.root / 'SegmentationClass'),
                    ),
                    metainfo=dict(classes=CLASSES, palette=PALETTE),
                ),
            ),
            pseudo_label=dict(
                scales=(1.0,),
                flip=False,
                background=dict(type='constant', threshold=0.4),
                refinement=None,
                margin=0.1,
            )
            | pseudo_label,
        )
        lines = [f'{k} = {pformat(v)}' for k, v in content.items()]
        self.config.write_text('\n'.join(lines) + '\n')

    def rename(self, images, classes, parts='plain'):
        """Give images and classes other names, {old: new}."""
        for folder, suffix in (
            ('JPEGImages', 'jpg'),
            ('SegmentationClass', 'png'),
        ):
            for old, new in images.items():
                target = self.root / folder / f'{new}.{suffix}'
                target.parent.mkdir(exist_ok=True)
                (self.root / folder / f'{old}.{suffix}').rename(target)
        labels = {images.get(name, name): own for name, own in LABELS.items()}
        (self.root / 'list.json').write_text(json.dumps(labels))
        text = self.config.read_text().replace('labels.txt', 'list.json')
        for old, new in classes.items():
            text = text.replace(repr(old), repr(new))
        self.config.write_text(text)
        names = [classes.get(name, name) for name in CLASSES]
        save_model(self.checkpoint, model_config(parts), names)

    def args(self, *more):
        return [
            *(str(self.config), str(self.checkpoint)),
            *('--out-dir', str(self.out)),
            *more,
        ]

    def labels(self):
        return {n: read(self.out / f'{n}.png') for n in SIZES}

    def truths(self):
        folder = self.root / 'SegmentationClass'
        return {n: read(folder / f'{n}.png') for n in SIZES}

    def result(self):
        return json.loads(self.record.read_text())


def read(path):
    with Image.open(path) as picture:
        return np.asarray(picture)
