"""Shape shorthand: N images, L classes, K prototypes a class, D channels."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator
from torch.testing import assert_close

from mmrca.ops.affinity_map import affinity_map, concat_stages
from tests.ops import references as ref

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**16)
# N, L, K, background prototypes, D, h, w
SHAPES = [(1, 1, 1, 1, 1, 1, 1), (2, 3, 2, 3, 4, 2, 3), (1, 2, 5, 1, 3, 4, 1)]
GRIDS = [
    [(2, 3)],
    [(4, 6), (2, 3)],
    [(5, 7), (4, 3), (3, 2)],
    [(1, 1), (2, 2)],  # coarser than the last one
]


def normal(seed, *shape):
    generator = Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def random_case(seed, shape=(2, 3, 2, 3, 4, 2, 3)):
    """Some invalid, the second class (if any) never seen."""
    n, num_classes, slots, rest, dim, *size = shape
    valid = normal(seed + 1, num_classes, slots) > -0.8
    valid[0, 0] = True
    valid[1:2] = False
    rest_valid = normal(seed + 2, rest) > -0.8
    rest_valid[0] = True
    return (
        normal(seed + 3, n, dim, *size),
        normal(seed + 4, num_classes, slots, dim),
        valid,
        normal(seed + 5, rest, dim),
        rest_valid,
        0.3,
    )


@pytest.mark.parametrize('shape', SHAPES)
def test_maps_agree_with_loops(shape):
    case = random_case(0, shape)
    assert_close(affinity_map(*case), ref.affinity_map(*case))


@pytest.mark.parametrize('grids', GRIDS)
def test_stages_agree_with_loops(grids):
    stages = [normal(s, 2, 2 + s, *grid) for s, grid in enumerate(grids)]
    assert_close(concat_stages(stages), ref.concat_stages(stages))


def test_by_hand():
    # Cosines 1 and 0 with the class's prototypes, 0 with the background's.
    features = torch.tensor([3.0, 0.0]).view(1, 2, 1, 1)
    prototypes = torch.tensor([[[2.0, 0.0], [0.0, 1.0]]])
    logits = affinity_map(
        features,
        prototypes,
        torch.ones(1, 2, dtype=bool),
        torch.tensor([[0.0, 5.0]]),
        torch.ones(1, dtype=bool),
        0.5,
    )
    assert logits.item() == pytest.approx(math.log((math.exp(2) + 1) / 2))


def test_each_stage_weighs_the_same_however_wide_and_large():
    stages = [100 * normal(0, 1, 9, 4, 4), normal(1, 1, 2, 4, 4)]
    joined = concat_stages(stages)
    assert_close(joined[:, :9].norm(dim=1), joined[:, 9:].norm(dim=1))
    assert_close(joined.norm(dim=1), torch.ones(1, 4, 4).double())


def test_gradients():
    features, prototypes, valid, rest, rest_valid, _ = random_case(
        1, (1, 2, 2, 2, 3, 2, 2)
    )
    values = [v.requires_grad_() for v in (features, prototypes, rest)]
    torch.autograd.gradcheck(
        lambda f, q, b: affinity_map(f, q, valid, b, rest_valid, 0.3), values
    )
    stages = [normal(s, 1, 2, 4 - s, 3).requires_grad_() for s in (0, 1)]
    torch.autograd.gradcheck(lambda *s: concat_stages(s), stages)


def test_a_class_without_prototype_is_zero_and_has_no_gradient():
    case = random_case(2)
    case[0].requires_grad_()
    logits = affinity_map(*case)
    logits.sum().backward()
    assert logits[:, 1].count_nonzero() == 0
    assert logits[:, 0].count_nonzero() > 0
    assert case[0].grad.isfinite().all()


def test_without_a_background_prototype_its_cosine_counts_as_zero():
    features, prototypes, valid, rest, rest_valid, t = random_case(3)
    logits = affinity_map(
        features, prototypes, valid, rest, rest_valid & False, t
    )
    # Of no length, so of cosine 0 with everything.
    zero = torch.zeros_like(rest)
    expected = affinity_map(features, prototypes, valid, zero, rest_valid, t)
    assert_close(logits, expected)


def test_a_cell_without_features_is_evidence_of_nothing():
    case = random_case(4)
    case[0][:, :, 0, 0] = 0
    case[0].requires_grad_()
    logits = affinity_map(*case)
    logits.sum().backward()
    assert_close(logits[:, :, 0, 0], torch.zeros(2, 3).double())
    assert case[0].grad.isfinite().all()
    stages = [torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 2, 2)]
    assert not concat_stages(stages).any()


@given(
    seed=seeds,
    images=st.permutations(range(2)),
    classes=st.permutations(range(3)),
    slots=st.permutations(range(2)),
    rest=st.permutations(range(3)),
)
@few
def test_permuting_permutes_maps_or_changes_nothing(
    seed, images, classes, slots, rest
):
    case = random_case(seed)
    features, prototypes, valid, background, background_valid, t = case
    moved = affinity_map(
        features[images],
        prototypes[classes][:, slots],
        valid[classes][:, slots],
        background[rest],
        background_valid[rest],
        t,
    )
    assert_close(moved, affinity_map(*case)[images][:, classes])


@given(seed=seeds, content=st.floats(-1e6, 1e6))
@few
def test_invalid_prototypes_change_nothing(seed, content):
    case = random_case(seed)
    features, prototypes, valid, rest, rest_valid, t = case
    more = F.pad(prototypes, (0, 0, 0, 2), value=content)
    known = F.pad(valid, (0, 2), value=False)
    more[~known] = content
    more_rest = F.pad(rest, (0, 0, 0, 1), value=content)
    known_rest = F.pad(rest_valid, (0, 1), value=False)
    more_rest[~known_rest] = content
    actual = affinity_map(features, more, known, more_rest, known_rest, t)
    assert_close(actual, affinity_map(*case))


@given(seed=seeds, scale=st.floats(0.01, 100))
@few
def test_lengths_are_forgotten(seed, scale):
    case = random_case(seed)
    features, prototypes, valid, rest, rest_valid, t = case
    actual = affinity_map(
        features * scale, prototypes * 3, valid, rest / 7, rest_valid, t
    )
    assert_close(actual, affinity_map(*case))


@given(seed=seeds)
@few
def test_swapping_class_and_background_turns_the_sign(seed):
    features, prototypes, valid, rest, rest_valid, t = random_case(seed)
    own, known = prototypes[:1], valid[:1]
    there = affinity_map(features, own, known, rest, rest_valid, t)
    back = affinity_map(
        features, rest[None], rest_valid[None], own[0], known[0], t
    )
    assert_close(there, -back)


def test_a_low_temperature_stays_finite():
    *case, _ = random_case(5)
    case[0] = case[0].float().requires_grad_()
    logits = affinity_map(*case, 1e-4)
    logits.square().mean().backward()
    assert logits.isfinite().all()
    assert case[0].grad.isfinite().all()
