"""Shape shorthand: B sets, P points a set, K clusters, D channels."""

import pytest
import torch
from torch.testing import assert_close

from mmrca.models.sklearn_kmeans import sklearn_kmeans
from mmrca.ops.kmeans import kmeans
from tests.ops.test_kmeans import random_sets, seeded, sums_of_squares

SIZES = [9, 0, 2, 30]


def test_result_is_valid_and_its_inertia_true():
    points, mask = random_sets(3, SIZES)
    centers, valid, inertia = sklearn_kmeans(points, mask, 4, seeded())
    assert valid.sum(dim=1).tolist() == [4, 0, 2, 4]
    assert not centers[~valid].any()
    assert_close(inertia, sums_of_squares(points, mask, centers, valid))


def test_both_backends_go_the_same_way_from_the_same_start():
    points, mask = random_sets(4, SIZES)
    start, valid, _ = kmeans(points, mask, 4, seeded(), max_iters=1)
    warm = dict(start=start, start_valid=valid)
    ours = kmeans(points, mask, 4, seeded(), **warm)
    theirs = sklearn_kmeans(points, mask, 4, seeded(), **warm)
    for one, other in zip(ours, theirs, strict=True):
        assert_close(one, other)


def test_a_start_with_an_invalid_centre_is_not_used():
    points, mask = random_sets(5, [12, 12])
    start = torch.full((2, 3, 3), 1e6, dtype=points.dtype)
    bad = torch.tensor([[True, True, False]] * 2)
    cold = sklearn_kmeans(points, mask, 3, seeded())
    warm = sklearn_kmeans(points, mask, 3, seeded(), start, bad)
    for one, other in zip(cold, warm, strict=True):
        assert torch.equal(one, other)


def test_the_generator_decides():
    points, mask = random_sets(6, [40])
    one, again, other = (
        sklearn_kmeans(points, mask, 8, seeded(s))[0] for s in (0, 0, 1)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_restarts_never_raise_the_inertia():
    points, mask = random_sets(7, [60])
    one, ten = (
        sklearn_kmeans(points, mask, 9, seeded(), restarts=n)[2]
        for n in (1, 10)
    )
    assert ten <= one


def test_half_a_warm_start_is_refused():
    points, mask = random_sets(8, [5])
    with pytest.raises(ValueError, match='go together'):
        sklearn_kmeans(points, mask, 2, seeded(), start=points[:, :2])
