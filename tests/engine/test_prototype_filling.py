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

from mmrca.datasets.images import load_image
from mmrca.engine.prototype_filling import (
    Rows,
    _batch_rows,
    _batches,
    _join,
    collect_rows,
    fill,
    weighed,
)
from mmrca.inference import image_stages
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


def drawn_label() -> np.ndarray:
    """Class 3 left, background, 255 right."""
    label = np.zeros((32, 32), np.uint8)
    label[:, :16], label[:, 24:] = 3, 255
    return label


def test_a_drawn_label_gives_its_cells(setting):
    model, dataset = setting
    drawn = {3: drawn_label()}
    plain, _ = collect_rows(model, dataset, range(6))
    rows, _ = collect_rows(model, dataset, range(6), drawn=drawn)
    # The tags of the image, 0 and 1, count for nothing.
    own = rows[rows.images == 3]
    assert set(own.kinds.tolist()) == {2, 3}
    assert (own.draws < 0).all()
    info = dataset.get_data_info(3)
    with torch.no_grad():
        stages = image_stages(model, [load_image(info['img_path'])])
    cells = model.prototype_cam.features(stages)[0]
    width = cells.shape[2]
    left = cells[:, :, : width // 2].flatten(1).T
    middle = cells[:, :, width // 2 : width * 3 // 4].flatten(1).T
    for kind, expected in ((2, left), (3, middle)):
        found = own.rows[own.kinds == kind]
        gap = torch.cdist(found, torch.nn.functional.normalize(expected))
        assert gap.min(dim=1).values.max() < 1e-3
        assert len(found) == min(30, len(expected))
    # The other images' rows are what they were.
    for name, value in vars(rows[rows.images != 3]).items():
        before = getattr(plain[plain.images != 3], name)
        assert_close(value, before, msg=name)
    # However few are kept, drawn ones are.
    few, _ = collect_rows(model, dataset, range(6), drawn=drawn, limit=1)
    assert few.images[few.kinds == 2].tolist() == [3]


def test_drawn_labels_weigh_as_much_as_all_others():
    rows = random_rows(0, 12)
    rows.draws[:3] -= 1
    found = weighed(rows)
    assert_close(found[:9], rows.rows[3:])
    assert_close(found[9:], rows.rows[:3].repeat(3, 1))
    assert_close(weighed(rows[:2]), rows.rows[:2])
    assert_close(weighed(rows[3:]), rows.rows[3:])


def test_drawn_labels_change_the_prototypes(setting):
    model, dataset = setting
    made = []
    for drawn in ({}, {3: drawn_label()}):
        fill(model, dataset, rounds=1, corrections=drawn)
        made.append(model.prototype_cam.prototypes.clone())
    assert not torch.equal(made[0][2], made[1][2])
