"""Thresholds chosen without masks, and photos that nobody labelled."""

import csv
import json
from pathlib import Path

import mmcv
import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmrca.inference import enlarge_cams, infer_cams
from mmrca.ops.threshold import (
    absence_threshold,
    choose_threshold,
    colour_threshold,
)
from mmrca.pseudo_labels.maker import make_pseudo_labels
from mmrca.pseudo_labels.photos import (
    PhotoLabeller,
    classes_and_palette,
    photo_infos,
)
from mmrca.pseudo_labels.writer import voc_palette
from tests.place import CLASSES, LABELS, SIZES, Place, read

AUTO = dict(type='constant', threshold='auto')


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


def calibration(place):
    path = Path(f'{place.checkpoint}.calibration.json')
    return json.loads(path.read_text())


def image(place, name):
    return mmcv.imread(str(place.root / f'JPEGImages/{name}.jpg'))


def test_the_threshold_is_chosen_without_masks(place):
    place.write_config(background=AUTO)
    for path in (place.root / 'SegmentationClass').iterdir():
        path.unlink()
    result = make(place)
    labeller = PhotoLabeller(place.config, place.checkpoint)
    found, present, absent = [], [], []
    for turn, (name, classes) in enumerate(LABELS.items(), 1):
        others = [c for c in range(len(CLASSES) - 1) if c not in classes]
        asked = [classes, *([others[turn % len(others)]] for _ in others[:1])]
        cams, *other = (
            infer_cams(
                labeller.model, [image(place, name)], [c], [1.0], False
            )[0]
            for c in asked
        )
        present.append(cams.maps[0].float())
        absent += [one.maps[0].float() for one in other]
        maps = enlarge_cams(cams, SIZES[name], 'class')
        pixels = torch.from_numpy(image(place, name))
        found.append(colour_threshold(pixels, maps))
    floor = absence_threshold(present, absent, 'class')
    threshold = choose_threshold(found, floor)
    assert result['pseudo_label']['background']['threshold'] == threshold
    assert result['background_threshold'] == (
        f'{threshold}, chosen without masks'
    )
    # It is that of a run with this number.
    auto = {n: read(place.out / f'{n}.png') for n in SIZES}
    place.write_config(background=dict(AUTO, threshold=threshold))
    make(place, overwrite=True)
    for name, labels in auto.items():
        np.testing.assert_array_equal(labels, read(place.out / f'{name}.png'))


def test_a_calibration_is_kept_until_something_changes(place):
    place.write_config(background=AUTO)
    make(place)
    path = Path(f'{place.checkpoint}.calibration.json')
    known = calibration(place)
    known['background_threshold']['value'] = [0.77, None]
    path.write_text(json.dumps(known))
    labeller = PhotoLabeller(place.config, place.checkpoint)
    assert labeller.labeller.settings.background['threshold'] == 0.77
    with pytest.raises(ValueError, match=r'threshold = .* \(now 0\.77\)'):
        make(place)
    text = (place.root / 'labels.txt').read_text()
    (place.root / 'labels.txt').write_text(text.replace('a 0', 'a 1'))
    make(place, overwrite=True)
    assert calibration(place)['background_threshold']['value'][0] != 0.77
    whole = calibration(place)
    path.write_text('{')
    make(place)
    assert (
        calibration(place)['background_threshold']
        == whole['background_threshold']
    )


class Brighter:
    """A refinement after which more lies above any threshold."""

    def __init__(self, power: float) -> None:
        self.power = power

    def __call__(self, image, scores, classes):
        return torch.cat([scores[:1], scores[1:] ** self.power])


def test_a_refinement_moves_the_threshold(place):
    brighter = dict(type=f'{__name__}.Brighter', power=0.5)
    place.write_config(background=AUTO, refinement=brighter)
    result = make(place)
    used = result['pseudo_label']['background']
    before, after = used['threshold'], used['refined']
    # Up to the width of a step: the same pixels are above both.
    assert abs(after - before**0.5) <= 0.01
    assert f'{before}, {after} after' in result['background_threshold']
    # With another refinement it is chosen again.
    place.write_config(background=AUTO, refinement=dict(brighter, power=1.0))
    used = make(place, overwrite=True)['pseudo_label']['background']
    assert used == dict(AUTO, threshold=before, refined=before)


def test_a_refinement_that_weighs_the_background_keeps_the_threshold(place):
    place.write_config(background=AUTO, refinement=dict(type='dense_crf'))
    result = make(place)
    assert result['pseudo_label']['background']['refined'] is None
    assert 'after refinement' not in result['background_threshold']


def test_images_of_one_colour_end_in_a_threshold_and_a_warning(place, capsys):
    place.write_config(background=AUTO)
    for path in (place.root / 'JPEGImages').iterdir():
        Image.new('RGB', Image.open(path).size).save(path)
    result = make(place)
    assert 0.3 <= result['pseudo_label']['background']['threshold'] <= 1
    assert 'in no image do the colours' in capsys.readouterr().out


@pytest.mark.parametrize('crowded', [True, False])
def test_images_with_several_classes_each_are_asked_about(
    place, capsys, crowded
):
    place.write_config(background=AUTO)
    if crowded:
        rows = [f'{name} 0 1' for name in LABELS]
        (place.root / 'labels.txt').write_text('\n'.join(rows))
    make(place)
    said = 'pseudo_label.background.threshold=0' in capsys.readouterr().out
    assert said == crowded


