"""Shape shorthand: L labels, h x w cells, K offsets."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator
from torch.testing import assert_close

from mmrca.ops.random_walk import (
    affinity_loss,
    neighbour_offsets,
    path_affinity,
    random_walk,
)

few = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**16)
sizes = st.tuples(st.integers(1, 6), st.integers(1, 6))
radii = st.integers(2, 4)


def random_maps(seed, *shape):
    generator = Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator).double()


def on_the_way(start, end):
    """The cells of the straight line between two cells, ends included."""
    down, right = end[0] - start[0], end[1] - start[1]
    length = max(abs(down), abs(right))
    return [
        (
            start[0] + round(down * step / length),
            start[1] + round(right * step / length),
        )
        for step in range(length + 1)
    ]


def slow_affinity(boundary, radius):
    """Affinities of all pairs of cells, [h w, h w]; Eq. 5 and a_ii = 1.

    A pair's path starts at its upper cell, in a row at its left one.
    """
    height, width = boundary.shape
    cells = list(itertools.product(range(height), range(width)))
    found = torch.eye(len(cells), dtype=torch.float64)
    for i, start in enumerate(cells):
        for j, end in enumerate(cells[i + 1 :], i + 1):
            if math.dist(start, end) < radius:
                highest = max(
                    boundary[cell] for cell in on_the_way(start, end)
                )
                found[i, j] = found[j, i] = 1 - highest
    return found


@given(seed=seeds, size=sizes, radius=radii, steps=st.integers(0, 5))
@few
def test_walk_is_a_power_of_the_dense_matrix(seed, size, radius, steps):
    boundary, scores = (
        random_maps(seed, *size),
        random_maps(seed + 1, 2, *size),
    )
    dense = slow_affinity(boundary, radius) ** 3
    transition = dense / dense.sum(1, keepdim=True)
    expected = (
        torch.linalg.matrix_power(transition, steps) @ scores.flatten(1).T
    )
    offsets = neighbour_offsets(radius)
    found = random_walk(
        scores, path_affinity(boundary, offsets), offsets,
        exponent=3, steps=steps,
    )  # fmt: skip
    assert_close(found.flatten(1).T, expected)


@given(seed=seeds, size=sizes, radius=radii)
@few
def test_loss_agrees_with_loops(seed, size, radius):
    boundary = random_maps(seed, 2, *size)
    generator = Generator().manual_seed(seed)
    labels = torch.tensor([0, 1, 2, 255])[
        torch.randint(4, (2, *size), generator=generator)
    ]
    logs = {'object': [], 'background': [], 'apart': []}
    for b, label in zip(boundary, labels, strict=True):
        affinity = slow_affinity(b, radius)
        cells = label.flatten().tolist()
        places = list(itertools.product(*map(range, size)))
        for i, j in itertools.combinations(range(len(cells)), 2):
            near = math.dist(places[i], places[j]) < radius
            if not near or 255 in (cells[i], cells[j]):
                continue
            value = affinity[i, j].item()
            if cells[i] != cells[j]:
                logs['apart'].append(-math.log(max(1 - value, 1e-5)))
            else:
                kind = 'object' if cells[i] else 'background'
                logs[kind].append(-math.log(max(value, 1e-5)))
    mean = {k: sum(v) / max(len(v), 1) for k, v in logs.items()}
    expected = mean['object'] / 2 + mean['background'] / 2 + mean['apart']
    offsets = neighbour_offsets(radius)
    found = affinity_loss(path_affinity(boundary, offsets), labels, offsets)
    assert_close(found.item(), expected)


def test_gradient_of_the_loss():
    offsets = neighbour_offsets(3)
    labels = torch.tensor([[[0, 0, 1, 1], [0, 255, 1, 2], [0, 0, 2, 2]]])

    def loss(boundary):
        return affinity_loss(path_affinity(boundary, offsets), labels, offsets)

    boundary = (random_maps(0, 1, 3, 4) * 0.8 + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(loss, [boundary])


def test_labels_that_say_nothing_cost_nothing():
    offsets = neighbour_offsets(2)
    affinity = path_affinity(random_maps(0, 1, 3, 3), offsets)
    labels = torch.full((1, 3, 3), 255)
    assert affinity_loss(affinity, labels, offsets) == 0


@given(seed=seeds, size=sizes, radius=radii)
@few
def test_walk_keeps_the_range_and_what_is_the_same_everywhere(
    seed, size, radius
):
    scores = random_maps(seed, 3, *size)
    scores[1] = 0.3
    offsets = neighbour_offsets(radius)
    affinity = path_affinity(random_maps(seed + 1, *size), offsets)
    found = random_walk(scores, affinity, offsets, steps=20)
    assert found.min() >= scores.min() - 1e-12
    assert found.max() <= scores.max() + 1e-12
    assert_close(found[1], scores[1])


def test_nothing_crosses_a_closed_boundary():
    scores = torch.zeros(1, 6, 7, dtype=torch.float64)
    scores[0, 2, 1] = 1
    boundary = torch.zeros(6, 7, dtype=torch.float64)
    boundary[:, 3] = 1
    offsets = neighbour_offsets(5)
    found = random_walk(
        scores, path_affinity(boundary, offsets), offsets, steps=200
    )
    assert (found[0, :, :3] > 0.01).all()
    assert found[0, :, 3:].max() == 0


def test_without_boundaries_all_cells_become_alike():
    scores = random_maps(0, 2, 5, 5)
    offsets = neighbour_offsets(4)
    affinity = path_affinity(torch.zeros(5, 5, dtype=torch.float64), offsets)
    found = random_walk(scores, affinity, offsets, steps=300)
    assert_close(found, found[:, :1, :1].expand_as(found))


@given(seed=seeds, size=sizes)
@few
def test_mirror_images_do_not_matter(seed, size):
    # At radius 2 a path has no cells between its ends.
    offsets = neighbour_offsets(2)
    boundary, scores = (
        random_maps(seed, *size),
        random_maps(seed + 1, 2, *size),
    )

    def walk(maps, edges):
        return random_walk(maps, path_affinity(edges, offsets), offsets)

    mirrored = walk(scores.flip(-1), boundary.flip(-1)).flip(-1)
    assert_close(mirrored, walk(scores, boundary))


def test_a_radius_without_neighbours_is_refused():
    with pytest.raises(ValueError, match='radius'):
        neighbour_offsets(1)
