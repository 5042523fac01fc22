import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from PIL import Image

from mmrca.cli import sentence
from mmrca.datasets.image_level_dataset import ImageLevelDataset
from mmrca.pseudo_labels.cues import SaliencyCue
from mmrca.pseudo_labels.inputs import collect_inputs, data_infos
from mmrca.registry import DATASETS
from tests import tiny


@pytest.fixture
def root(tmp_path: Path) -> Path:
    init_default_scope('mmseg')
    return tiny.write_images(tmp_path, [[0], [1, 2], [0, 2]])


def build(root: Path, labels: str | None = None, **changes):
    if labels is not None:
        (root / 'labels.txt').write_text(labels)
    cfg = tiny.config(root).train_dataloader.dataset
    return DATASETS.build({**cfg, **changes})


def test_numbers_and_names_mean_the_same(root):
    numbers = build(root, '0 0\n1 1 2\n2 2 0\n')
    names = build(root, '0 red\n\n1 green blue\n2 blue red\n')
    for dataset in (numbers, names):
        labels = [dataset.get_data_info(i)['gt_label'] for i in range(3)]
        assert labels == [[0], [1, 2], [0, 2]]
    assert numbers.fingerprint == names.fingerprint


def test_packing_gives_labels_and_rows_as_data(root):
    dataset = build(root, '0 0\n1 1 2\n2 0 2\n')
    sample = dataset[2]['data_samples']
    assert sample.img_id == '2'
    assert torch.equal(sample.gt_label, torch.tensor([1.0, 0.0, 1.0]))
    # Rows class by class: red 0 1, green 2, blue 3 4.
    assert sample.memory_row[[0, 2]].tolist() == [1, 4]
    assert dataset.row_class == [0, 0, 1, 2, 2]
    assert {'gt_label', 'memory_row'} <= set(sample.keys())


@pytest.mark.parametrize(
    'labels',
    ['0 0\n1 1\n2 0 2\n', '1 1 2\n0 0\n2 0 2\n', '0 0\n1 1 2\n'],
)
def test_another_list_has_another_fingerprint(root, labels):
    one = build(root, '0 0\n1 1 2\n2 0 2\n').fingerprint
    assert build(root, labels).fingerprint != one


def test_a_cap_changes_the_fingerprint(root):
    assert build(root, rows_per_class=1).fingerprint != build(root).fingerprint


@pytest.mark.parametrize(
    ('labels', 'says'),
    [
        ('', r'labels\.txt is empty'),
        ('0 pink\n', r"line 1: image 0 has 'pink'.*red, gr"),
        ('0 3\n', r"line 1: image 0 has '3'.*0 to 2"),
        ('0 0\n0 1\n', r'line 2: image 0 is listed a second time'),
        ('0 0\n7 1\n8 1\n', r'2 of 3 images .* first 7\.png'),
    ],
)
def test_a_bad_list_is_one_clear_sentence(root, labels, says):
    with pytest.raises((ValueError, FileNotFoundError), match=says) as error:
        build(root, labels)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        (dict(ann_file='nowhere.txt'), 'nowhere.txt does not .* ann_file'),
        (
            dict(data_prefix=dict(img_path='nowhere')),
            'folder nowhere does not',
        ),
        (dict(metainfo=dict(classes=('red', 'green'))), "'background'"),
        (dict(rows_per_class=0), 'rows_per_class is 0'),
        (
            dict(data_prefix=dict(img_path='images'), data_root=None),
            'folder images does not',
        ),
    ],
)
def test_a_bad_setting_is_one_clear_sentence(root, changes, says):
    with pytest.raises((ValueError, FileNotFoundError), match=says):
        build(root, **changes)


def write_mixed(root: Path) -> None:
    for name in ('a.jpg', 'cats/b.JPG', 'cats/two words.png', 'c.jpeg'):
        path = root / 'photos' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        form = 'PNG' if name.endswith('png') else 'JPEG'
        Image.new('RGB', (8, 6)).save(path, form)


def test_mixed_suffixes_subfolders_and_blanks(root):
    write_mixed(root)
    (root / 'labels.csv').write_text(
        'a,red\ncats/two words,traffic light,red\ncats/b.JPG,blue\nc,red\n'
    )
    dataset = build(
        root,
        ann_file=str(root / 'labels.csv'),
        data_prefix=dict(img_path=str(root / 'photos')),
        img_suffix=None,
        metainfo=dict(classes=('background', 'red', 'traffic light', 'blue')),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='mmrca.PackImageLabels'),
        ],
    )
    ids = [dataset[i]['data_samples'].img_id for i in range(4)]
    assert ids == ['a', 'cats/two words', 'cats/b', 'c']
    assert dataset[1]['data_samples'].gt_label.tolist() == [1, 1, 0]
    assert dataset[1]['inputs'].shape == (3, 6, 8)
    assert 'seg_map_path' not in dataset.get_data_info(0)


def test_notation_does_not_change_the_fingerprint(root):
    one = build(root, '0 0\n1 1 2\n2 0 2\n').fingerprint
    (root / 'labels.json').write_text(
        '{"0.png": ["red"], "1": ["blue", 1], "2": [0, "blue"]}'
    )
    other = build(root, ann_file=str(root / 'labels.json'), img_suffix=None)
    assert other.fingerprint == one


