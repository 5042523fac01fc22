import numpy as np
import pytest
from mmengine.dataset import ConcatDataset
from PIL import Image

from mmrca.datasets import ImageLevelDataset
from mmrca.datasets.images import ImageError, load_image
from mmrca.pseudo_labels.inputs import (
    collect_inputs,
    data_infos,
    load_mask,
    load_saliency,
)

ORIENTATION = 0x0112


def build(root):
    return ImageLevelDataset(
        ann_file=str(root / 'labels.txt'),
        data_prefix=dict(img_path=str(root), seg_map_path=str(root)),
        metainfo=dict(classes=('background', 'one', 'two')),
        img_suffix='.jpg',
    )


@pytest.fixture
def turned(tmp_path):
    """One photograph that its EXIF tag turns by 90 degrees."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.new('RGB', (20, 10), 'red').save(tmp_path / 'a.jpg', exif=exif)
    (tmp_path / 'labels.txt').write_text('a two\n')
    return tmp_path


def test_sizes_are_what_the_loader_gives(turned):
    (item,), _ = collect_inputs(data_infos(build(turned)))
    assert item.size == load_image(item.path).shape[:2] == (20, 10)
    assert (item.img_id, item.classes, item.mask) == ('a', [1], None)


def test_mask_and_saliency_come_along(turned):
    labels = np.random.default_rng(0).choice([0, 2, 255], (20, 10))
    Image.fromarray(labels.astype(np.uint8)).save(turned / 'a.png')
    (turned / 'saliency').mkdir()
    Image.new('L', (10, 20), 51).save(turned / 'saliency/a.png')
    (item,), faults = collect_inputs(
        data_infos(build(turned)), str(turned / 'saliency')
    )
    assert not faults
    for _ in range(2):  # reading leaves no trace
        np.testing.assert_array_equal(load_mask(item), labels)
    np.testing.assert_allclose(load_saliency(item), np.full((20, 10), 0.2))


def test_a_mask_drawn_before_turning_is_refused(turned):
    Image.new('L', (20, 10)).save(turned / 'a.png')
    (item,), _ = collect_inputs(data_infos(build(turned)))
    with pytest.raises(ImageError, match='is 20 x 10 pixels, its image 10'):
        load_mask(item)


def test_two_images_of_one_name_are_refused(turned):
    both = ConcatDataset([build(turned), build(turned)])
    with pytest.raises(ValueError, match='two images are called a'):
        collect_inputs(data_infos(both))


@pytest.mark.parametrize('share', [0.2, 0.6, 0.95])
def test_a_cut_off_image_is_named(turned, share):
    (item,), _ = collect_inputs(data_infos(build(turned)))
    noise = np.random.default_rng(0).integers(0, 256, (10, 20, 3))
    Image.fromarray(noise.astype(np.uint8)).save(turned / 'a.jpg')
    data = (turned / 'a.jpg').read_bytes()
    (turned / 'a.jpg').write_bytes(data[: int(share * len(data))])
    with pytest.raises(ImageError, match=r'a\.jpg cannot be decoded'):
        load_image(item.path)


def test_faulty_files_are_named_and_left_out(turned):
    for name, content in {'b': b'', 'c': b'no picture'}.items():
        (turned / f'{name}.jpg').write_bytes(content)
    (turned / 'labels.txt').write_text('a two\nb one\nc one\n')
    inputs, faults = collect_inputs(data_infos(build(turned)))
    assert [item.img_id for item in inputs] == ['a']
    assert list(faults) == ['b', 'c']
    for name, sentence in faults.items():
        assert f'{name}.jpg cannot be decoded' in sentence
