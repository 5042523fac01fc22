"""Every config builds, trains two iterations and is measured.

What inherits from a config says what it changes. Data is generated in the
layout and at the paths that the configs name.
"""

import functools
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from mmengine.config import Config
from mmengine.hooks import Hook
from PIL import Image

from tests import tiny

CONFIGS = Path(__file__).parents[1] / 'configs'
# Those of the project: users put their own beside them.
DATA = ('toy', 'voc20-mini', 'voc12', 'coco14')
RCA, SEG, BOUNDARY = (
    sorted(
        p for p in (CONFIGS / d).glob('*.py') if any(n in p.stem for n in DATA)
    )
    for d in ('rca', 'rca_seg', 'boundary')
)
BY_FOLDER = dict(rca=RCA, rca_seg=SEG)
SIZE = (64, 64)
# Fewer layers and channels, where a backbone's options allow it: what replaces
# an option, and the channels of the last map.
SHALLOW = {
    ('depth', 101): (dict(depth=50), 2048),
    ('arch', 'tiny'): (
        dict(arch=dict(depths=[1] * 4, channels=[8, 16, 24, 32])),
        32,
    ),
    ('type', 'MixVisionTransformer'): (
        dict(num_layers=[1] * 4, embed_dims=8),
        [8, 16, 40, 64],
    ),
}
VIT = dict(num_layers=12, num_heads=4, embed_dims=32, feedforward_channels=32)
for arch in ('base', 'dinov2-small'):
    SHALLOW['arch', arch] = dict(arch=VIT), 32
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


# Not to be changed: those who change a config read it themselves.
read = functools.cache(Config.fromfile)


@pytest.mark.parametrize('path', RCA, ids=lambda p: p.stem)
def test_a_classifier_fits_its_data(path):
    config = read(path)
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


def test_the_model_index_imports_the_metafiles():
    root = CONFIGS.parent
    index = yaml.safe_load((root / 'model-index.yml').read_text())
    wanted = [f'configs/{folder}/metafile.yml' for folder in BY_FOLDER]
    assert index == dict(Import=wanted)


@pytest.mark.parametrize('folder', BY_FOLDER)
def test_a_metafile_and_a_readme_name_every_config(folder):
    index = yaml.safe_load((CONFIGS / folder / 'metafile.yml').read_text())
    wanted = [f'configs/{folder}/{p.name}' for p in BY_FOLDER[folder]]
    assert [model['Config'] for model in index['Models']] == wanted
    (collection,) = index['Collections']
    for model in index['Models']:
        assert model['In Collection'] == collection['Name']
        assert model['Config'] == f'configs/{folder}/{model["Name"]}.py'
    readme = CONFIGS.parent / collection['README']
    links = set(re.findall(r'\]\(([^)]*)\)', readme.read_text()))
    assert {link for link in links if link.endswith('.py')} == {
        p.name for p in BY_FOLDER[folder]
    }
    local = [link for link in links if '://' not in link]
    assert all((readme.parent / link).exists() for link in local)


@pytest.mark.parametrize('path', SEG, ids=lambda p: p.stem)
def test_a_segmenter_is_stock(path):
    config = read(path)
    # MMSegmentation lacks DeepLabV2's head.
    text = str(config.to_dict())
    assert text.count('mmrca') == text.count('mmrca.ASPPV2Head')
    assert ('deeplabv2' in path.stem) == ('mmrca' in text)
    classes = config.train_dataloader.dataset.metainfo.classes
    for part in ('decode_head', 'auxiliary_head'):
        if part in config.model:
            assert config.model[part].num_classes == len(classes), part


@pytest.mark.parametrize('path', SEG, ids=lambda p: p.stem)
def test_a_segmenter_has_the_classes_of_its_classifier(path):
    data = path.stem.split('_')[-1]
    config = read(path).train_dataloader.dataset.metainfo
    classifiers = [p for p in RCA if p.stem.endswith(data)]
    assert classifiers
    for classifier in classifiers:
        theirs = read(classifier).train_dataloader.dataset.metainfo
        assert theirs == config, classifier.stem


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A working folder with four training images of each data set."""
    place = tmp_path_factory.mktemp('configs')
    for root, layout in FOLDERS.items():
        for split, count in zip(layout['splits'], (4, 1), strict=True):
            write_split(place / root, split, count, layout)
        shutil.copytree(
            place / root / layout['masks'].format(layout['splits'][0]),
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
    # A colour for each class: of noise alone no net makes two regions.
    colours = np.random.default_rng(0).integers(0, 255, (256, 3), np.uint8)
    for number, name in enumerate(names):
        mask = np.zeros((50, 80), np.uint8)
        mask[:, 40:], mask[30:, :20] = 1 + number, 2 + number
        image = colours[mask]
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
    head = config.model.get('decode_head', config.model.get('cam_head'))
    for (key, value), (fewer, channels) in SHALLOW.items():
        if backbone.get(key) == value:
            backbone.update(fewer)
            head.in_channels = channels
            break
    for loader in filter(
        None, (config.train_dataloader, config.val_dataloader)
    ):
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
    if 'prototype_cam' in config.default_hooks:
        # Untrained features may be too alike for regions of their own.
        config.default_hooks.prototype_cam.rounds = 1
    config.default_hooks.checkpoint = None
    config.default_hooks.logger.interval = 1
    config.work_dir = 'work'
    config.log_level = 'WARNING'
    return config


class OpposedMaps(Hook):
    """Opposes neighbouring classes, which each image shows two of.

    One of both then has a region, without which prototypes are refused: two
    steps on untrained features may leave all maps negative.
    """

    def after_train_epoch(self, runner):
        (weight,) = runner.model.cam_head.parameters()
        weight.data[1::2] = -weight.data[::2]


def by_cost(path: Path) -> object:
    """Leave out of the fast suite what another config of it shows as well."""
    twin = path.stem.endswith('_coco14') and 'lite0' not in path.stem
    heavy = 'resnet38' in path.stem and path.stem.endswith('_paper')
    marks = [pytest.mark.slow] if twin or heavy else []
    return pytest.param(path, marks=marks, id=path.stem)


@pytest.mark.parametrize('path', map(by_cost, RCA + SEG + BOUNDARY))
def test_two_iterations(path, place, monkeypatch):
    monkeypatch.chdir(place)
    for name in ('TOY_DATA', 'VOC20_MINI', 'LABEL_DIR'):
        monkeypatch.delenv(name, raising=False)
    runner = tiny.runner(shrink(Config.fromfile(path)))
    if runner.cfg.model.get('prototype_cam'):
        runner.register_hook(OpposedMaps())
    runner.train()
    assert runner.iter == 2
    logged = runner.message_hub.log_scalars
    losses, _ = logged['train/loss'].data
    assert len(losses) == 2
    assert np.isfinite(losses).all()
    validated = any(f'val/{k}' in logged for k in ('cam_mIoU', 'mIoU'))
    assert validated != (path in BOUNDARY)
