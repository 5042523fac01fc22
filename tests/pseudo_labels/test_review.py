"""The review of labels: its order, its reasons, its file."""

import json
import shutil

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmrca.datasets.masks import read_class_map
from mmrca.pseudo_labels.maker import make_pseudo_labels
from mmrca.pseudo_labels.review import read_review
from mmrca.pseudo_labels.writer import read_facts
from tests.place import LABELS, SIZES, Place


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def make(place, **options):
    make_pseudo_labels(
        Config.fromfile(place.config),
        str(place.checkpoint),
        place.out,
        workers=0,
        **options,
    )
    rows = read_review(place.out.with_name('labels_review.csv'))
    return {row['image']: row for row in rows}


def without_masks(rows):
    return {
        name: {k: v for k, v in row.items() if 'mask' not in k}
        for name, row in rows.items()
    }


def test_each_label_has_a_row_with_what_it_shows(place):
    rows = make(place)
    assert sorted(rows) == sorted(SIZES)
    for name, row in rows.items():
        label = read_class_map(place.out / f'{name}.png', 'label')
        facts = read_facts(place.out / f'{name}.png')
        scores, tags = np.array(facts['scores']), LABELS[name]
        others = [s for c, s in enumerate(scores) if c not in tags]
        parts = dict(
            tag_doubt=max([*(1 - scores[tags]), *others]),
            unlabelled=(label == 255).mean(),
            foreground=((label > 0) & (label < 255)).mean(),
            margin=facts['margin'],
            disagreement=facts['disagreement'],
        )
        for key, value in parts.items():
            assert row[key] == pytest.approx(value, abs=1e-4)


def test_the_doubt_is_the_highest_percentile(place):
    rows = make(place)
    assert [row['rank'] for row in rows.values()] == [1, 2, 3, 4]
    doubts = [row['doubt'] for row in rows.values()]
    assert doubts == sorted(doubts, reverse=True)
    for row in rows.values():
        lower = [
            sum(other[key] < row[key] for other in rows.values()) / 3
            for key in ('tag_doubt', 'missing', 'unlabelled', 'foreground')
        ]
        assert row['doubt'] == pytest.approx(max(lower), abs=1e-4)


def test_masks_change_the_iou_only(place):
    with_masks = make(place)
    assert all(0 <= r['iou_with_masks'] <= 1 for r in with_masks.values())
    for path in (place.root / 'SegmentationClass').iterdir():
        path.unlink()
    without = make(place)
    assert without_masks(without) == without_masks(with_masks)
    assert {r['iou_with_masks'] for r in without.values()} == {None}


def test_the_iou_is_the_mean_over_the_classes_of_label_and_mask(place):
    rows = make(place)
    for name, truth in place.truths().items():
        label = place.labels()[name]
        ious = []
        for kind in range(4):
            own, true = label == kind, truth == kind
            union = ((own | true) & (truth != 255)).sum()
            if union:
                ious.append((own & true).sum() / union)
        assert rows[name]['iou_with_masks'] == pytest.approx(
            np.mean(ious), abs=1e-4
        )


def test_a_stopped_run_and_another_give_the_same_review(place):
    once = make(place)
    (place.out / 'b.png').unlink()
    assert make(place) == once


def test_an_edited_label_is_judged_by_its_pixels(place):
    make(place)
    Image.new('L', SIZES['a'][::-1], 255).save(place.out / 'a.png')
    row = make(place)['a']
    assert (row['unlabelled'], row['missing']) == (1, 1)
    assert row['missing_tags'] == 'disc'
    assert row['margin'] is row['tag_doubt'] is None
    assert row['why'] == 'hardly in the label: disc, 100% unlabelled'


def test_a_tag_the_classifier_does_not_see_is_named(place, monkeypatch):
    scores = [0.9, 0.1, 0.8]
    monkeypatch.setattr(
        'mmrca.pseudo_labels.measurement.read_facts',
        lambda path: dict(scores=scores, margin=1, disagreement=0),
    )
    rows = make(place)
    assert rows['c']['doubted_tags'] == 'bar'
    assert rows['c']['suggested_tags'] == 'disc; ring'
    assert 'tag doubted: bar, perhaps also: disc; ring' in rows['c']['why']
    assert rows['b']['doubted_tags'] == rows['b']['suggested_tags'] == ''


def test_a_normal_image_is_scored(place):
    content = json.dumps({**LABELS, 'b': []})
    (place.root / 'list.json').write_text(content)
    config = place.config.read_text().replace('labels.txt', 'list.json')
    place.config.write_text(config)
    row = make(place)['b']
    scores = read_facts(place.out / 'b.png')['scores']
    assert row['tags'] == ''
    assert row['tag_doubt'] == pytest.approx(max(scores), abs=1e-4)


def test_photos_are_reviewed_by_their_predicted_classes(place):
    photos = place.root / 'JPEGImages'
    rows = make(place, photos=photos)
    assert sorted(rows) == sorted(SIZES)
    assert {row['mask'] for row in rows.values()} == {''}


def test_names_of_photos_need_not_be_text(place):
    photos = place.root / 'photos'
    photos.mkdir()
    name = 'caf\udce9'  # Latin-1 on a disk of UTF-8 names
    shutil.copy(place.root / 'JPEGImages/a.jpg', photos / f'{name}.jpg')
    assert list(make(place, photos=photos)) == [name]
    classes = place.out.with_name('labels_classes.csv')
    assert classes.read_bytes().startswith(b'caf\xe9')


def test_a_file_that_is_no_review_is_named(tmp_path):
    (tmp_path / 'x.csv').write_text('a,b\n1,2\n')
    with pytest.raises(ValueError, match=r'x\.csv'):
        read_review(tmp_path / 'x.csv')
