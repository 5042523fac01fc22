import numpy as np
import pytest
from PIL import Image

from mmrca.datasets.images import ImageError
from mmrca.datasets.masks import read_class_map


def write(path, values, mode=None):
    picture = Image.fromarray(np.array(values, np.uint8))
    (picture.convert(mode) if mode else picture).save(path)
    return path


def test_grey_and_palette_give_their_numbers(tmp_path):
    values = [[0, 1, 2], [255, 1, 0]]
    grey = write(tmp_path / 'a.png', values)
    palette = Image.fromarray(np.array(values, np.uint8))
    palette.putpalette(list(range(256)) * 3)
    palette.save(tmp_path / 'b.png')
    for path in (grey, tmp_path / 'b.png'):
        assert read_class_map(path, 'mask', 3).tolist() == values


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'LA', '1', 'I;16'])
def test_other_kinds_of_pictures_are_named(tmp_path, mode):
    path = tmp_path / 'a.png'
    if mode == 'I;16':
        Image.fromarray(np.zeros((2, 2), np.uint16)).save(path)
    else:
        write(path, [[0, 1]], mode)
    with pytest.raises(ImageError, match=rf'mask .*a\.png.* is {mode}$'):
        read_class_map(path, 'mask', 3)


def test_a_value_that_is_not_a_class_is_named(tmp_path):
    path = write(tmp_path / 'a.png', [[0, 7, 255]])
    with pytest.raises(ImageError, match=r'label .*a\.png holds 7'):
        read_class_map(path, 'label', 3)
    assert read_class_map(path, 'label').max() == 255
