import csv
import os
import time

import numpy as np
import pytest
import torch
from PIL import Image

from mmrca.evaluation.label_quality import Journal, Tally, measure, summarize
from mmrca.ops.cam import threshold_confusion
from mmrca.ops.metrics import strict_iou
from mmrca.ops.pseudo_label import fuse
from mmrca.pseudo_labels.curve import write_curve
from mmrca.pseudo_labels.labels import Label
from mmrca.pseudo_labels.settings import Settings

CLASSES = ('background', 'one', 'two')
SETTINGS = Settings((1.0,), False, dict(type='constant', threshold=0.3), 0.0)


def labels(*values):
    return torch.tensor([values], dtype=torch.uint8)


def label(found, cams, cue=0.25):
    cams = torch.tensor(cams)
    return Label(found, cams, torch.full(cams.shape[1:], cue), None)


def test_figures():
    first = labels(0, 1, 255, 1)
    second, third = labels(0, 0, 1, 1), labels(255, 255, 255, 255)
    maps = [[[0.1, 0.2, 0.3, 0.4]]]
    exact = [[[0.0, 0.0, 0.0, 0.9]]]
    records = [
        measure(first, label(first, maps), [0], labels(0, 1, 1, 255), 3),
        measure(second, label(second, exact), [0], labels(0, 0, 0, 1), 3),
        measure(third, label(third, maps), [0], None, 3),
    ]
    result = summarize(Tally(records, 3), CLASSES)

    assert result['images'] == 3
    assert result['share'] == pytest.approx(
        {
            'background': 300 / 12,
            'one': 400 / 12,
            'two': 0,
            'unlabelled': 500 / 12,
        }
    )
    # Seven pixels with a truth: hits 3 and 2, one open, one 0 taken for 1.
    found = result['against_masks']
    assert found['images'] == 2
    assert found['refined'] is None
    assert found['labels'] == {
        'mIoU_labelled': pytest.approx(100 * (3 / 4 + 2 / 3) / 2),
        'mIoU_strict': pytest.approx(100 * (3 / 4 + 2 / 4) / 2),
        'coverage': pytest.approx(100 * 6 / 7),
        'IoU_labelled': {
            'background': 75,
            'one': pytest.approx(200 / 3),
            'two': None,
        },
        'IoU_strict': {'background': 75, 'one': 50, 'two': None},
        # Three pixels each are taken for 0 and 1; four and three are of it.
        'precision': {
            'background': 100,
            'one': pytest.approx(200 / 3),
            'two': None,
        },
        'recall': {
            'background': 75,
            'one': pytest.approx(200 / 3),
            'two': None,
        },
    }
    # At .25 the first image's CAM misses one pixel of class one.
    assert found['cam']['mIoU_strict'] == pytest.approx(
        100 * (4 / 5 + 2 / 3) / 2
    )
    # From 0.1 up to below 0.2 the maps tell object from background.
    best = found['cam']['best_with_masks']
    assert best['mIoU'] == pytest.approx(100)
    assert best['threshold'] == pytest.approx(0.1, abs=0.011)


def random_images(count=5, classes=3):
    rng = np.random.default_rng(0)
    for _ in range(count):
        present = sorted(rng.choice(classes, 2, replace=False).tolist())
        cams = torch.from_numpy(rng.random((2, 6, 7))).float()
        refined = torch.from_numpy(rng.random((3, 6, 7))).float()
        mask = rng.choice([0, 1, 2, 3, 255], (6, 7)).astype(np.uint8)
        yield present, cams, refined, torch.from_numpy(mask)