def photos(place):
    """Two of the images, elsewhere, and one that is none."""
    folder = place.root / 'photos'
    (folder / 'trip').mkdir(parents=True)
    for name, photo in {'one': 'a', 'trip/two': 'd'}.items():
        source = place.root / f'JPEGImages/{photo}.jpg'
        (folder / f'{name}.jpg').write_bytes(source.read_bytes())
    (folder / 'broken.png').write_bytes(b'')
    (folder / 'notes.txt').write_text('no image')
    return folder


def test_photos_are_labelled_with_predicted_classes(place):
    folder = photos(place)
    result = make(place, photos=folder)
    assert list(result['errors']) == ['broken']
    assert result['against_masks'] is None
    thresholds = [
        2.0 if t is None else t for t in calibration(place)['classes']['value']
    ]
    labeller = PhotoLabeller(place.config, place.checkpoint)
    predicted = {}
    for name, photo in {'one': 'a', 'trip/two': 'd'}.items():
        (cams,) = infer_cams(
            labeller.model, [image(place, photo)], [[]], [1.0], False
        )
        known = (cams.scores >= torch.tensor(thresholds)).nonzero()[:, 0]
        predicted[name] = [CLASSES[c + 1] for c in known]
        labels = read(place.out / f'{name}.png')
        assert labels.shape == SIZES[photo]
        assert set(np.unique(labels)) <= {0, 255, *(known + 1).tolist()}
        # The same from Python, of a file and of pixels.
        for given in (folder / f'{name}.jpg', image(place, photo)):
            found = labeller(given)
            np.testing.assert_array_equal(found.labels, labels)
            assert found.classes == predicted[name]
            scores = dict(zip(CLASSES[1:], cams.scores.tolist(), strict=True))
            assert found.scores == pytest.approx(scores)
    table = place.out.parent / 'labels_classes.csv'
    with table.open(newline='') as file:
        rows = {row[0]: row[1:] for row in csv.reader(file)}
    assert rows == predicted
    assert any(predicted.values())
    # The next run keeps the labels, and knows their classes still.
    table.unlink()
    assert make(place, photos=folder)['kept'] == 2
    with table.open(newline='') as file:
        rows = {row[0]: row[1:] for row in csv.reader(file)}
    assert rows == predicted


def test_photos_go_on_where_they_were(place):
    folder = photos(place)
    (folder / 'broken.png').unlink()
    make(place, photos=folder)
    before = (place.out / 'one.png').read_bytes()
    (place.out / 'trip/two.png').unlink()
    result = make(place, photos=folder)
    assert (result['written'], result['kept']) == (1, 1)
    assert (place.out / 'one.png').read_bytes() == before
    with pytest.raises(ValueError, match=r'2 labels of photos .*--photos'):
        make(place)  # the training images need no prediction


def test_photos_do_not_mix_with_images_of_known_classes(place):
    make(place)
    with pytest.raises(ValueError, match=r'4 labels of images .*--photos'):
        make(place, photos=photos(place))


def test_the_training_images_are_not_needed_for_photos(place):
    folder = photos(place)
    PhotoLabeller(place.config, place.checkpoint)
    (place.root / 'labels.txt').unlink()
    assert make(place, photos=folder)['written'] == 2


def test_bad_folders_of_photos(place):
    with pytest.raises(FileNotFoundError, match='none'):
        photo_infos(place.root / 'none')
    (place.root / 'none').mkdir()
    with pytest.raises(FileNotFoundError, match=r'no image is in .*\.jpg'):
        photo_infos(place.root / 'none')
    for suffix in ('jpg', 'png'):
        Image.new('RGB', (4, 4)).save(place.root / f'none/a.{suffix}')
    with pytest.raises(ValueError, match=r'a\.jpg.*a\.png'):
        photo_infos(place.root / 'none')
    with pytest.raises(ValueError, match='lies in the folder of photos'):
        make(place, photos=place.root)


def test_a_saliency_cue_needs_files(place):
    place.write_config(
        background=dict(type='saliency', dir=str(place.root / 'Saliency'))
    )
    with pytest.raises(ValueError, match='no saliency map'):
        PhotoLabeller(place.config, place.checkpoint)


def test_colours_of_a_config_or_of_voc():
    given = [[0, 0, 0], [9, 9, 9]]
    metainfo = dict(classes=('background', 'x'), palette=given)
    dataset = dict(type='ConcatDataset', datasets=[dict(metainfo=metainfo)])
    config = Config(dict(train_dataloader=dict(dataset=dataset)))
    assert classes_and_palette(config) == (['background', 'x'], given)
    metainfo.pop('palette')
    config = Config(dict(train_dataloader=dict(dataset=dataset)))
    assert classes_and_palette(config)[1] == [[0, 0, 0], [128, 0, 0]]
    # Aeroplane, bird, person and tvmonitor as PASCAL VOC paints them.
    palette = voc_palette(21)
    assert palette[1] == [128, 0, 0]
    assert palette[3] == [128, 128, 0]
    assert palette[15] == [192, 128, 128]
    assert palette[20] == [0, 64, 128]
