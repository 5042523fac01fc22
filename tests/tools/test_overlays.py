"""Labels over photos: which pixels are painted, names, what is kept."""

import numpy as np
import pytest
from PIL import Image

from tests.place import SIZES, Place
from tools import make_pseudo_labels


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def make(place, *more):
    overlays = place.root / 'overlays'
    make_pseudo_labels.main(
        place.args('--overlays', str(overlays), '--workers', '0', *more)
    )
    return overlays


def test_photo_and_painted_label_lie_side_by_side(place):
    overlays = make(place)
    assert sorted(f.stem for f in overlays.iterdir()) == sorted(SIZES)
    for name, (height, width) in SIZES.items():
        picture = np.asarray(Image.open(overlays / f'{name}.jpg')).astype(int)
        photo = place.root / f'JPEGImages/{name}.jpg'
        photo = np.asarray(Image.open(photo)).astype(int)
        assert picture.shape[1] == 2 * width
        assert picture.shape[0] > height  # the legend
        assert abs(picture[:height, :width] - photo).mean() < 12
        white = place.labels()[name] == 255
        if white.any():
            right = picture[:height, width:]
            assert right[white].mean() > right[~white].mean()


def test_the_sheet_has_all_in_the_order_of_doubt(place, capsys):
    make(place)
    assert 'overlays_sheet.jpg' in capsys.readouterr().out
    with Image.open(place.root / 'overlays_sheet.jpg') as sheet:
        assert sheet.width > sheet.height  # four in a row


def test_only_what_changed_is_drawn_again(place):
    overlays = make(place)
    before = {f.name: f.stat().st_mtime_ns for f in overlays.iterdir()}
    (place.out / 'c.png').unlink()
    make(place)
    after = {f.name: f.stat().st_mtime_ns for f in overlays.iterdir()}
    assert [n for n in sorted(after) if after[n] != before[n]] == ['c.jpg']


def test_names_in_subfolders_and_other_scripts(place):
    place.rename({'a': 'sub/größe'}, {'bar': '猫 <b>'})
    overlays = make(place)
    found = sorted(overlays.rglob('*.jpg'))
    names = [file.relative_to(overlays).as_posix() for file in found]
    assert names == ['b.jpg', 'c.jpg', 'd.jpg', 'sub/größe.jpg']


@pytest.mark.parametrize('wrong', ['same folder', 'only CAMs', 'photos'])
def test_folders_that_do_not_fit_are_refused(place, capsys, wrong):
    args = place.args('--overlays', str(place.out))
    if wrong == 'only CAMs':
        args = [*args[:2], '--only-cams', '--cams', 'x', '--overlays', 'y']
    if wrong == 'photos':
        photos = ['--photos', str(place.root)]
        args = place.args('--overlays', str(place.root / 'x'), *photos)
    with pytest.raises(SystemExit):
        make_pseudo_labels.main(args)
    assert '--overlays' in capsys.readouterr().err