def test_curves_are_those_of_every_threshold():
    records, cam_sum, refined_sum = [], 0, 0
    for present, cams, refined, mask in random_images():
        found = fuse(refined[1:], refined[0], present, margin=0.1)
        parts = Label(found, cams, torch.full((6, 7), 0.3), refined)
        records.append(measure(found, parts, present, mask, 4))
        for_all = torch.zeros(3)
        for_all[present] = 1
        sums = []
        for maps in (cams, refined[1:]):
            full = torch.zeros(3, 6, 7)
            full[present] = maps
            sums.append(threshold_confusion(full, for_all, mask, 100))
        cam_sum, refined_sum = cam_sum + sums[0], refined_sum + sums[1]
    tally = Tally(records, 4)
    assert tally.counts['cam_curve'].equal(cam_sum)
    assert tally.counts['refined_curve'].equal(refined_sum)
    # A constant cue of .3 is the curve at .3.
    assert tally.counts['cam'].equal(cam_sum[30])


def test_the_curve_as_a_table_and_a_picture(tmp_path):
    records = []
    for present, cams, refined, mask in random_images():
        found = fuse(cams, torch.full((6, 7), 0.3), present, margin=0.1)
        parts = Label(found, cams, torch.full((6, 7), 0.3), refined)
        records.append(measure(found, parts, present, mask, 4))
    tally = Tally(records, 4)
    classes = (*CLASSES, 'three')
    write_curve(tmp_path / 'x.y', tally, classes, SETTINGS)
    with (tmp_path / 'x.y_curve.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [r['against_masks'] for r in rows] == [
        *['cam'] * 100, *['refined'] * 100, 'labels_labelled', 'labels_strict',
    ]  # fmt: skip
    row = rows[42]
    assert float(row['threshold']) == 0.42
    iou = 100 * strict_iou(tally.counts['cam_curve'][42])
    assert float(row['mIoU']) == pytest.approx(iou.mean().item(), abs=1e-4)
    assert float(row['three']) == pytest.approx(iou[3].item(), abs=1e-4)
    assert rows[-1]['threshold'] == ''
    with Image.open(tmp_path / 'x.y_curve.png') as picture:
        assert min(picture.size) > 300


def test_an_image_without_a_class(tmp_path):
    found = torch.zeros(1, 4, dtype=torch.uint8)
    parts = Label(found, torch.zeros(0, 1, 4), torch.full((1, 4), 0.3), None)
    record = measure(found, parts, [], labels(0, 0, 1, 255), 3)
    tally = Tally([record], 3)
    assert tally.counts['cam_curve'][:, 0, 0].tolist() == [2] * 100
    assert tally.counts['cam_curve'][:, 1, 0].tolist() == [1] * 100


def test_a_mask_with_an_unknown_value_is_refused():
    found = labels(0, 0, 0, 0)
    parts = label(found, [[[0.1, 0.2, 0.3, 0.4]]])
    with pytest.raises(ValueError, match='truth holds the value 7'):
        measure(found, parts, [0], labels(0, 1, 7, 0), 3)


def test_a_smaller_working_size_is_measured_against_a_smaller_mask():
    mask = torch.zeros(8, 8, dtype=torch.uint8)
    mask[:, 4:] = 1
    cams = torch.zeros(1, 4, 4)
    cams[..., 2:] = 1
    parts = Label(mask, cams, torch.full((4, 4), 0.3), None)
    tally = Tally([measure(mask, parts, [0], mask, 2)], 2)
    assert strict_iou(tally.counts['cam']).tolist() == [1, 1]
    assert tally.counts['cam'].sum() == 16
    assert tally.counts['labels'].sum() == 64


def test_the_journal_keeps_the_last_record_of_an_image(tmp_path):
    first, second = Journal(tmp_path), Journal(tmp_path, 1)
    first.add(dict(image='a', n=1))
    first.add(dict(image='b', n=1))
    first.add(dict(image='a', n=2))
    # A line that a kill cut off spoils neither itself nor the next.
    with first.path.open('a') as file:
        file.write('\n{"image": "c", "n')
    first.add(dict(image='d', n=1))
    os.utime(first.path, (time.time() - 10, time.time() - 10))
    second.add(dict(image='b', n=3))
    records = Journal(tmp_path, 2).read()
    assert {k: r['n'] for k, r in records.items()} == dict(a=2, b=3, d=1)
    first.clear()
    assert second.read() == {}
