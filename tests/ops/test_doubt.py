import numpy as np
import pytest
import torch

from mmrca.ops.doubt import (
    disagreement,
    mean_margin,
    percentiles,
    shortfall,
    tag_doubt,
)


def some_scores(seed, count=4):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.random((count, 5, 7)))


def test_margin_is_the_mean_lead_of_the_best():
    scores = some_scores(0)
    leads = []
    for y in range(5):
        for x in range(7):
            *_, second, best = sorted(scores[:, y, x].tolist())
            leads.append(best - second)
    assert mean_margin(scores) == pytest.approx(np.mean(leads), abs=1e-12)
    assert mean_margin(scores[:1]) == 1


def test_disagreement_is_one_minus_the_mean_iou():
    before, after = some_scores(1), some_scores(2)
    before[3], after[3] = -1, -1  # neither has the last one
    one, other = before.argmax(0).tolist(), after.argmax(0).tolist()
    ious = []
    for kind in range(3):
        a, b = (
            {(y, x) for y in range(5) for x in range(7) if m[y][x] == kind}
            for m in (one, other)
        )
        ious.append(len(a & b) / len(a | b))
    expected = 1 - np.mean(ious)
    assert disagreement(before, after) == pytest.approx(expected, abs=1e-12)
    assert disagreement(before, before) == 0
    assert disagreement(before, after) == disagreement(after, before)


def test_a_tag_is_doubted_by_its_score():
    scores = torch.tensor([[0.9, 0.2, 0.6]], dtype=torch.float64)
    tags = torch.tensor([[True, True, False]])
    expected = torch.tensor([[0.1, 0.8, 0.6]], dtype=torch.float64)
    torch.testing.assert_close(tag_doubt(scores, tags), expected)


def test_percentiles_count_the_lower_ones():
    values = torch.tensor([0.3, 0.0, 0.9, 0.3, 0.0])
    expected = [sum(o < v for o in values) / 4 for v in values]
    assert percentiles(values).tolist() == [float(v) for v in expected]
    assert percentiles(values[:1]).tolist() == [0]


def test_a_class_falls_short_of_its_own_median():
    # A cow fills .4 of a picture, a scratch .004.
    shares = torch.tensor(
        [[0.4, 0.0], [0.4, 0.004], [0.05, 0.004], [0.0, 0.001]]
    ).double()
    tags = torch.tensor(
        [[True, False], [True, True], [True, True], [False, True]]
    )
    expected = torch.tensor(
        [[0.0, 0.0], [0.0, 0.0], [0.75, 0.0], [0.0, 0.5]]
    ).double()
    torch.testing.assert_close(shortfall(shares, tags, 0.5), expected)
    scaled = shortfall(shares / 7, tags, 0.5)
    torch.testing.assert_close(scaled, expected)


def test_a_class_without_any_pixel_is_missing():
    shares = torch.zeros(2, 3).double()
    tags = torch.tensor([[True, False, False], [True, False, True]])
    assert shortfall(shares, tags).tolist() == [[1, 0, 0], [1, 0, 1]]
