"""The recipes for own images fit whatever the converters wrote."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS as SEG_MODELS
from PIL import Image

from mmrca.cli import check_classes
from mmrca.registry import DATASETS, MODELS
from tests import tiny

CONFIGS = Path(__file__).parents[1] / 'configs/custom'
# Those of the project: users put their own beside them.
NAMES = sorted(p.stem for p in CONFIGS.glob('*_custom*.py'))
RECIPE = 'rca_efficientnet-lite0_custom'
CLASSIFIERS = [n for n in NAMES if n.startswith(('cam', 'rca'))]
FILES = ['0.JPG', 'trip/bus 1.jpeg', '2.webp', 'trip/3.PNG', '4.jpg']
SHOWN = [['cat'], ['school bus'], ['cat', 'school bus'], [], ['cat']]
SIZE = (64, 64)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder OWN_DATA, with images of mixed suffixes in subfolders."""
    root = tmp_path / 'mine'
    classes = ('cat', 'school bus')
    drawn = tiny.write_images(
        tmp_path / 'drawn', [[classes.index(c) for c in cs] for cs in SHOWN]
    )
    for number, file in enumerate(FILES):
        path = root / 'images' / file
        path.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(drawn / f'images/{number}.png') as image:
            image.save(path)
    write_lists(root, FILES, SHOWN)
    (root / 'labels/classes.txt').write_text('\n'.join(classes))
    monkeypatch.setenv('OWN_DATA', str(root))
    init_default_scope('mmseg')
    return root


def write_lists(root, files, shown):
    (root / 'labels').mkdir(exist_ok=True)
    rows = [
        ','.join([file, *classes])
        for file, classes in zip(files, shown, strict=True)
    ]
    (root / 'labels/train.csv').write_text('\n'.join(rows))
    (root / 'labels/val.csv').write_text('\n'.join(rows[:2]))


def write_masks(folder, value=None):
    """Write a PNG for each image, in the subfolder of its name."""
    for number, file in enumerate(FILES):
        path = (folder / file).with_suffix('.png')
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn = folder.parents[1] / f'drawn/masks/{number}.png'
        shutil.copy(drawn, path)


def load(name: str) -> Config:
    return Config.fromfile(CONFIGS / f'{name}.py')


@pytest.mark.parametrize('name', CLASSIFIERS)
def test_the_classifier_fits_own_images(own, name):
    config = load(name)
    check_classes(config)
    backbone = config.model.backbone
    if backbone.type == 'mmpretrain.VisionTransformer':
        backbone.img_size = 56
    model = MODELS.build(config.model)
    assert model.cam_head.num_classes == 2
    hooks = [hook.type for hook in config.default_hooks.values()]
    assert ('mmrca.MemoryBankHook' in hooks) == (model.memory is not None)
    fills = model.prototype_cam is not None
    assert ('mmrca.PrototypeCAMHook' in hooks) == fills
    train = DATASETS.build(config.train_dataloader.dataset)
    assert train[1]['data_samples'].gt_label.tolist() == [0, 1]
    assert len(train.metainfo['palette']) == 3
    val = DATASETS.build(config.val_dataloader.dataset)
    assert val[1]['data_samples'].img_id == 'trip/bus 1'


@pytest.mark.parametrize(
    'name', [n for n in CLASSIFIERS if not n.startswith('cam_dino')]
)
def test_a_recipe_has_its_plain_cam(own, name):
    recipe = load(name)
    plain = load(name.replace('rca_', 'cam_'))
    for key in ('train_dataloader', 'optim_wrapper', 'train_cfg'):
        assert recipe[key] == plain[key]
    assert 'memory' not in plain.model
    assert 'prototype_cam' not in plain.model


@pytest.mark.parametrize('backbone', ['efficientnet-lite0', 'mobilenet-v2'])
def test_the_segmenter_fits_own_images(own, tmp_path, monkeypatch, backbone):
    write_masks(own / 'labels_made')
    monkeypatch.setenv('LABEL_DIR', str(own / 'labels_made'))
    config = load(f'deeplabv3plus_{backbone}_custom')
    check_classes(config)
    model = SEG_MODELS.build(config.model)
    model.eval()
    assert model.num_classes == 3
    classifier = load(f'rca_{backbone}_custom').model
    theirs = MODELS.build(classifier).backbone.state_dict()
    assert model.backbone.state_dict().keys() == theirs.keys()
    for part in ('mean', 'std'):
        wanted = classifier.data_preprocessor[part]
        assert config.model.data_preprocessor[part] == wanted
    assert model(torch.zeros(1, 3, 64, 64), mode='tensor').shape[1] == 3
    images = DATASETS.build(config.train_dataloader.dataset)
    assert [images.get_data_info(n)['img_path'] for n in range(5)] == [
        str(own / 'images' / file) for file in FILES
    ]
    assert images[1]['data_samples'].gt_sem_seg.data.unique().numel() > 1


def test_the_segmenter_of_mobilenet_is_stock_where_it_is_used(own):
    config = load('deeplabv3plus_mobilenet-v2_custom')
    assert 'mmrca' not in str(config.model)
    # MMSegInferencer and a test read this pipeline only.
    assert 'mmrca' not in str(config.test_dataloader.dataset.pipeline)


