"""What bounds the cost of making prototypes. L classes, R rows."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Generator
from torch.testing import assert_close

from mmrca.engine.prototype_filling import (
    Rows,
    _batch_rows,
    _batches,
    _join,
    collect_rows,
)
from mmrca.registry import DATASETS
from tests import tiny
from tests.models.test_rca import build

LABELS = [[0], [1], [], [0, 1], [2], [0]]


def random_rows(seed: int, count: int) -> Rows:
    generator = Generator().manual_seed(seed)
    return Rows(
        torch.randn(count, 2, generator=generator),
        torch.randint(3, (count,), generator=generator),
        torch.arange(count),
        torch.rand(count, generator=generator),
    )


@given(
    seed=st.integers(0, 2**16),
    count=st.integers(1, 30),
    limit=st.integers(1, 6),
    cut=st.integers(0, 30),
)
def test_the_lowest_of_each_kind_stay_wherever_they_are(
    seed, count, limit, cut
):
    rows = random_rows(seed, count)
    kept = rows.lowest(limit)
    expected = []
    for kind in range(3):
        own = [r for r in range(count) if rows.kinds[r] == kind]
        expected += sorted(own, key=lambda r: float(rows.draws[r]))[:limit]
    assert kept.images.tolist() == sorted(expected)
    places = torch.arange(count)
    shares = [rows[places < cut].lowest(limit), rows[places >= cut]]
    assert _join(shares).lowest(limit).images.tolist() == sorted(expected)


@pytest.fixture
def setting(tmp_path: Path):
    """A model with a prototype CAM and its data set, of two image sizes."""
    cfg = tiny.config(tiny.write_images(tmp_path, LABELS))
    cfg.model.prototype_cam = dict(type='mmrca.PrototypeCAM')
    for number in (1, 4):
        path = tmp_path / f'images/{number}.png'
        with Image.open(path) as image:
            image.resize((40, 24)).save(path)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    return build(cfg.model, bound=False).eval(), dataset


def test_images_of_one_size_go_together(setting):
    _, dataset = setting
    found = [
        [image.number for image in batch]
        for batch in _batches(dataset, range(6), 2, 1024)
    ]
    assert found == [[0, 2], [1, 4], [3, 5]]


def test_a_batch_has_the_rows_of_its_images(setting):
    model, dataset = setting
    together = next(_batches(dataset, [0, 2, 3, 5], 4, 1024))
    rows = _batch_rows(model, together, 0.9, 0.1, 0)
    alone = [_batch_rows(model, [one], 0.9, 0.1, 0) for one in together]
    for name, value in vars(_join(alone)).items():
        assert_close(getattr(rows, name), value, msg=name)


def test_rows_beyond_the_limit_are_counted(setting):
    model, dataset = setting
    everything, counts = collect_rows(model, dataset, range(6))
    assert counts.tolist() == everything.kinds.bincount(minlength=4).tolist()
    kept, again = collect_rows(model, dataset, range(6), limit=1)
    assert counts.tolist() == again.tolist()
    assert sorted(kept.kinds.tolist()) == everything.kinds.unique().tolist()
    assert np.isin(kept.draws, everything.draws).all()
