"""Shape shorthand: N images, L classes, V visits, R rows, D channels."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator
from torch.testing import assert_close

from mmrca.ops.memory import ring_rows, row_updates
from tests.ops import references as ref

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**16)
PER_VISIT = ('index', 'regions', 'scores', 'accepted')


def random_visits(seed, num_rows=5, num_visits=8, dim=3, momentum=0.9):
    """Arguments of row_updates with distinct scores and many duplicates."""
    generator = Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def yes(share, count):
        return torch.rand(count, generator=generator) < share

    return dict(
        rows=normal(num_rows, dim),
        filled=yes(0.5, num_rows),
        index=torch.randint(num_rows, (num_visits,), generator=generator),
        regions=normal(num_visits, dim),
        scores=torch.randperm(num_visits, generator=generator).double(),
        accepted=yes(0.7, num_visits),
        momentum=momentum,
    )


def store(visits, order=slice(None)):
    """Memory after storing the updates in some order."""
    index, values, visited = row_updates(**visits)
    rows = visits['rows'].clone()
    for position in torch.arange(len(index))[order].tolist():
        rows[index[position]] = values[position]
    return rows, visits['filled'] | visited, visited


def assert_same_memory(actual, expected):
    for one, other in zip(actual, expected, strict=True):
        assert_close(one, other)


@pytest.mark.parametrize(
    ('num_rows', 'num_visits', 'dim'),
    [(1, 1, 1), (5, 8, 3), (3, 20, 2), (40, 6, 4), (2, 0, 3)],
)
@pytest.mark.parametrize('momentum', [0.0, 0.3, 0.99, 1.0])
def test_memory_agrees_with_loops(num_rows, num_visits, dim, momentum):
    for seed in range(3):
        visits = random_visits(seed, num_rows, num_visits, dim, momentum)
        rows, filled, visited = ref.visit_rows(**visits)
        expected = rows, filled, torch.tensor(visited)
        assert_same_memory(store(visits), expected)


def test_momentum_weighs_the_old_value_and_the_first_visit_copies():
    rows, filled, _ = store(
        dict(
            rows=torch.tensor([[1.0], [1.0], [1.0]]),
            filled=torch.tensor([True, False, False]),
            index=torch.tensor([0, 1]),
            regions=torch.tensor([[3.0], [3.0]]),
            scores=torch.tensor([0.9, 0.8]),
            accepted=torch.tensor([True, True]),
            momentum=0.75,
        )
    )
    assert rows.flatten().tolist() == [1.5, 3, 1]
    assert filled.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ('scores', 'accepted', 'winner'),
    [
        ([0.8, 0.9, 0.7], [True, True, True], 1),
        ([0.8, 0.9, 0.7], [True, False, True], 0),
        ([0.8, 0.9, 0.9], [True, True, True], 1),
        ([0.9, 0.9, 0.9], [False, True, True], 1),
        ([0.0, -1.0, -2.0], [False, False, True], 2),
    ],
)
def test_winner_has_the_highest_score_or_comes_first(scores, accepted, winner):
    rows, _, _ = store(
        dict(
            rows=torch.zeros(2, 1),
            filled=torch.zeros(2, dtype=bool),
            index=torch.tensor([1, 1, 1]),
            regions=torch.tensor([[10.0], [11.0], [12.0]]),
            scores=torch.tensor(scores),
            accepted=torch.tensor(accepted),
            momentum=0.5,
        )
    )
    assert rows.flatten().tolist() == [0, 10 + winner]


@given(seed=seeds, order=st.permutations(range(8)))
@few
def test_order_of_storing_does_not_matter(seed, order):
    visits = random_visits(seed, num_rows=3)
    assert_same_memory(store(visits, order), store(visits))


@given(seed=seeds, order=st.permutations(range(8)))
@few
def test_order_of_visits_does_not_matter(seed, order):
    visits = random_visits(seed, num_rows=3)
    moved = {name: visits[name][order] for name in PER_VISIT}
    assert_same_memory(store({**visits, **moved}), store(visits))


@given(seed=seeds, processes=st.sampled_from([2, 4]))
@few
def test_spreading_a_batch_over_processes_does_not_matter(seed, processes):
    visits = random_visits(seed, num_rows=3)
    order = torch.arange(8).view(-1, processes).T.flatten()
    spread = {name: visits[name][order] for name in PER_VISIT}
    # Each process fills its share up to a fixed size with no visits.
    filler = random_visits(seed + 1, num_rows=3)
    filler['accepted'][:] = False
    for name in PER_VISIT:
        parts = spread[name].chunk(processes)
        spread[name] = torch.cat(
            [x for part in parts for x in (part, filler[name])]
        )
    assert_same_memory(store({**visits, **spread}), store(visits))


@given(seed=seeds)
@few
def test_refused_visits_may_hold_anything(seed):
    visits = random_visits(seed)
    refused = ~visits['accepted']
    expected = store(visits)
    visits['index'][refused] = -1
    visits['regions'][refused] = torch.nan
    visits['scores'][refused] = torch.nan
    assert_same_memory(store(visits), expected)


@given(seed=seeds, content=st.floats(-1e6, 1e6))
@few
def test_more_unvisited_rows_change_nothing(seed, content):
    visits = random_visits(seed)
    more = dict(
        rows=F.pad(visits['rows'], (0, 0, 0, 3), value=content),
        filled=F.pad(visits['filled'], (0, 3), value=False),
    )
    rows, filled, visited = store({**visits, **more})
    actual = rows[:5], filled[:5], visited[:5]
    assert_same_memory(actual, store(visits))
    assert (rows[5:] == content).all()
    assert not filled[5:].any()


def test_rows_that_nobody_visits_keep_every_bit():
    visits = random_visits(0, num_rows=20)
    before = visits['rows'].clone()
    rows, _, visited = store(visits)
    assert torch.equal(rows[~visited], before[~visited])
    assert torch.equal(visits['rows'], before)


def test_a_batch_that_passes_no_gate_changes_nothing():
    visits = random_visits(1)
    visits['accepted'][:] = False
    rows, filled, visited = store(visits)
    assert torch.equal(rows, visits['rows'])
    assert torch.equal(filled, visits['filled'])
    assert not visited.any()


def test_first_visit_ignores_what_an_unvisited_row_holds():
    visits = random_visits(2)
    visits['rows'][~visits['filled']] = torch.nan
    rows, filled, _ = store(visits)
    assert rows[filled].isfinite().all()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32])
@pytest.mark.parametrize('score_dtype', [torch.bfloat16, torch.float64])
def test_memory_stays_float32_whatever_visits_it(dtype, score_dtype):
    visits = random_visits(3)
    visits['scores'] = (visits['scores'] / 8 + 1 / 16).to(score_dtype)
    # Below the resolution of float32, but not of float64.
    visits['scores'] += torch.arange(8) * 1e-12
    visits['rows'] = visits['rows'].float()
    visits['regions'] = visits['regions'].to(dtype)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        rows, filled, visited = store(visits)
    expected = ref.visit_rows(
        **{**visits, 'regions': visits['regions'].float()}
    )
    assert_same_memory(
        (rows, filled, visited), (*expected[:2], torch.tensor(expected[2]))
    )


def random_rings(seed, num_images, sizes):
    """Accepted [N, L], row_class, pointer; no region where no row is."""
    generator = Generator().manual_seed(seed)
    shape = num_images, len(sizes)
    accepted = torch.rand(shape, generator=generator) < 0.6
    accepted &= torch.tensor(sizes) > 0
    row_class = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    pointer = torch.tensor([seed % max(size, 1) for size in sizes])
    return accepted, row_class, pointer


@few
@given(
    seed=seeds,
    num_images=st.integers(1, 7),
    sizes=st.lists(st.integers(0, 4), min_size=1, max_size=5),
)
def test_rings_agree_with_loops(seed, num_images, sizes):
    case = random_rings(seed, num_images, sizes)
    accepted, row_class, pointer = case
    expected, pointers = ref.ring_rows(*case)
    classes = torch.arange(len(sizes)).repeat(num_images)
    index, pointer = ring_rows(accepted.flatten(), classes, row_class, pointer)
    index = index.view_as(accepted)
    assert pointer.tolist() == pointers
    assert {key: int(index[key]) for key in expected} == expected


def test_a_ring_fills_every_row_before_it_comes_back():
    accepted = torch.ones(3, dtype=torch.bool)
    classes, row_class = torch.zeros(3).long(), torch.zeros(5).long()
    pointer = torch.zeros(1).long()
    first, pointer = ring_rows(accepted, classes, row_class, pointer)
    second, pointer = ring_rows(accepted, classes, row_class, pointer)
    assert first.tolist() == [0, 1, 2]
    assert second.tolist() == [3, 4, 0]
    assert pointer.tolist() == [1]
