import os

import numpy as np
import pytest
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

from mmrca.pseudo_labels.writer import read_stamp, write_label

PALETTE = [[0, 0, 0], [128, 0, 0], [0, 128, 0]]


def some_labels():
    values = np.array([0, 1, 2, 255], dtype=np.uint8)
    return np.random.default_rng(0).choice(values, size=(13, 17))


def test_stock_mmseg_reads_the_same_labels(tmp_path):
    labels = some_labels()
    write_label(tmp_path / 'a.png', labels, PALETTE)
    loaded = LoadAnnotations()(
        {
            'seg_map_path': str(tmp_path / 'a.png'),
            'reduce_zero_label': False,
            'seg_fields': [],
        }
    )['gt_seg_map']
    assert loaded.dtype == np.uint8
    np.testing.assert_array_equal(loaded, labels)


def test_viewers_see_the_palette(tmp_path):
    labels = some_labels()
    write_label(tmp_path / 'a.png', labels, PALETTE)
    with Image.open(tmp_path / 'a.png') as picture:
        assert picture.mode == 'P'
        seen = np.asarray(picture.convert('RGB'))
    for value, colour in enumerate(PALETTE):
        assert (seen[labels == value] == colour).all()
    (ignored,) = np.unique(seen[labels == 255], axis=0).tolist()
    assert sum(ignored) > 300


def test_an_existing_label_is_replaced_and_nothing_else_left(tmp_path):
    path = tmp_path / 'a.png'
    path.write_bytes(b'half a PNG')
    write_label(path, some_labels(), PALETTE)
    with Image.open(path) as picture:
        np.testing.assert_array_equal(picture, some_labels())
    assert os.listdir(tmp_path) == ['a.png']


def test_a_failed_write_leaves_the_old_label(tmp_path, monkeypatch):
    path = tmp_path / 'a.png'
    write_label(path, some_labels(), PALETTE)
    before = path.read_bytes()

    def full_disk(source, target):
        raise OSError('no space left on device')

    monkeypatch.setattr(os, 'replace', full_disk)
    with pytest.raises(OSError, match='no space'):
        write_label(path, np.zeros_like(some_labels()), PALETTE)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ['a.png']


@pytest.mark.parametrize(
    ('labels', 'palette', 'message'),
    [
        (np.full((2, 2), 3, np.uint8), PALETTE, 'label 3 has no colour'),
        (np.zeros((2, 2), np.int64), PALETTE, 'must be uint8'),
        (np.zeros((2, 2, 3), np.uint8), PALETTE, 'must be uint8'),
        (np.zeros((2, 2), np.uint8), [[0, 0, 0]] * 256, 'at most 255'),
    ],
)
def test_bad_input(tmp_path, labels, palette, message):
    with pytest.raises(ValueError, match=message):
        write_label(tmp_path / 'a.png', labels, palette)
    assert not list(tmp_path.iterdir())


def test_an_editor_loses_the_stamp(tmp_path):
    path = tmp_path / 'a.png'
    assert read_stamp(path) is None
    write_label(path, some_labels(), PALETTE, 'recipe 1')
    assert read_stamp(path) == 'recipe 1'
    Image.fromarray(np.array(Image.open(path))).save(path)
    assert read_stamp(path) == ''
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert read_stamp(path) is None
