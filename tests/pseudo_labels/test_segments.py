"""Labels by segments from files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmrca.pseudo_labels.maker import make_pseudo_labels
from mmrca.pseudo_labels.photos import PhotoLabeller
from mmrca.pseudo_labels.segments import Segments
from tests.place import SIZES, Place, read


def halves(size):
    """A segment of the left half; the right one is in none."""
    numbers = np.zeros(size, np.uint16)
    numbers[:, : size[1] // 2] = 300
    return numbers


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    folder = tmp_path / 'segments'
    folder.mkdir()
    for name, size in SIZES.items():
        file = folder / f'{name}.png'
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(halves(size)).save(file)
    place.write_config(
        margin=0.0, refinement=dict(type='segments', dir=str(folder))
    )
    return place


def make(place, **options):
    return make_pseudo_labels(
        Config.fromfile(place.config),
        str(place.checkpoint),
        place.out,
        **options,
    )


def labels(place):
    return {name: read(place.out / f'{name}.png') for name in SIZES}


def test_a_segment_has_one_label_and_others_keep_theirs(place):
    make(place)
    voted = labels(place)
    place.write_config(margin=0.0)
    make(place, overwrite=True)
    plain = labels(place)
    changed = False
    for name, size in SIZES.items():
        inside = halves(size) > 0
        assert len(np.unique(voted[name][inside])) == 1
        np.testing.assert_array_equal(
            voted[name][~inside], plain[name][~inside]
        )
        changed |= (voted[name] != plain[name]).any()
    assert changed


def test_masks_are_segments_as_numbers_are(place):
    make(place)
    by_numbers = labels(place)
    for file in (place.root / 'segments').rglob('*.png'):
        masks = np.array(Image.open(file))[None] > 0
        np.savez(file.with_suffix('.npz'), masks=masks)
        file.unlink()
    make(place, overwrite=True)
    for name, found in labels(place).items():
        np.testing.assert_array_equal(found, by_numbers[name])


def test_an_image_that_was_shrunk(place):
    name, size = next(iter(SIZES.items()))
    small = (size[0] // 2, size[1] // 2)
    image = np.zeros((*small, 3), np.uint8)
    scores = torch.rand(3, *small)
    refine = Segments(str(place.root / 'segments'))
    found = refine(image, scores, [0, 1], img_id=name)
    half = small[1] // 2
    expected = scores[:, :, :half].mean((1, 2))
    for column in (0, half - 2):
        torch.testing.assert_close(
            found[:, :, column], expected[:, None].expand(-1, small[0]),
            atol=0.02, rtol=0,
        )  # fmt: skip


def broken_npz(path, **arrays):
    path.with_suffix('.png').unlink()
    np.savez(path.with_suffix('.npz'), **arrays)


@pytest.mark.parametrize('fault', ['missing', 'size', 'rgb', 'key', 'type'])
def test_segments_at_fault_are_named_before_the_long_work(place, fault):
    name, size = next(iter(SIZES.items()))
    path = place.root / f'segments/{name}.png'
    if fault == 'missing':
        path.unlink()
    elif fault == 'size':
        Image.fromarray(halves((size[0], size[1] + 1))).save(path)
    elif fault == 'rgb':
        Image.new('RGB', size[::-1]).save(path)
    elif fault == 'key':
        broken_npz(path, mask=np.ones((1, *size), bool))
    else:
        broken_npz(path, masks=np.ones((1, *size)))
    with pytest.raises(ValueError, match=f'segments .*{Path(name).name}'):
        make(place, strict=True)
    assert not place.out.exists()


def test_a_pickle_is_no_segments(place):
    name = next(iter(SIZES))
    broken_npz(
        place.root / f'segments/{name}.png',
        masks=np.array([{'a': 1}], dtype=object),
    )
    with pytest.raises(ValueError, match='boolean'):
        make(place, strict=True)


def test_a_folder_that_is_not_there_is_named(place):
    place.write_config(refinement=dict(type='segments', dir='nowhere'))
    with pytest.raises(FileNotFoundError, match='nowhere'):
        make(place)


def test_a_photo_has_no_segments(place):
    with pytest.raises(ValueError, match='segments'):
        PhotoLabeller(place.config, place.checkpoint)
