import numpy as np
import pytest
import torch

from mmrca.evaluation.label_quality import LabelCounts, ScoreCounts, evaluate
from mmrca.ops.cam import threshold_confusion
from mmrca.ops.metrics import strict_iou

CLASSES = ('background', 'one', 'two')


def labels(*values):
    return torch.tensor([values], dtype=torch.uint8)


def scores(*values, cue=0.25):
    return torch.tensor([[[cue] * len(values)], [values]])


def test_labels_are_measured_over_labelled_and_over_all_pixels():
    counts = LabelCounts(3)
    counts.add(labels(0, 1, 255, 1), labels(0, 1, 1, 255))
    counts.add(labels(0, 0, 1, 1), labels(0, 0, 0, 1))
    counts.add(labels(255, 255, 255, 255), None)
    assert (counts.images, counts.evaluated) == (3, 2)
    share = dict(background=300 / 12, one=400 / 12, two=0)
    share['unlabelled'] = 500 / 12
    assert counts.share(CLASSES) == pytest.approx(share)
    # Seven pixels with a truth: hits 3 and 2, one unlabelled, one 0 as 1.
    third = pytest.approx(200 / 3)
    assert evaluate(counts.confusion, CLASSES) == {
        'mIoU_labelled': pytest.approx(100 * (3 / 4 + 2 / 3) / 2),
        'mIoU_strict': pytest.approx(100 * (3 / 4 + 2 / 4) / 2),
        'coverage': pytest.approx(100 * 6 / 7),
        'IoU_labelled': {'background': 75, 'one': third, 'two': None},
        'IoU_strict': {'background': 75, 'one': 50, 'two': None},
        # Three pixels each are taken for 0 and 1; four and three are of it.
        'precision': {'background': 100, 'one': third, 'two': None},
        'recall': {'background': 75, 'one': third, 'two': None},
    }


def test_scores_are_measured_at_the_cue_and_at_the_best_threshold():
    counts = ScoreCounts(3)
    counts.add(scores(0.1, 0.2, 0.3, 0.4), [0], labels(0, 1, 1, 255))
    counts.add(scores(0.0, 0.0, 0.0, 0.9), [0], labels(0, 0, 0, 1))
    found = counts.evaluate(CLASSES)
    # At .25 the first image's CAM misses one pixel of class one.
    assert found['mIoU_strict'] == pytest.approx(100 * (4 / 5 + 2 / 3) / 2)
    # From 0.1 up to below 0.2 the maps tell object from background.
    best = found['best_with_masks']
    assert best['mIoU'] == pytest.approx(100)
    assert best['threshold'] == pytest.approx(0.1, abs=0.011)
    assert found['curve'][15] == pytest.approx(100)
    assert len(found['curve']) == 100


def test_the_curve_is_that_of_every_threshold():
    rng = np.random.default_rng(0)
    counts, expected = ScoreCounts(4), 0
    for _ in range(5):
        present = sorted(rng.choice(3, 2, replace=False).tolist())
        cams = torch.from_numpy(rng.random((2, 6, 7))).float()
        mask = rng.choice([0, 1, 2, 3, 255], (6, 7)).astype(np.uint8)
        mask = torch.from_numpy(mask)
        counts.add(
            torch.cat([torch.full((1, 6, 7), 0.3), cams]), present, mask
        )
        for_all, full = torch.zeros(3), torch.zeros(3, 6, 7)
        for_all[present], full[present] = 1, cams
        expected = expected + threshold_confusion(full, for_all, mask, 100)
    ious = torch.stack([strict_iou(c).nanmean() for c in expected])
    torch.testing.assert_close(counts.curve(), ious)
    # A constant cue of .3 is the curve at .3.
    assert counts.confusion.equal(expected[30])


def test_an_image_without_a_class():
    counts = ScoreCounts(3)
    counts.add(torch.full((1, 1, 4), 0.3), [], labels(0, 0, 1, 255))
    assert counts.confusion.sum(1).tolist() == [2, 1, 0]
    assert counts.confusion[:, 0].tolist() == [2, 1, 0]
    assert counts.curve().tolist() == [pytest.approx(1 / 3)] * 100


def test_a_mask_with_an_unknown_value_is_named():
    counts = LabelCounts(3)
    with pytest.raises(ValueError, match='7'):
        counts.add(labels(0, 0, 0, 0), labels(0, 1, 7, 0))


def test_a_smaller_working_size_is_measured_against_a_smaller_mask():
    mask = torch.zeros(8, 8, dtype=torch.uint8)
    mask[:, 4:] = 1
    maps = torch.full((2, 4, 4), 0.3)
    maps[1, :, :2], maps[1, :, 2:] = 0, 1
    counts = ScoreCounts(2)
    counts.add(maps, [0], mask)
    assert counts.confusion.tolist() == [[8, 0, 0], [0, 8, 0]]


def test_false_alarms_of_images_without_a_class():
    counts = LabelCounts(3)
    counts.add(labels(0, 0, 0, 255), labels(0, 0, 0, 0))
    counts.add(labels(0, 1, 2, 255), labels(0, 0, 255, 0))
    counts.add(labels(1, 1, 1, 1), labels(1, 0, 0, 0))
    # The list knows better than the mask.
    counts.add(labels(1, 1, 1, 1), labels(0, 0, 0, 0), normal=False)
    counts.add(labels(0, 0, 0, 0), None, normal=True)
    found = counts.normals()
    assert found['images'] == 3
    assert found['with_foreground'] == pytest.approx(100 / 3)
    assert found['foreground'] == pytest.approx(100 * 2 / 12)


def test_masks_of_0_and_255_show_no_class():
    counts = LabelCounts(3)
    counts.add(labels(0, 0, 1, 1), labels(0, 0, 255, 255))
    with pytest.raises(ValueError, match='255'):
        counts.check_masks()
    counts.add(labels(0, 0, 1, 1), labels(0, 0, 1, 1))
    counts.check_masks()
