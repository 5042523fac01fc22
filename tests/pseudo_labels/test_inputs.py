import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset
from PIL import Image

from mmrca.datasets.image_level_dataset import ImageLevelDataset
from mmrca.datasets.images import ImageError, load_image
from mmrca.datasets.masks import read_class_map
from mmrca.pseudo_labels.cues import SaliencyCue
from mmrca.pseudo_labels.inputs import collect_inputs, data_infos

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
    cue = SaliencyCue(str(turned / 'saliency'))
    (item,), errors = collect_inputs(data_infos(build(turned)), [cue.check])
    assert not errors
    np.testing.assert_array_equal(read_class_map(item.mask, 'mask'), labels)
    score = cue(torch.zeros(2, 20, 10), 'a')
    np.testing.assert_allclose(score, np.full((20, 10), 0.8), rtol=1e-6)
    # A shrunk image has shrunk CAMs.
    assert cue(torch.zeros(2, 10, 5), 'a').shape == (10, 5)


def test_two_images_of_one_name_are_refused(turned):
    both = ConcatDataset([build(turned), build(turned)])
    with pytest.raises(ValueError, match='two images are called a'):
        collect_inputs(data_infos(both))


@pytest.mark.parametrize('share', [0.2, 0.6, 0.95])
def test_a_truncated_image_is_named(turned, share):
    (item,), _ = collect_inputs(data_infos(build(turned)))
    noise = np.random.default_rng(0).integers(0, 256, (10, 20, 3))
    Image.fromarray(noise.astype(np.uint8)).save(turned / 'a.jpg')
    data = (turned / 'a.jpg').read_bytes()
    (turned / 'a.jpg').write_bytes(data[: int(share * len(data))])
    with pytest.raises(ImageError, match=r'a\.jpg cannot be decoded'):
        load_image(item.path)


def test_broken_files_are_named_and_left_out(turned):
    for name, content in {'b': b'', 'c': b'no picture'}.items():
        (turned / f'{name}.jpg').write_bytes(content)
    (turned / 'labels.txt').write_text('a two\nb one\nc one\n')
    inputs, errors = collect_inputs(data_infos(build(turned)))
    assert [item.img_id for item in inputs] == ['a']
    assert list(errors) == ['b', 'c']
    for name, sentence in errors.items():
        assert f'{name}.jpg cannot be decoded' in sentence
