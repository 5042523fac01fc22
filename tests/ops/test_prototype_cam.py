"""Shape shorthand: N images, L classes, K prototypes a class, D channels."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator
from torch.testing import assert_close

from mmrca.ops.prototype_cam import (
    concat_stages,
    image_prototype_cam,
    prototype_cam,
    self_similarity_mean,
)
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
    assert_close(prototype_cam(*case), ref.prototype_cam(*case))


@pytest.mark.parametrize('grids', GRIDS)
def test_stages_agree_with_loops(grids):
    stages = [normal(s, 2, 2 + s, *grid) for s, grid in enumerate(grids)]
    assert_close(concat_stages(stages), ref.concat_stages(stages))


def test_by_hand():
    # Cosines 1 and 0 with the class's prototypes, 0 with the background's.
    features = torch.tensor([3.0, 0.0]).view(1, 2, 1, 1)
    prototypes = torch.tensor([[[2.0, 0.0], [0.0, 1.0]]])
    logits = prototype_cam(
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
        lambda f, q, b: prototype_cam(f, q, valid, b, rest_valid, 0.3), values
    )
    stages = [normal(s, 1, 2, 4 - s, 3).requires_grad_() for s in (0, 1)]
    torch.autograd.gradcheck(lambda *s: concat_stages(s), stages)


def test_a_class_without_prototype_is_zero_and_has_no_gradient():
    case = random_case(2)
    case[0].requires_grad_()
    logits = prototype_cam(*case)
    logits.sum().backward()
    assert logits[:, 1].count_nonzero() == 0
    assert logits[:, 0].count_nonzero() > 0
    assert case[0].grad.isfinite().all()


def test_without_a_background_prototype_its_cosine_counts_as_zero():
    features, prototypes, valid, rest, rest_valid, t = random_case(3)
    logits = prototype_cam(
        features, prototypes, valid, rest, rest_valid & False, t
    )
    # Of no length, so of cosine 0 with everything.
    zero = torch.zeros_like(rest)
    expected = prototype_cam(features, prototypes, valid, zero, rest_valid, t)
    assert_close(logits, expected)


def test_a_cell_without_features_is_evidence_of_nothing():
    case = random_case(4)
    case[0][:, :, 0, 0] = 0
    case[0].requires_grad_()
    logits = prototype_cam(*case)
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
    moved = prototype_cam(
        features[images],
        prototypes[classes][:, slots],
        valid[classes][:, slots],
        background[rest],
        background_valid[rest],
        t,
    )
    assert_close(moved, prototype_cam(*case)[images][:, classes])


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
    actual = prototype_cam(features, more, known, more_rest, known_rest, t)
    assert_close(actual, prototype_cam(*case))


@given(seed=seeds, scale=st.floats(0.01, 100))
@few
def test_lengths_are_forgotten(seed, scale):
    case = random_case(seed)
    features, prototypes, valid, rest, rest_valid, t = case
    actual = prototype_cam(
        features * scale, prototypes * 3, valid, rest / 7, rest_valid, t
    )
    assert_close(actual, prototype_cam(*case))


@given(seed=seeds)
@few
def test_swapping_class_and_background_turns_the_sign(seed):
    features, prototypes, valid, rest, rest_valid, t = random_case(seed)
    own, known = prototypes[:1], valid[:1]
    there = prototype_cam(features, own, known, rest, rest_valid, t)
    back = prototype_cam(
        features, rest[None], rest_valid[None], own[0], known[0], t
    )
    assert_close(there, -back)


def test_a_low_temperature_stays_finite():
    *case, _ = random_case(5)
    case[0] = case[0].float().requires_grad_()
    logits = prototype_cam(*case, 1e-4)
    logits.square().mean().backward()
    assert logits.isfinite().all()
    assert case[0].grad.isfinite().all()


def own_case(seed, shape=(3, 4, 5, 4, 3)):
    """Features, maps, classes (one at least) and valid cells of images."""
    n, num_classes, dim, *size = shape
    present = normal(seed, n, num_classes) > 0
    present[:, 0] |= ~present.any(dim=1)
    valid = normal(seed + 1, n, *size) > -1
    valid[:, 0, 0] = True
    return (
        normal(seed + 2, n, dim, *size),
        normal(seed + 3, n, num_classes, *size),
        present,
        valid,
    )


@pytest.mark.parametrize('shape', [(1, 1, 1, 1, 1), (3, 4, 5, 4, 3)])
@pytest.mark.parametrize('seed', range(3))
def test_own_maps_agree_with_loops(seed, shape):
    case = *own_case(seed, shape), 0.4, 0.1, 0.3
    found = image_prototype_cam(*case)
    assert_close(found, ref.image_prototype_cam(*case))
    assert found.any() == (shape[0] > 1)


@pytest.mark.parametrize('shape', [(1, 1, 1, 1, 1), (3, 4, 5, 4, 3)])
@pytest.mark.parametrize('threshold', [-1.0, 0.0, 0.3])
def test_means_of_alike_cells_agree_with_loops(threshold, shape):
    features, maps, _, valid = own_case(0, shape)
    case = features, maps, valid, threshold
    assert_close(self_similarity_mean(*case), ref.self_similarity_mean(*case))


def test_gradients_of_both_within_the_image():
    features, maps, present, valid = own_case(1, (2, 2, 3, 2, 3))
    features.requires_grad_()
    maps.requires_grad_()
    # The masks have no gradient, and do not move within gradcheck's steps.
    assert torch.autograd.gradcheck(
        lambda f: image_prototype_cam(f, maps, present, valid, 0.4, 0.1, 0.3),
        features,
    )
    assert torch.autograd.gradcheck(
        lambda f, m: self_similarity_mean(f, m, valid, 0.1), (features, maps)
    )


@few
@given(seed=seeds)
def test_padding_changes_nothing_within_the_image(seed):
    features, maps, present, valid = own_case(seed)

    def pad(values, fill):
        return F.pad(values, (0, 2, 0, 1), value=fill)

    wide = pad(features, 3.0), pad(maps, 9.0), present, pad(valid, False)
    own = image_prototype_cam(*wide, 0.4, 0.1, 0.3)[..., :4, :3]
    exact = image_prototype_cam(features, maps, present, valid, 0.4, 0.1, 0.3)
    assert_close(own, exact)
    means = self_similarity_mean(wide[0], wide[1], wide[3], 0.2)[..., :4, :3]
    assert_close(means, self_similarity_mean(features, maps, valid, 0.2))


@few
@given(seed=seeds)
def test_cells_and_classes_have_no_order_within_the_image(seed):
    features, maps, present, valid = own_case(seed)
    cells = normal(seed + 4, 12).argsort()
    classes = normal(seed + 5, 4).argsort()

    def move(values):
        return values.flatten(-2)[..., cells].view_as(values)

    own = image_prototype_cam(
        move(features),
        move(maps)[:, classes],
        present[:, classes],
        move(valid),
        *(0.4, 0.1, 0.3),
    )
    exact = image_prototype_cam(features, maps, present, valid, 0.4, 0.1, 0.3)
    assert_close(own, move(exact)[:, classes])
    means = self_similarity_mean(
        move(features), move(maps)[:, classes], move(valid), 0.2
    )
    exact = self_similarity_mean(features, maps, valid, 0.2)
    assert_close(means, move(exact)[:, classes])


def test_an_absent_class_and_an_image_without_background_have_no_own_map():
    features, maps, present, valid = own_case(2)
    present[:] = torch.tensor([True, True, False, False])
    maps[1] = 1.0
    own = image_prototype_cam(features, maps, present, valid, 0.4, 0.1, 0.3)
    assert own[0, :2].any()
    assert not own[:, 2:].any()
    assert not own[1].any()


@few
@given(seed=seeds)
def test_means_of_alike_cells_stay_within_the_maps_range(seed):
    features, maps, _, valid = own_case(seed)
    maps[~valid[:, None].expand_as(maps)] = 0.0
    found = self_similarity_mean(features, maps, valid, 0.2)
    low, high = maps.amin((2, 3)), maps.amax((2, 3))
    assert (found >= low[..., None, None] - 1e-9).all()
    assert (found <= high[..., None, None] + 1e-9).all()


def test_cells_alike_to_none_keep_their_values():
    features, maps, _, valid = own_case(3)
    features[0, :, 0, 0] = 0.0
    found = self_similarity_mean(features, maps, valid, 0.2)
    assert_close(found[0, :, 0, 0], maps[0, :, 0, 0])
    # A threshold of 1 leaves each cell to itself, but for rounding.
    assert_close(self_similarity_mean(features, maps, valid, 1.0), maps)


def test_more_cells_than_are_compared_at_a_time():
    features, maps, _, valid = own_case(4, (1, 2, 3, 20, 20))
    found = self_similarity_mean(features, maps, valid, 0.2)
    cells = F.normalize(features[0].flatten(1), dim=0)
    weights = (cells.T @ cells - 0.2).clamp(min=0) * valid[0].flatten()
    expected = maps[0].flatten(1) @ (weights / weights.sum(1)[:, None]).T
    assert_close(found[0].flatten(1), expected)
