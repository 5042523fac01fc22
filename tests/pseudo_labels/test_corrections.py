"""Corrected labels and tags win, and nothing of them is lost."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mmrca.pseudo_labels.calibration import Calibrator
from mmrca.pseudo_labels.maker import make_pseudo_labels
from mmrca.pseudo_labels.writer import IGNORE_COLOUR
from tests.place import CLASSES, LABELS, PALETTE, SIZES, Place, read


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def make(place, **options):
    return make_pseudo_labels(
        Config.fromfile(place.config),
        str(place.checkpoint),
        place.out,
        **options,
    )


def listed(place):
    with (place.out.parent / 'labels_classes.csv').open(newline='') as file:
        return {row[0]: row[1:] for row in csv.reader(file)}


def manifest(place):
    return json.loads((place.out / 'manifest.json').read_text())


def draw(place, name, values):
    """Draw stripes of the values."""
    labels = np.resize(np.array(values, np.uint8), SIZES[name])
    path = place.root / 'fixed' / f'{name}.png'
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(labels).save(path)
    return labels


def test_corrections_are_used_as_they_are(place):
    a, b = draw(place, 'a', [0, 3]), draw(place, 'b', [1, 255])
    result = make(place, corrections=place.root / 'fixed')
    assert result['written'] == 2
    assert sorted(result['edited']) == manifest(place)['edited'] == ['a', 'b']
    np.testing.assert_array_equal(read(place.out / 'a.png'), a)
    np.testing.assert_array_equal(read(place.out / 'b.png'), b)
    # Colours as of the others, so that it can be painted on.
    palette = Image.open(place.out / 'a.png').getpalette()
    assert palette[3:6] == PALETTE[1]
    # What is drawn without 255 says all; beside 255 the tag may be right.
    tags = {n: [CLASSES[c + 1] for c in LABELS[n]] for n in LABELS}
    assert listed(place) == {**tags, 'a': ['ring'], 'b': ['disc', 'ring']}
    # They stay without the option, and the latest correction counts.
    assert sorted(make(place)['edited']) == ['a', 'b']
    # Another list into the same folder has tags of its own.
    (place.root / 'val.txt').write_text('b 0\n')
    record = place.out.parent / 'val.json'
    make(place, label_list=place.root / 'val.txt', record=record)
    assert make(place)['kept'] == 4
    again = draw(place, 'a', [2])
    make(place, corrections=place.root / 'fixed', overwrite=True)
    np.testing.assert_array_equal(read(place.out / 'a.png'), again)
    np.testing.assert_array_equal(read(place.out / 'b.png'), b)
    make(place, overwrite=True)
    assert (read(place.out / 'a.png') != again).any()


def test_a_label_painted_in_colours_is_a_correction(place):
    """Most paint programs save RGB."""
    labels = draw(place, 'a', [0, 1, 3, 255])
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(PALETTE)] = PALETTE
    colours[255] = IGNORE_COLOUR
    path = place.root / 'fixed/a.png'
    Image.fromarray(colours[labels]).convert('RGBA').save(path)
    make(place, corrections=path.parent)
    np.testing.assert_array_equal(read(place.out / 'a.png'), labels)
    soft = colours[labels]
    soft[3, 5] = (100, 15, 15)
    Image.fromarray(soft).save(path)
    with pytest.raises(ValueError, match=r'a\.png.*100, 15, 15.*5, row 3'):
        make(place, corrections=path.parent)


def test_an_edited_label_is_told_by_its_pixels(place):
    """Some editors keep the texts of a PNG, our stamp among them."""
    make(place)
    path = place.out / 'c.png'
    picture = Image.open(path)
    assert picture.info['mmrca']
    labels = np.array(picture)
    labels[:4] = 3
    info = PngInfo()
    for key, value in picture.info.items():
        if key.startswith('mmrca'):
            info.add_text(key, value)
    Image.fromarray(labels).save(path, pnginfo=info)
    text = (place.root / 'labels.txt').read_text()
    (place.root / 'labels.txt').write_text(text.replace('c 1', 'c 0'))
    assert make(place)['edited'] == ['c']
    np.testing.assert_array_equal(read(path), labels)


def test_bad_corrections_are_named_before_labels_are_made(place):
    (place.root / 'fixed').mkdir()
    with pytest.raises(FileNotFoundError, match=r'fixed.* a\.png'):
        make(place, corrections=place.root / 'fixed')
    draw(place, 'a', [0, 9])
    with pytest.raises(ValueError, match=r'fixed/a\.png holds 9'):
        make(place, corrections=place.root / 'fixed')
    Image.new('L', (5, 4)).save(place.root / 'fixed/a.png')
    with pytest.raises(ValueError, match=r'fixed/a\.png is 5 x 4'):
        make(place, corrections=place.root / 'fixed')
    assert not place.out.exists()


def test_corrections_of_other_images_are_said(place, capsys):
    draw(place, 'a', [1])
    Image.new('L', (5, 4)).save(place.root / 'fixed/stranger.png')
    make(place, corrections=place.root / 'fixed')
    assert 'stranger' in capsys.readouterr().out


def photos(place):
    folder = place.root / 'photos'
    folder.mkdir()
    for name, photo in {'one': 'a', 'two': 'd'}.items():
        source = place.root / f'JPEGImages/{photo}.jpg'
        (folder / f'{name}.jpg').write_bytes(source.read_bytes())
    return folder


def test_corrected_tags_make_new_labels_of_photos(place):
    folder = photos(place)
    make(place, photos=folder)
    path = place.out.parent / 'labels_classes.csv'
    predicted = listed(place)
    before = {n: (place.out / f'{n}.png').read_bytes() for n in predicted}
    other = ['bar' if predicted['one'] == ['disc'] else 'disc']
    path.write_text(f'one,{other[0]}\n')
    # Not given, it would be lost.
    with pytest.raises(ValueError, match=r'labels_classes\.csv.*--list'):
        make(place, photos=folder)
    result = make(place, photos=folder, label_list=path)
    assert (result['written'], result['kept']) == (1, 1)
    assert listed(place) == {**predicted, 'one': other}
    values = set(np.unique(read(place.out / 'one.png')).tolist())
    assert values <= {0, 255, CLASSES.index(other[0])}
    assert (place.out / 'two.png').read_bytes() == before['two']
    # The next call keeps them, with the list or without.
    assert make(place, photos=folder)['kept'] == 2
    assert make(place, photos=folder, label_list=path)['kept'] == 2
    path.write_text('three,disc\n')
    with pytest.raises(FileNotFoundError, match='three'):
        make(place, photos=folder, label_list=path)


def test_photos_that_all_have_tags_need_no_prediction(place):
    tags = place.root / 'tags.csv'
    tags.write_text('one,disc\ntwo\n')
    make(place, photos=photos(place), label_list=tags)
    assert 'class_thresholds' not in manifest(place)['recipe']
    assert not read(place.out / 'two.png').any()


def test_images_that_were_held_back_are_labelled_by_their_list(place):
    make(place)
    known = {n: read(place.out / f'{n}.png') for n in SIZES}
    source = place.root / 'JPEGImages/a.jpg'
    (place.root / 'JPEGImages/e.jpg').write_bytes(source.read_bytes())
    (place.root / 'val.txt').write_text('e 0\n')
    # Into the same folder: it is the same recipe.
    result = make(place, label_list=place.root / 'val.txt')
    assert (result['written'], result['images']) == (1, 1)
    np.testing.assert_array_equal(read(place.out / 'e.png'), known['a'])
    config = Config.fromfile(place.config)
    config.train_dataloader.dataset = dict(
        type='ConcatDataset',
        datasets=[config.train_dataloader.dataset],
    )
    with pytest.raises(ValueError, match='--list'):
        make_pseudo_labels(
            config,
            str(place.checkpoint),
            place.out,
            label_list=place.root / 'val.txt',
        )


@pytest.fixture
def looked(monkeypatch):
    """Which images are scored for the classes' thresholds."""
    names = []
    look = Calibrator._look

    def watch(self, infos):
        names.extend(info['img_id'] for info in infos)
        return look(self, infos)

    monkeypatch.setattr(Calibrator, '_look', watch)
    return names


