"""Data and values at the edge, through the Runner."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmrca.models.region_memory import RegionMemory, StagedRegions
from tests import tiny


def trained(root, labels, **changes):
    runner = tiny.runner(tiny.config(root, **changes))
    runner.train()
    losses, _ = runner.message_hub.log_scalars['train/loss'].data
    assert np.isfinite(losses).all()
    for name, value in runner.model.state_dict().items():
        assert torch.isfinite(value.float()).all(), name
    return runner.model


@pytest.mark.parametrize('value', [0, 127, 255])
def test_constant_images(tmp_path, value):
    labels = [[0], [1], [2], [0, 1]]
    tiny.write_images(tmp_path, labels)
    for path in (tmp_path / 'images').iterdir():
        Image.new('RGB', (32, 32), (value,) * 3).save(path)
    trained(tmp_path, labels)


def test_features_of_one_cell(tmp_path):
    labels = [[0], [1], [2], [0, 1]]
    tiny.write_images(tmp_path, labels)
    for path in (tmp_path / 'images').iterdir():
        with Image.open(path) as picture:
            picture.resize((4, 4)).save(path)
    for path in (tmp_path / 'masks').iterdir():
        Image.new('L', (4, 4), 1).save(path)
    size = {'model.data_preprocessor.size': (4, 4)}
    trained(tmp_path, labels, **size)


def test_a_class_in_one_image_has_one_row(tmp_path):
    labels = [[0], [0], [0], [0, 1], [0], [0, 2]]
    model = trained(tiny.write_images(tmp_path, labels), labels)
    assert model.memory.row_class.tolist() == [0] * 6 + [1, 2]
    assert model.memory.prototype_valid.sum(1).tolist() == [2, 1, 1]


@pytest.mark.slow
def test_two_hundred_classes(tmp_path):
    count = 200
    labels = [[c] for c in range(0, count, 20)] + [[3, 7, 199]]
    tiny.write_images(tmp_path, [[0]] * len(labels))
    lines = [' '.join(map(str, [n, *c])) for n, c in enumerate(labels)]
    (tmp_path / 'labels.txt').write_text('\n'.join(lines) + '\n')
    names = ('background', *(f'class {c}' for c in range(count)))
    metainfo = dict(classes=names, palette=[[0, 0, 0]] * (count + 1))
    changes = {
        'model.cam_head.num_classes': count,
        'train_dataloader.dataset.metainfo': metainfo,
        'val_dataloader.dataset.metainfo': metainfo,
    }
    model = trained(tmp_path, labels, **changes)
    assert len(model.memory.rows) == sum(map(len, labels))
    assert len(model.memory.prototypes) == count


@pytest.mark.parametrize('ring', [False, True])
@pytest.mark.parametrize('bad', [torch.nan, torch.inf, -torch.inf])
def test_the_memory_takes_no_row_that_is_not_finite(ring, bad):
    memory = RegionMemory(2, 3, gate=0.5, ring=ring)
    memory.bind([0, 0, 1], b'data', batch_size=2)
    regions = torch.ones(2, 2, 3)
    regions[0, 0, 1] = bad
    scores = torch.tensor([[0.9, 0.0], [0.9, 0.9]])
    valid = torch.tensor([[True, False], [True, True]])
    index = torch.tensor([[0, 0], [1, 2]])
    memory.stage(StagedRegions(regions, scores, valid, index))
    passed, seen = memory.write(1)
    assert (passed, seen) == (2, 3)
    assert torch.isfinite(memory.rows).all()
    assert memory.filled.sum() == 2
