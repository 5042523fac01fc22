"""The real-photograph recipes, on a few of the photographs."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS as SEG_MODELS
from PIL import Image

from mmrca.registry import DATASETS, MODELS

pytestmark = pytest.mark.real_data
RCA = 'configs/rca/rca_mobilenet-v2_8e_voc20-mini.py'
SEG = 'configs/rca_seg/deeplabv3plus_mobilenet-v2_voc20-mini.py'


@pytest.fixture
def rca(repo, voc20_mini) -> Config:
    init_default_scope('mmseg')
    return Config.fromfile(repo / RCA)


def test_image_level_labels_are_the_masks_classes(rca, voc20_mini):
    dataset = DATASETS.build(rca.val_dataloader.dataset)
    assert len(dataset) == 100
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        values = np.unique(Image.open(info['seg_map_path'])).tolist()
        classes = [v - 1 for v in values if v not in (0, 255)]
        assert info['gt_label'] == classes, info['img_id']


def test_every_label_of_the_training_list_has_a_row(rca):
    dataset = DATASETS.build(rca.train_dataloader.dataset)
    assert (len(dataset), len(dataset.row_class)) == (628, 1046)


@pytest.mark.parametrize('split', ['train', 'val'])
def test_masks_convert_to_the_lists_that_are_there(
    repo, voc20_mini, tmp_path, split
):
    out = tmp_path / f'{split}_cls.txt'
    command = [
        sys.executable,
        'tools/dataset_converters/masks.py',
        voc20_mini / 'SegmentationClass',
        voc20_mini / 'JPEGImages',
        out,
        '--classes',
        voc20_mini / 'labels/classes.txt',
        '--list',
        voc20_mini / f'ImageSets/Segmentation/{split}.txt',
    ]
    subprocess.run(command, cwd=repo, check=True, capture_output=True)
    there = voc20_mini / f'labels/{split}_cls.txt'
    assert out.read_text() == there.read_text()


@pytest.mark.parametrize('name', [RCA, SEG])
def test_the_weights_fill_every_backbone_tensor(repo, mobilenet_v2, name):
    init_default_scope('mmseg')
    registry = MODELS if name == RCA else SEG_MODELS
    model = registry.build(Config.fromfile(repo / name).model)
    saved = torch.load(mobilenet_v2, weights_only=True)['state_dict']
    result = model.backbone.load_state_dict(saved, strict=False)
    assert not result.missing_keys
    assert all(key.startswith('conv2.') for key in result.unexpected_keys)


def test_the_recipe_trains_and_labels_photographs(
    repo, voc20_mini, mobilenet_v2, tmp_path
):
    lines = (voc20_mini / 'labels/train_cls.txt').read_text().splitlines()
    few = tmp_path / 'few.txt'
    few.write_text('\n'.join(lines[-8:]) + '\n')
    options = [
        f'train_dataloader.dataset.ann_file={few}',
        'train_dataloader.batch_size=4',
        f'val_dataloader.dataset.ann_file={few}',
        'train_cfg.max_epochs=1',
    ]
    work = tmp_path / 'work'

    def call(*arguments: object) -> None:
        done = subprocess.run(
            [sys.executable, *map(str, arguments), '--cfg-options', *options],
            cwd=repo,
            env=dict(os.environ, VOC20_MINI=str(voc20_mini)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]

    call('tools/train.py', RCA, '--work-dir', work)
    checkpoint = Path(work / 'last_checkpoint').read_text()
    labels = tmp_path / 'labels'
    call('tools/make_pseudo_labels.py', RCA, checkpoint, '--out-dir', labels)
    for line in lines[-8:]:
        name = line.split()[0]
        label = Image.open(labels / f'{name}.png')
        photo = Image.open(voc20_mini / f'JPEGImages/{name}.jpg')
        assert label.size == photo.size