def calibration(place):
    path = Path(f'{place.checkpoint}.calibration.json')
    return json.loads(path.read_text())


def test_images_that_were_labelled_are_not_scored_again(place, looked):
    place.write_config(scales=(1.0, 1.5), flip=True)
    folder = photos(place)
    make_pseudo_labels(
        Config.fromfile(place.config),
        str(place.checkpoint),
        place.root / 'first',
        photos=folder,
    )
    assert sorted(looked) == list(SIZES)
    alone = calibration(place)['classes']
    Path(f'{place.checkpoint}.calibration.json').unlink()
    looked.clear()
    make(place)
    make_pseudo_labels(
        Config.fromfile(place.config),
        str(place.checkpoint),
        place.root / 'second',
        photos=folder,
    )
    assert looked == []
    assert calibration(place)['classes'] == alone


def test_what_a_killed_run_did_not_score_is_scored(place, looked):
    """Labels from before are kept, and their scores unknown."""
    make(place)
    whole = calibration(place)['classes']
    Path(f'{place.checkpoint}.calibration.json').unlink()
    (place.out / 'b.png').unlink()
    make(place)
    assert list(calibration(place)['scores']['value']) == ['b']
    make_pseudo_labels(
        Config.fromfile(place.config),
        str(place.checkpoint),
        place.root / 'new',
        photos=photos(place),
    )
    assert sorted(looked) == ['a', 'c', 'd']
    assert calibration(place)['classes'] == whole
