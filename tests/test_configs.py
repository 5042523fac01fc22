"""Every config builds, trains two iterations and is measured.

What inherits from a config says what it changes. Data is generated in the
layout and at the paths that the configs name.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from tests import tiny

CONFIGS = Path(__file__).parents[1] / 'configs'
# Those of the project: users put their own beside them.
DATA = ('toy', 'voc20-mini', 'voc12', 'coco14')
RCA, SEG = (
    sorted(
        p for p in (CONFIGS / d).glob('*.py') if any(n in p.stem for n in DATA)
    )
    for d in ('rca', 'rca_seg')
)
SIZE = (64, 64)
# Fewer layers of the same width, where a backbone's options allow it.
SHALLOW = {
    ('depth', 101): 50,
    ('arch', 'tiny'): dict(depths=[1] * 4, channels=[96, 192, 384, 768]),
    ('arch', 'base'): dict(
        embed_dims=768, num_layers=2, num_heads=12, feedforward_channels=768
    ),
}
VOC = dict(images='JPEGImages', masks='SegmentationClass', name='{}_{}')
FOLDERS = {
    'data/toy': dict(VOC, splits=('train', 'val')),
    'data/voc20_mini': dict(VOC, splits=('train', 'val')),
    'data/VOCdevkit/VOC2012': dict(VOC, splits=('trainaug', 'val')),
    'data/coco': dict(
        images='{}',
        masks='SegmentationClass/{}',
        name='COCO_{}_{:012d}',
        splits=('train2014', 'val2014'),
    ),
}


@pytest.mark.parametrize('path', RCA, ids=lambda p: p.stem)
def test_a_classifier_fits_its_data(path):
    config = Config.fromfile(path)
    metainfo = config.train_dataloader.dataset.metainfo
    assert len(set(map(tuple, metainfo.palette))) == len(metainfo.classes)
    assert config.model.cam_head.num_classes == len(metainfo.classes) - 1
    hooks = [hook.type for hook in config.default_hooks.values()]
    remembers = config.model.get('memory') is not None
    assert ('mmrca.MemoryBankHook' in hooks) == remembers
    fills = config.model.get('prototype_cam') is not None
    assert ('mmrca.PrototypeCAMHook' in hooks) == fills
    assert {'scales', 'flip', 'background', 'margin'} <= set(
        config.pseudo_label
    )


@pytest.mark.parametrize('path', SEG, ids=lambda p: p.stem)
def test_a_segmenter_is_stock(path):
    config = Config.fromfile(path)
    assert 'mmrca' not in config.pretty_text
    classes = config.train_dataloader.dataset.metainfo.classes
    for part in ('decode_head', 'auxiliary_head'):
        if part in config.model:
            assert config.model[part].num_classes == len(classes), part


@pytest.mark.parametrize('path', SEG, ids=lambda p: p.stem)
def test_a_segmenter_has_the_classes_of_its_classifier(path):
    data = path.stem.split('_')[-1]
    config = Config.fromfile(path).train_dataloader.dataset.metainfo
    classifiers = [p for p in RCA if p.stem.endswith(data)]
    assert classifiers
    for classifier in classifiers:
        theirs = Config.fromfile(classifier).train_dataloader.dataset.metainfo
        assert theirs == config, classifier.stem


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A working folder with four training images of each data set."""
    place = tmp_path_factory.mktemp('configs')
    for root, layout in FOLDERS.items():
        for split, count in zip(layout['splits'], (4, 1), strict=True):
            write_split(place / root, split, count, layout)
        if layout['images'] == 'JPEGImages':
            shutil.copytree(
                place / root / 'SegmentationClass',
                place / 'work_dirs/labels',
                dirs_exist_ok=True,
            )
    return place


def write_split(root: Path, split: str, count: int, layout: dict) -> None:
    names = [layout['name'].format(split, n) for n in range(count)]
    folders = [layout[key].format(split) for key in ('images', 'masks')]
    lists = ['labels', 'ImageSets/Segmentation']
    for folder in folders + lists:
        (root / folder).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number, name in enumerate(names):
        image = rng.integers(0, 255, (50, 80, 3), dtype=np.uint8)
        mask = np.zeros((50, 80), np.uint8)
        mask[:, 40:], mask[30:, :20] = 1 + number, 2 + number
        Image.fromarray(image).save(root / folders[0] / f'{name}.jpg')
        Image.fromarray(mask).save(root / folders[1] / f'{name}.png')
    labels = [f'{name} {n} {n + 1}\n' for n, name in enumerate(names)]
    (root / f'labels/{split}_cls.txt').write_text(''.join(labels))
    lines = ''.join(f'{name}\n' for name in names)
    (root / f'ImageSets/Segmentation/{split}.txt').write_text(lines)


def shrink(config: Config) -> Config:
    """Two iterations on two tiny images from random weights."""
    config.model.data_preprocessor.size = SIZE
    backbone = config.model.backbone
    backbone.init_cfg = None
    for (key, value), fewer in SHALLOW.items():
        if backbone.get(key) == value:
            backbone[key] = fewer
    for loader in (config.train_dataloader, config.val_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
        for step in loader.dataset.pipeline:
            for key in ('scale', 'crop_size'):
                if key in step:
                    step[key] = SIZE
    config.train_dataloader.batch_size = 2
    by_epoch = config.train_cfg.type == 'EpochBasedTrainLoop'
    length = 'max_epochs' if by_epoch else 'max_iters'
    config.train_cfg[length] = 1 if by_epoch else 2
    config.train_cfg.val_interval = config.train_cfg[length]
    config.default_hooks.checkpoint = None
    config.default_hooks.logger.interval = 1
    config.work_dir = 'work'
    config.log_level = 'WARNING'
    return config


@pytest.mark.parametrize('path', RCA + SEG, ids=lambda p: p.stem)
def test_two_iterations(path, place, monkeypatch):
    monkeypatch.chdir(place)
    for name in ('TOY_DATA', 'VOC20_MINI', 'LABEL_DIR'):
        monkeypatch.delenv(name, raising=False)
    # Runner logs the config, which takes yapf longer than the training.
    monkeypatch.setattr(Config, 'pretty_text', '')
    runner = tiny.runner(shrink(Config.fromfile(path)))
    runner.train()
    assert runner.iter == 2
    logged = runner.message_hub.log_scalars
    losses, _ = logged['train/loss'].data
    assert len(losses) == 2
    assert np.isfinite(losses).all()
    assert any(f'val/{k}' in logged for k in ('cam_mIoU', 'mIoU'))
