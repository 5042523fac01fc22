"""Shape shorthand: B sets, P points a set, K clusters, D channels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from torch import Generator
from torch.testing import assert_close

from mmrca.ops import kmeans as module
from mmrca.ops.kmeans import (
    group_rows,
    kmeans,
    share_classes,
    squared_distances,
)
from tests.ops import references as ref

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**16)
counts = st.lists(st.integers(0, 9), min_size=1, max_size=4)


def seeded(seed=0):
    return Generator().manual_seed(seed)


def random_sets(seed, sizes, dim=3):
    """Sets of the given sizes, padded with points far off."""
    width = max(sizes)
    points = torch.randn(
        len(sizes), width, dim, generator=seeded(seed), dtype=torch.float64
    )
    mask = torch.arange(width) < torch.tensor(sizes)[:, None]
    points[~mask] = 50
    return points, mask


def sums_of_squares(points, mask, centers, valid):
    """Inertia of each set, from the definition."""
    return torch.tensor(
        [
            ref.inertia(list(points[b][mask[b]]), list(centers[b][valid[b]]))
            for b in range(len(points))
        ],
        dtype=torch.float64,
    )


@given(
    st.lists(st.integers(0, 99), max_size=12),
    st.integers(1, 9),
)
def test_classes_are_shared_out_once_and_evenly(sizes, shares):
    dealt = share_classes(sizes, shares)
    assert len(dealt) == shares
    there = [c for c, n in enumerate(sizes) if n]
    assert sorted(c for share in dealt for c in share) == there
    loads = [sum(sizes[c] for c in share) for share in dealt]
    # The bound of the greedy rule: the largest class is what may be over.
    assert max(loads) - min(loads) <= max(sizes, default=0)


@pytest.mark.parametrize(
    ('num_rows', 'dim', 'num_classes'), [(1, 1, 1), (12, 3, 4), (30, 2, 5)]
)
def test_groups_hold_the_filled_rows_of_each_class(num_rows, dim, num_classes):
    generator = seeded(1)
    rows = torch.randn(num_rows, dim, generator=generator)
    row_class = torch.randint(num_classes, (num_rows,), generator=generator)
    filled = torch.rand(num_rows, generator=generator) < 0.7
    points, masks = group_rows(rows, row_class, filled, num_classes)
    assert len(points) == len(masks) == num_classes
    for c in range(num_classes):
        expected = [
            rows[r] for r in range(num_rows) if filled[r] and row_class[r] == c
        ]
        assert_close(list(points[c]), expected)
        assert masks[c].tolist() == [True] * len(expected)


def test_groups_of_an_empty_memory():
    points, masks = group_rows(
        torch.ones(4, 3), torch.tensor([0, 1, 1, 2]), torch.zeros(4) > 0, 3
    )
    assert [p.shape for p in points] == [(0, 3)] * 3
    centers, valid, inertia = kmeans(points, masks, 2, seeded())
    assert centers.shape == (3, 2, 3)
    assert not valid.any()
    assert inertia.tolist() == [0, 0, 0]


@pytest.mark.parametrize('shape', [(1, 1, 1, 1), (2, 5, 3, 4), (3, 4, 6, 2)])
def test_squared_distances_agree_with_loops(shape):
    num_sets, num_points, num_clusters, dim = shape
    points, _ = random_sets(2, [num_points] * num_sets, dim)
    centers, _ = random_sets(3, [num_clusters] * num_sets, dim)
    expected = [
        [[ref.squared_distance(p, c) for c in centers[b]] for p in points[b]]
        for b in range(num_sets)
    ]
    assert_close(
        squared_distances(points, centers), points.new_tensor(expected)
    )


def test_squared_distances_are_never_negative():
    points = torch.rand(1, 50, 64, generator=seeded(4)) + 100
    assert squared_distances(points, points).min() >= 0


def test_squared_distances_of_float32():
    # Four numbers up to 64 * 4 meet; a sum of 64 is off by 64 * 2^-24.
    points = 2 * torch.rand(1, 20, 64, generator=seeded(5))
    exact = squared_distances(points.double(), points.double())
    error = squared_distances(points, points) - exact
    assert error.abs().max() <= 4 * (64 * 4) * 64 * 2**-24


@pytest.mark.parametrize('max_iters', [1, 2, 50])
@pytest.mark.parametrize('seed', range(3))
def test_sets_agree_with_loops_from_the_same_start(seed, max_iters):
    # Of two points at their mean either may restart an empty cluster, as
    # rounding decides; these sets have no such tie.
    sizes = [12, 2, 7, 1, 20]
    points, mask = random_sets(seed, sizes)
    # Starts so far apart that some clusters are empty at first.
    start = 3 * random_sets(seed + 1, [4] * 5)[0]
    centers, valid, inertia = kmeans(
        points,
        mask,
        4,
        seeded(),
        start=start,
        start_valid=torch.ones(5, 4, dtype=bool),
        max_iters=max_iters,
    )
    for b, size in enumerate(sizes):
        wanted = min(size, 4)
        inside = list(points[b, :size])
        expected = ref.lloyd(inside, list(start[b, :wanted]), max_iters)
        assert valid[b].tolist() == [k < wanted for k in range(4)]
        assert_close(list(centers[b, :wanted]), expected)
        assert inertia[b].item() == pytest.approx(
            ref.inertia(inside, expected), rel=1e-7, abs=1e-7
        )


@given(seed=seeds, sizes=counts, num_clusters=st.integers(1, 5))
@few
def test_result_is_valid_and_its_inertia_true(seed, sizes, num_clusters):
    points, mask = random_sets(seed, sizes)
    centers, valid, inertia = kmeans(points, mask, num_clusters, seeded(seed))
    wanted = [min(size, num_clusters) for size in sizes]
    assert valid.sum(dim=1).tolist() == wanted
    assert centers[~valid].count_nonzero() == 0
    nonempty = torch.tensor(sizes) > 0
    if nonempty.any():
        some = points[nonempty], mask[nonempty], centers[nonempty]
        expected = sums_of_squares(*some, valid[nonempty])
        assert_close(inertia[nonempty], expected)
    assert (inertia[~nonempty] == 0).all()


@given(seed=seeds, sizes=counts)
@few
def test_each_point_is_a_cluster_where_there_are_few(seed, sizes):
    points, mask = random_sets(seed, sizes)
    centers, valid, inertia = kmeans(points, mask, 9, seeded(seed))
    assert_close(inertia, torch.zeros_like(inertia))
    for b in range(len(sizes)):
        assert_close(
            centers[b][valid[b]].sort(dim=0).values,
            points[b][mask[b]].sort(dim=0).values,
        )


@given(seed=seeds, sizes=counts, num_clusters=st.integers(1, 5))
@few
def test_a_result_is_where_lloyd_stands_still(seed, sizes, num_clusters):
    points, mask = random_sets(seed, sizes)
    centers, valid, inertia = kmeans(points, mask, num_clusters, seeded(seed))
    again = kmeans(
        points,
        mask,
        num_clusters,
        seeded(seed + 1),
        start=centers,
        start_valid=valid,
    )
    assert_close(again, (centers, valid, inertia))


def warm(points, start, **options):
    """One set from given centres."""
    points, start = (torch.tensor([x]).double() for x in (points, start))
    mask, valid = (
        x.new_ones(x.shape[:2], dtype=bool) for x in (points, start)
    )
    return kmeans(
        points,
        mask,
        start.shape[1],
        seeded(),
        start=start,
        start_valid=valid,
        **options,
    )


def test_an_empty_cluster_restarts_at_the_worst_served_point():
    # The centre at 500 owns nothing; 9 is farthest from the other's 0.
    centers, _, _ = warm([[0.0], [1.0], [9.0]], [[0.0], [500.0]], max_iters=1)
    assert centers.flatten().tolist() == pytest.approx([10 / 3, 9])


def test_an_empty_cluster_does_not_stay_on_a_point_that_has_a_centre():
    # The worst-served point, 100, is the only one of its cluster; the third
    # centre has to part 0 from 1.
    centers, valid, inertia = warm(
        [[0.0], [1.0], [100.0]], [[0.0], [60.0], [-500.0]]
    )
    assert inertia.item() == 0
    assert sorted(centers.flatten().tolist()) == [0, 1, 100]
    assert valid.all()


def test_several_empty_clusters_restart_at_different_points():
    _, _, inertia = warm(
        [[0.0], [1.0], [4.0], [9.0]], [[1.0], [500.0], [600.0], [700.0]]
    )
    assert inertia.item() == 0


def test_equal_points_give_equal_clusters():
    centers, valid, inertia = kmeans(
        torch.ones(1, 5, 2), torch.ones(1, 5, dtype=bool), 3, seeded()
    )
    assert valid.all()
    assert (centers == 1).all()
    assert inertia.item() == 0


@given(seed=seeds)
@few
def test_the_same_generator_gives_the_same_clusters(seed):
    points, mask = random_sets(seed, [15, 4])
    first = kmeans(points, mask, 4, seeded(seed))
    torch.rand(3)
    second = kmeans(points, mask, 4, seeded(seed))
    assert_close(first, second, rtol=0, atol=0)


@given(seed=seeds, order=st.permutations(range(3)))
@few
def test_from_given_centres_sets_and_padding_do_not_interfere(seed, order):
    points, mask = random_sets(seed, [15, 4, 9])
    start, start_valid = random_sets(seed + 1, [3, 3, 3])
    expected = kmeans(
        points, mask, 3, seeded(), start=start, start_valid=start_valid
    )
    # Other sets, more padding, and padding before the points.
    space = torch.full((3, 2, 3), -9.0).double()
    padded = torch.cat([space, points, space], dim=1)
    padded_mask = torch.cat(
        [space[..., 0] > 0, mask, space[..., 0] > 0], dim=1
    )
    actual = kmeans(
        padded[order],
        padded_mask[order],
        3,
        seeded(7),
        start=start[order],
        start_valid=start_valid[order],
    )
    assert_close(actual, tuple(x[order] for x in expected))


@given(seed=seeds, order=st.permutations(range(9)))
@few
def test_from_given_centres_the_order_of_points_does_not_matter(seed, order):
    points, mask = random_sets(seed, [9])
    start, start_valid = random_sets(seed + 1, [3])
    options = dict(start=start, start_valid=start_valid)
    assert_close(
        kmeans(points[:, order], mask, 3, seeded(), **options),
        kmeans(points, mask, 3, seeded(), **options),
    )


def test_a_start_with_an_invalid_centre_is_not_used():
    points, mask = random_sets(8, [10, 2])
    start = torch.full((2, 3, 3), 1e3).double()
    start_valid = torch.tensor([[True, False, True], [True, True, False]])
    cold = kmeans(points, mask, 3, seeded(1), max_iters=0)[0]
    centers = kmeans(
        points,
        mask,
        3,
        seeded(1),
        start=start,
        start_valid=start_valid,
        max_iters=0,
    )[0]
    assert_close(centers[0], cold[0])
    # The second set needs two centres only, and those are valid.
    assert (centers[1, :2] == 1e3).all()
    assert centers[1, 2].count_nonzero() == 0


@given(seed=seeds)
@few
def test_sets_of_other_sizes_give_what_padded_sets_give(seed):
    points, mask = random_sets(seed, [15, 4, 9])
    ragged = [p[m] for p, m in zip(points, mask, strict=True)]
    whole = [torch.ones(len(p), dtype=bool) for p in ragged]
    assert_close(
        kmeans(ragged, whole, 3, seeded(seed)),
        kmeans(points, mask, 3, seeded(seed)),
        rtol=0,
        atol=0,
    )


def seeds_of(points, num_clusters, generator):
    """Where the centres start: no step is taken."""
    every = [torch.ones(len(points), dtype=bool)]
    return kmeans([points], every, num_clusters, generator, max_iters=0)[0][0]


@given(seed=seeds, size=st.integers(1, 9))
@few
def test_seeds_are_distinct_points_of_the_set(seed, size):
    points = random_sets(seed, [size])[0][0]
    chosen = {tuple(x) for x in seeds_of(points, 5, seeded(seed)).tolist()}
    chosen.discard((0.0, 0.0, 0.0))  # where there are fewer points
    assert len(chosen) == min(size, 5)
    assert chosen <= {tuple(x) for x in points.tolist()}


def test_seeds_prefer_far_points():
    # From a first seed at 0, -9 weighs 81 and 1 weighs 1. Of two draws the
    # better is taken, and that is -9: 1 needs both draws, (1 / 82)^2. With
    # unsquared weights it would be (1 / 10)^2, without weights (1 / 2)^2.
    points = torch.tensor([[0.0], [1.0], [-9.0]]).double()
    generator = seeded()
    pairs = [
        seeds_of(points, 2, generator)[:, 0].tolist() for _ in range(4000)
    ]
    second = [b for a, b in pairs if a == 0]
    assert second.count(1.0) <= 0.003 * len(second)
    assert {a for a, _ in pairs} == {0, 1, -9}


def test_no_random_number_draws_a_point_of_weight_zero(monkeypatch):
    # The largest number below 1 is rare, and it is 1 in float32.
    def rand(shape, dtype, **_):
        return torch.full(shape, 1 - 2**-53, dtype=dtype)

    points = torch.tensor([[0.0], [0.0], [3.0]])
    monkeypatch.setattr(module.torch, 'rand', rand)
    assert sorted(seeds_of(points, 2, seeded()).flatten().tolist()) == [0, 3]


@pytest.mark.parametrize(
    ('size', 'dim', 'num_clusters'), [(60, 2, 5), (100, 5, 8), (200, 3, 10)]
)
@pytest.mark.parametrize('spread', [0, 2, 4])
def test_inertia_is_as_low_as_that_of_scikit_learn(
    size, dim, num_clusters, spread
):
    # Of a single set either may find the lower inertia by chance: scikit-
    # learn with another seed differs by up to 5 %. Hence the mean of 15.
    generator = seeded(size)
    points = torch.randn(15, size, dim, generator=generator).double()
    groups = spread * torch.randn(15, num_clusters, dim, generator=generator)
    points += groups.repeat(1, size // num_clusters + 1, 1)[:, :size]
    mask = torch.ones(15, size, dtype=bool)
    ten = [
        kmeans(points, mask, num_clusters, seeded(s), max_iters=300)[2]
        for s in range(10)
    ]
    inertia = torch.stack(ten).amin(dim=0)
    with threadpool_limits(1):
        expected = [
            KMeans(num_clusters, n_init=10, random_state=0)
            .fit(one.numpy())
            .inertia_
            for one in points
        ]
    assert (inertia / torch.tensor(expected)).mean() <= 1.01


def test_float32_finds_the_clusters_of_float64():
    # Groups 4 apart with a spread of 0.1, at norm 40: a squared distance is
    # off by at most 64 * 2^-24 * 4 * 40^2, less than 0.03.
    generator = seeded(11)
    groups = 40 * torch.eye(5, 8).repeat(8, 1)
    points = groups + 0.1 * torch.randn(40, 8, generator=generator)
    mask = torch.ones(1, 40, dtype=bool)
    start, valid = points[None, :5], torch.ones(1, 5, dtype=bool)
    options = dict(start=start, start_valid=valid)
    exact = kmeans(points[None].double(), mask, 5, seeded(), **options)
    centers, _, inertia = kmeans(points[None], mask, 5, seeded(), **options)
    assert_close(centers.double(), exact[0], rtol=1e-5, atol=1e-5)
    assert (inertia - exact[2]).abs() <= 40 * 0.03