def test_two_files_of_one_label_name_are_refused(root):
    Image.new('RGB', (8, 8)).save(root / 'images/0.jpg')
    with pytest.raises(ValueError, match=r'image 0 may be 0\.jpg or 0\.png'):
        build(root, '0 0\n', img_suffix=None)
    with pytest.raises(ValueError, match=r"'0\.jpg' and '0\.png' .* 0\.png"):
        build(root, '0.jpg 0\n0.png 1\n', img_suffix=None)


def test_missing_masks_show_before_training(root):
    (root / 'masks/1.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'1 of 3 masks .* 1\.png'):
        build(root)
    images = dict(img_path=str(root / 'images'))
    with pytest.raises(ValueError, match='set data_prefix'):
        build(root, data_prefix=images)


def test_masks_saliency_and_labels_lie_in_the_images_subfolders(tmp_path):
    write_mixed(tmp_path)
    (tmp_path / 'labels.txt').write_text('cats/b 0\n')
    for part in ('masks', 'saliency'):
        (tmp_path / part / 'cats').mkdir(parents=True)
        Image.new('L', (8, 6), 51).save(tmp_path / part / 'cats/b.png')
    dataset = ImageLevelDataset(
        str(tmp_path / 'labels.txt'),
        dict(classes=('background', 'cat')),
        dict(
            img_path=str(tmp_path / 'photos'),
            seg_map_path=str(tmp_path / 'masks'),
        ),
    )
    cue = SaliencyCue(str(tmp_path / 'saliency'))
    (item,), errors = collect_inputs(data_infos(dataset), [cue.check])
    assert not errors
    assert item.mask == tmp_path / 'masks/cats/b.png'
    score = cue(torch.zeros(1, 6, 8), item.img_id)
    torch.testing.assert_close(score, torch.full((6, 8), 0.8))


def test_masks_of_0_and_255_are_refused_for_validation(root):
    for path in (root / 'masks').iterdir():
        mask = np.array(Image.open(path))
        Image.fromarray((mask > 0) * np.uint8(255)).save(path)
    with pytest.raises(ValueError, match=r'masks shows a class.*255'):
        build(root)
    # Of normal images such masks say the truth.
    assert len(build(root, '0\n1\n2\n')) == 3


@pytest.fixture(scope='module')
def coco_sized():
    """A folder of 82,000 images and their 240,000 labels of 80 classes."""
    labels = coco_sized_labels()
    # Not pytest's tmp_path, which stays for three runs.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for name in labels:
            (folder / f'{name}.jpg').touch()
        lines = (' '.join(map(str, (n, *c))) for n, c in labels.items())
        (folder / 'labels.txt').write_text('\n'.join(lines))
        yield folder, labels


def test_rows_of_a_list_of_cocos_size(coco_sized):
    folder, labels = coco_sized
    cap = 500
    start = time.perf_counter()
    dataset = ImageLevelDataset(
        str(folder / 'labels.txt'),
        dict(classes=('background', *map('class {}'.format, range(80)))),
        dict(img_path=str(folder)),
        rows_per_class=cap,
    )
    # Seconds; it took minutes while each image copied the metainfo.
    assert time.perf_counter() - start < 30
    visits = Counter(c for classes in labels.values() for c in classes)
    assert (len(dataset), visits.total()) == (82_000, 240_000)
    sizes = [min(visits[c], cap) for c in range(80)]
    assert dataset.row_class == [c for c in range(80) for _ in range(sizes[c])]
    first = [sum(sizes[:c]) for c in range(80)]
    seen = Counter()
    for index, (name, classes) in enumerate(labels.items()):
        rows = [first[c] + seen[c] % sizes[c] for c in classes]
        seen.update(classes)
        if index % 9 == 0:
            info = dataset.get_data_info(index)
            assert info['img_id'] == name
            assert info['gt_label'] == classes
            assert info['memory_row'] == rows


def coco_sized_labels() -> dict[str, list[int]]:
    rng = np.random.default_rng(0)
    counts = np.full(82_000, 2)
    counts[: 240_000 - counts.sum()] += 1
    rng.shuffle(counts)
    picks = np.argsort(rng.random((82_000, 80)), axis=1)
    return {
        f'{i:012d}': sorted(pick[:n].tolist())
        for i, (n, pick) in enumerate(zip(counts, picks, strict=True))
    }


@pytest.mark.parametrize('content', [b'', b'no image'])
def test_a_broken_image_is_named(root, content):
    dataset = build(root)
    (root / 'images/1.png').write_bytes(content)
    loader = torch.utils.data.DataLoader(
        dataset, num_workers=1, collate_fn=list
    )
    with pytest.raises(ValueError) as error:
        list(loader)
    said = sentence(error.value)
    assert f'image {root}/images/1.png' in said
    assert 'replace it' in said


def test_a_padded_image_is_refused(root):
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Pad', size=(64, 64)),
        dict(type='mmrca.PackImageLabels'),
    ]
    with pytest.raises(ValueError, match='leave out Pad'):
        build(root, pipeline=pipeline)[0]