@pytest.mark.parametrize(
    ('images', 'batch', 'epochs', 'iterations'),
    [
        (5, 5, 300, 300),
        (17, 9, 150, 300),
        (20, 10, 150, 300),
        (60, 15, 75, 300),
        (600, 16, 8, 304),
        (20_000, 16, 8, 10_000),
        (60_000, 16, 2, 7_500),
        (300_000, 16, 1, 18_750),  # whole epochs
    ],
)
def test_a_classifier_trains_as_long_as_its_images_are_many(
    own, monkeypatch, images, batch, epochs, iterations
):
    config = scheduled(RECIPE, images, monkeypatch)
    assert config.train_dataloader.batch_size == batch
    assert config.train_cfg.max_epochs == epochs
    assert -(-images // batch) * epochs == iterations
    for interval in (
        config.train_cfg.val_interval,
        config.default_hooks.checkpoint.interval,
        config.default_hooks.memory_bank.refresh_interval,
    ):
        assert 1 <= interval <= epochs
    assert epochs / config.train_cfg.val_interval <= 4


@pytest.mark.parametrize(
    ('images', 'iterations'), [(5, 300), (600, 900), (60_000, 10_000)]
)
def test_a_segmenter_trains_as_long_as_its_images_are_many(
    own, monkeypatch, images, iterations
):
    name = 'deeplabv3plus_efficientnet-lite0_custom'
    config = scheduled(name, images, monkeypatch)
    assert config.train_cfg.max_iters == iterations


def scheduled(name, images, monkeypatch):
    """Read a config that finds so many images in the list."""
    monkeypatch.setattr(
        'mmrca.datasets.label_list.read_labels',
        lambda *_: [None] * images,
    )
    return load(name)


def test_a_list_of_60_000_images_is_counted(own):
    rows = [(f'{n}.jpg', SHOWN[n % 5]) for n in range(60_000)]
    write_lists(own, *zip(*rows, strict=True))
    config = load('cam_efficientnet-lite0_custom')
    assert config.train_cfg.max_epochs == 2


def short(config: Config, root: Path) -> Config:
    """Train from random weights, on small images."""
    config.model.data_preprocessor.size = SIZE
    config.model.backbone.init_cfg = None
    for loader in (config.train_dataloader, config.val_dataloader):
        if loader:
            loader.update(num_workers=0, persistent_workers=False)
            for step in loader.dataset.pipeline:
                for key in ('scale', 'crop_size'):
                    if key in step:
                        step[key] = SIZE
    config.work_dir = str(root / 'work')
    config.log_level = 'WARNING'
    return config


@pytest.mark.parametrize(
    ('name', 'masks'),
    [
        (RECIPE, False),
        (RECIPE, True),
        ('cam_dinov2-vits14-frozen_custom_prototype-cam', False),
    ],
)
def test_a_shortened_training_of_five_images_is_whole(
    own, tmp_path, name, masks
):
    if masks:
        write_masks(own / 'masks')
    config = short(load(name), tmp_path)
    config.train_cfg.max_epochs = 4
    runner = tiny.runner(config)
    runner.train()
    logged = runner.message_hub.log_scalars
    rates, _ = logged['train/lr'].data
    expected = [(1 - n / 3) ** 0.9 for n in range(4)]
    np.testing.assert_allclose(rates / rates[0], expected, atol=1e-9)
    assert runner.model.prototype_cam.filled
    assert name != RECIPE or runner.model.memory.contrast_active
    assert ('val/cam_mIoU' in logged) == masks
    # Masks of training images measure labels and train nothing.
    info = runner.train_dataloader.dataset.get_data_info(1)
    assert ('seg_map_path' in info) == masks
    assert 'gt_sem_seg' not in runner.train_dataloader.dataset[1]


@pytest.mark.parametrize('masks', [False, True])
def test_the_segmenter_uses_masks_that_are_there(
    own, tmp_path, monkeypatch, masks
):
    write_masks(own / 'labels_made')
    monkeypatch.setenv('LABEL_DIR', str(own / 'labels_made'))
    if masks:
        write_masks(own / 'masks')
    name = 'deeplabv3plus_efficientnet-lite0_custom'
    config = short(load(name), tmp_path)
    config.train_cfg.update(max_iters=2, val_interval=2)
    config.train_dataloader.batch_size = 2
    runner = tiny.runner(config)
    runner.train()
    assert runner.iter == 2
    assert ('val/mIoU' in runner.message_hub.log_scalars) == masks
    assert bool(config.test_evaluator.get('format_only')) != masks


def test_the_boundary_network_trains_on_sure_labels(
    own, tmp_path, monkeypatch
):
    write_masks(own / 'labels_made')
    monkeypatch.setenv('LABEL_DIR', str(own / 'labels_made'))
    config = short(load('boundary_efficientnet-lite0_custom'), tmp_path)
    config.train_cfg.update(max_iters=2, val_interval=2)
    config.train_dataloader.batch_size = 2
    runner = tiny.runner(config)
    runner.train()
    losses, _ = runner.message_hub.log_scalars['train/loss'].data
    assert len(losses) == 2
    assert np.isfinite(losses).all()
    backbone, head = runner.model.backbone, runner.model.decode_head
    assert not any(p.requires_grad for p in backbone.parameters())
    assert all(p.requires_grad for p in head.parameters())


@pytest.mark.parametrize(
    'name', [RECIPE, 'deeplabv3plus_efficientnet-lite0_custom']
)
@pytest.mark.parametrize('masks', [False, True])
def test_without_a_list_to_validate_on_there_is_no_validation(
    own, name, masks
):
    if masks:
        write_masks(own / 'masks')
    (own / 'labels/val.csv').unlink()
    config = load(name)
    for key in ('dataloader', 'cfg', 'evaluator'):
        assert config[f'val_{key}'] is None
        assert config[f'test_{key}'] is None
