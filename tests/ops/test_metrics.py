import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmseg.evaluation import IoUMetric

from mmrca.ops.metrics import (
    best_f1,
    confusion_matrix,
    coverage,
    labelled_iou,
    strict_iou,
)

IGNORE = 255


@st.composite
def label_maps(draw, fewest=1):
    classes = draw(st.integers(fewest, 5))
    count = draw(st.integers(0, 60))
    seed = draw(st.integers(0, 2**32 - 1))
    values = np.array([*range(classes), IGNORE], dtype=np.uint8)
    pair = np.random.default_rng(seed).choice(values, size=(2, count))
    return classes, torch.from_numpy(pair[0]), torch.from_numpy(pair[1])


def slow_metrics(pred, target, classes):
    """Both IoUs and the coverage by their definitions, pixel by pixel."""
    pairs = [(p, t) for p, t in zip(pred, target, strict=True) if t != IGNORE]
    decided = [(p, t) for p, t in pairs if p != IGNORE]

    def iou(pixels, c):
        union = [1 for p, t in pixels if c in (p, t)]
        return (
            sum(p == t == c for p, t in pixels) / len(union)
            if union
            else math.nan
        )

    return (
        [iou(pairs, c) for c in range(classes)],
        [iou(decided, c) for c in range(classes)],
        len(decided) / len(pairs) if pairs else math.nan,
    )


@settings(max_examples=60, deadline=None)
@given(label_maps())
def test_agrees_with_a_loop_over_pixels(maps):
    classes, pred, target = maps
    confusion = confusion_matrix(pred, target, classes)
    strict, labelled, share = slow_metrics(
        pred.tolist(), target.tolist(), classes
    )
    np.testing.assert_allclose(strict_iou(confusion), strict)
    np.testing.assert_allclose(labelled_iou(confusion), labelled)
    np.testing.assert_allclose(coverage(confusion), share)


# With one class mmseg's torch.histc(min=0, max=0) takes the data's own range.
@settings(max_examples=40, deadline=None)
@given(label_maps(fewest=2))
def test_agrees_with_mmseg(maps):
    classes, pred, target = maps
    confusion = confusion_matrix(pred, target, classes)

    def mmseg_iou(pred, target):
        hits, union, *_ = IoUMetric.intersect_and_union(
            pred, target, classes, IGNORE
        )
        return hits / union

    # mmseg's histogram drops 255 from the prediction, not from the truth.
    np.testing.assert_allclose(
        strict_iou(confusion), mmseg_iou(pred, target), rtol=1e-6
    )
    decided = pred != IGNORE
    np.testing.assert_allclose(
        labelled_iou(confusion),
        mmseg_iou(pred[decided], target[decided]),
        rtol=1e-6,
    )


def test_rows_are_truth_and_the_last_column_is_unlabelled():
    pred = torch.tensor([[0, 1, IGNORE], [1, 1, 0]], dtype=torch.uint8)
    target = torch.tensor([[0, 0, 1], [1, IGNORE, 1]], dtype=torch.uint8)
    confusion = confusion_matrix(pred, target, 2)
    assert confusion.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert confusion.dtype == torch.int64


@settings(max_examples=20, deadline=None)
@given(label_maps(), st.integers(0, 60))
def test_counts_of_parts_add_up(maps, cut):
    classes, pred, target = maps
    parts = confusion_matrix(pred[:cut], target[:cut], classes)
    parts = parts + confusion_matrix(pred[cut:], target[cut:], classes)
    assert parts.equal(confusion_matrix(pred, target, classes))


def test_large_counts_stay_exact():
    confusion = torch.zeros(2, 3, dtype=torch.int64)
    confusion[0, 0], confusion[0, 1] = 2**40, 1
    expected = 2**40 / (2**40 + 1)
    assert strict_iou(confusion)[0].item() == expected < 1


@pytest.mark.parametrize(
    ('pred', 'target', 'message'),
    [
        ([0, 7], [0, 1], 'prediction holds the value 7; .* 0..2 or 255'),
        ([0, -1], [0, 1], 'prediction holds the value -1'),
        ([0, 1], [0, 3], 'truth holds the value 3'),
        ([0, 1, 2], [0, 1], r'shape \(3,\) and truth of shape \(2,\)'),
        ([0.0, 1.0], [0, 1], 'must hold integers'),
    ],
)
def test_bad_labels_are_named(pred, target, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(torch.tensor(pred), torch.tensor(target), 3)


def f1_above(scores, labels, threshold):
    chosen = [s >= threshold for s in scores]
    hits = sum(c and y for c, y in zip(chosen, labels, strict=True))
    return 2 * hits / (sum(chosen) + sum(labels))


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_no_threshold_has_a_better_f1(count, seed):
    rng = np.random.default_rng(seed)
    # Few values, so that images tie.
    scores = torch.from_numpy(rng.integers(1, 6, (count, 3)) / 6)
    labels = torch.from_numpy(rng.integers(0, 2, (count, 3)))
    thresholds, f1 = best_f1(scores, labels)
    for c in range(3):
        column, shown = scores[:, c].tolist(), labels[:, c].tolist()
        if not any(shown):
            assert thresholds[c] == math.inf
            assert f1[c].isnan()
            continue
        ours = f1_above(column, shown, thresholds[c].item())
        assert ours == pytest.approx(f1[c].item())
        assert ours == pytest.approx(
            max(f1_above(column, shown, t) for t in column)
        )


def test_a_threshold_is_halfway_between_scores():
    scores = torch.tensor([[0.9, 0.2], [0.6, 0.2], [0.1, 0.8]])
    labels = torch.tensor([[1, 1], [1, 1], [0, 1]])
    thresholds, f1 = best_f1(scores, labels)
    torch.testing.assert_close(
        thresholds, torch.tensor([0.35, 0.1]).double(), rtol=0, atol=1e-7
    )
    assert f1.tolist() == [1, 1]


def test_f1_needs_images_of_the_same_shape():
    with pytest.raises(ValueError, match='at least one image'):
        best_f1(torch.zeros(0, 3), torch.zeros(0, 3))
    with pytest.raises(ValueError, match='at least one image'):
        best_f1(torch.zeros(2, 3), torch.zeros(2, 4))
