import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tools.toy_data import CLASSES, PALETTE, make_dataset, make_scene

REPO = Path(__file__).parents[2]


def contents(root):
    files = sorted(path for path in root.rglob('*') if path.is_file())
    return {str(p.relative_to(root)): p.read_bytes() for p in files}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('toy') / 'data' / 'toy'
    assert make_dataset(root, seed=3, train=6, val=4)
    return root


@pytest.fixture(scope='module')
def scenes():
    return [make_scene('train', index) for index in range(150)]


def lists(root, split):
    ids = (root / f'ImageSets/Segmentation/{split}.txt').read_text().split()
    lines = (root / f'labels/{split}_cls.txt').read_text().splitlines()
    return ids, [line.split() for line in lines]


def test_one_seed_always_gives_the_same_bytes(root, tmp_path):
    make_dataset(tmp_path / 'again', seed=3, train=6, val=4)
    make_dataset(tmp_path / 'other', seed=4, train=6, val=4)
    first = contents(root)
    assert contents(tmp_path / 'again') == first
    other = contents(tmp_path / 'other')
    assert other.keys() == first.keys()
    images = [name for name in first if name.endswith('.jpg')]
    assert len(images) == 10
    assert all(other[name] != first[name] for name in images)


def test_a_scene_does_not_depend_on_the_size_of_the_set(root, tmp_path):
    make_dataset(tmp_path / 'small', seed=3, train=2, val=2)
    name = 'JPEGImages/val_0001.jpg'
    assert (tmp_path / 'small' / name).read_bytes() == (
        root / name
    ).read_bytes()


@pytest.mark.parametrize(('split', 'count'), [('train', 6), ('val', 4)])
def test_lists_images_and_masks_agree(root, split, count):
    ids, lines = lists(root, split)
    assert len(set(ids)) == count
    assert [line[0] for line in lines] == ids
    for name, *labels in lines:
        image = Image.open(root / f'JPEGImages/{name}.jpg')
        mask = Image.open(root / f'SegmentationClass/{name}.png')
        assert (image.mode, mask.mode) == ('RGB', 'P')
        assert image.size == mask.size
        values = set(np.unique(np.array(mask)).tolist()) - {0}
        assert sorted(int(c) + 1 for c in labels) == sorted(values)
        assert values
        colours = np.array(mask.convert('RGB')).reshape(-1, 3)
        seen = set(map(tuple, colours.tolist()))
        assert seen <= {PALETTE[0], *(PALETTE[v] for v in values)}


def test_class_names_are_listed_in_mask_order(root):
    names = (root / 'labels/classes.txt').read_text().split()
    assert tuple(names) == CLASSES
    assert len(PALETTE) == len(set(PALETTE)) == len(CLASSES) + 1


def test_splits_do_not_share_images(root):
    images = {
        name: data
        for name, data in contents(root).items()
        if name.endswith('.jpg')
    }
    assert len(set(images.values())) == len(images)


def test_the_emblem_is_the_small_part_of_a_creature(scenes):
    emblem = sum(scene.emblem.sum() for scene in scenes)
    whole = sum((scene.mask > 0).sum() for scene in scenes)
    assert all((scene.mask[scene.emblem] > 0).all() for scene in scenes)
    assert 0.03 < emblem / whole < 0.25


def test_the_emblem_has_its_class_colour(scenes):
    for value in range(1, len(PALETTE)):
        pixels = np.concatenate(
            [s.image[s.emblem & (s.mask == value)] for s in scenes]
        )
        near = np.abs(pixels - np.array(PALETTE[value])).max(axis=1) < 30
        assert near.mean() > 0.35


def test_some_creatures_hide_their_emblem_and_most_do_not(scenes):
    shown = [
        bool((scene.emblem & (scene.mask == label + 1)).any())
        for scene in scenes
        for label in scene.labels
    ]
    assert 0.6 < np.mean(shown) < 0.97


def test_every_class_appears_and_friends_appear_together(scenes):
    hot = np.zeros((len(scenes), len(CLASSES)), int)
    for row, scene in zip(hot, scenes, strict=True):
        row[scene.labels] = 1
    together = hot.T @ hot
    assert together.diagonal().min() > 20
    friends = [together[c, c + 1] for c in range(0, len(CLASSES), 2)]
    strangers = [
        together[a, b]
        for a in range(len(CLASSES))
        for b in range(a + 1, len(CLASSES))
        if a ^ 1 != b
    ]
    assert np.mean(friends) > 1.5 * np.mean(strangers)


def test_the_same_folder_is_used_again(root):
    before = contents(root)
    stamp = (root / 'toy.json').stat().st_mtime_ns
    assert not make_dataset(root, seed=3, train=6, val=4)
    assert contents(root) == before
    assert (root / 'toy.json').stat().st_mtime_ns == stamp


def test_an_empty_folder_is_filled(tmp_path):
    assert make_dataset(tmp_path, train=1, val=1)
    assert lists(tmp_path, 'val')[0] == ['val_0000']


def test_other_content_is_refused_and_left_alone(root, tmp_path):
    with pytest.raises(FileExistsError, match='name another folder'):
        make_dataset(root, seed=5, train=6, val=4)
    (tmp_path / 'thesis.txt').write_text('mine')
    with pytest.raises(FileExistsError, match=str(tmp_path)):
        make_dataset(tmp_path, train=1, val=1)
    assert contents(tmp_path) == {'thesis.txt': b'mine'}


@pytest.mark.parametrize(
    'lost', ['SegmentationClass/val_0000.png', 'JPEGImages/val_0000.jpg']
)
def test_a_folder_that_lost_a_file_is_refused(tmp_path, lost):
    root = tmp_path / 'toy'
    make_dataset(root, train=1, val=1)
    (root / lost).unlink()
    with pytest.raises(FileExistsError, match='complete'):
        make_dataset(root, train=1, val=1)


def test_a_stopped_run_leaves_nothing_behind(tmp_path):
    def stop(tasks):
        yield tasks[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_dataset(tmp_path / 'toy', train=2, val=1, track=stop)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('bad', [{'seed': -1}, {'train': 0}, {'val': 0}])
def test_a_number_out_of_range_is_refused(tmp_path, bad):
    key, value = next(iter(bad.items()))
    with pytest.raises(ValueError, match=f'{key}={value}'):
        make_dataset(tmp_path / 'toy', **bad)
    assert not list(tmp_path.iterdir())


def run_tool(*args):
    return subprocess.run(
        [sys.executable, 'tools/make_toy_data.py', *map(str, args)],
        cwd=REPO,
        env={**os.environ, 'PYTHONPATH': str(REPO)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_tool_writes_and_counts(tmp_path):
    root = tmp_path / 'toy'
    done = run_tool(root, '--train', 5, '--val', 2, '--seed', 3)
    assert done.returncode == 0, done.stderr
    assert str(root) in done.stdout
    rows = [line.split() for line in done.stdout.splitlines()]
    rows = {row[0]: row[1:] for row in rows if row and row[0] in CLASSES}
    for split, column in (('train', 0), ('val', 1)):
        _, lines = lists(root, split)
        for label, name in enumerate(CLASSES):
            images = sum(str(label) in line[1:] for line in lines)
            assert int(rows[name][column]) == images


def test_the_tool_refuses_in_one_line(tmp_path):
    (tmp_path / 'thesis.txt').write_text('mine')
    done = run_tool(tmp_path, '--train', 2, '--val', 1)
    assert done.returncode == 2
    assert done.stderr.startswith('error: ')
    assert done.stderr.count('\n') == 1
