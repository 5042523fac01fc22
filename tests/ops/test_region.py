"""Shape shorthand: N images, L classes, D channels, h x w cells."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator
from torch.testing import assert_close

from mmrca.ops.region import (
    confident_masks,
    region_embeddings,
    region_masks,
)
from tests.ops import references as ref

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**16)
# N, L, D, h, w
SHAPES = [(1, 1, 1, 1, 1), (2, 3, 4, 5, 3), (3, 2, 5, 2, 6)]


def random_batch(seed, shape=(2, 3, 4, 5, 3)):
    """Logits, labels, valid cells and features."""
    n, num_classes, dim, *size = shape
    generator = Generator().manual_seed(seed)

    def normal(channels):
        return torch.randn(
            n, channels, *size, generator=generator, dtype=torch.float64
        )

    present = torch.rand(n, num_classes, generator=generator) < 0.6
    valid = torch.rand(n, *size, generator=generator) < 0.8
    return normal(num_classes), present, valid, normal(dim)


def embed(cam, present, valid, features):
    return region_embeddings(features, region_masks(cam, present, valid))


@pytest.mark.parametrize('shape', SHAPES)
def test_masks_agree_with_loops(shape):
    cam, present, valid, _ = random_batch(0, shape)
    assert_close(
        region_masks(cam, present, valid),
        ref.region_masks(cam, present, valid),
    )


@pytest.mark.parametrize('shape', SHAPES)
def test_embeddings_agree_with_loops(shape):
    *maps, features = random_batch(1, shape)
    masks = ref.region_masks(*maps)
    embeddings, exists = region_embeddings(features, masks)
    assert_close(embeddings, ref.region_embeddings(features, masks))
    assert_close(exists, masks.any(dim=3).any(dim=2))


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('shares', [(0.7, 0.1), (0.3, 0.6), (0.0, 1.0)])
def test_confident_masks_agree_with_loops(shape, shares):
    maps = random_batch(0, shape)[:3]
    for ours, theirs in zip(
        confident_masks(*maps, *shares),
        ref.confident_masks(*maps, *shares),
        strict=True,
    ):
        assert_close(ours, theirs)


def test_confident_masks_by_hand():
    # Of its maximum 8: 1, 3/4, 1/16; the other class is not there.
    cam = torch.tensor([[[[8.0, 6.0, 0.5]], [[-1.0, -1.0, 9.0]]]])
    cells = torch.ones(1, 1, 3, dtype=bool)
    sure, rest = confident_masks(
        cam, torch.tensor([[True, False]]), cells, 0.7, 0.1
    )
    assert sure.tolist() == [[[[True, True, False]], [[False] * 3]]]
    assert rest.tolist() == [[[False, False, True]]]


def test_a_map_without_a_positive_cell_has_no_confident_region():
    cam, cells = -torch.ones(1, 1, 2, 2), torch.ones(1, 2, 2, dtype=bool)
    sure, rest = confident_masks(
        cam, torch.ones(1, 1, dtype=bool), cells, 0.0, 0.1
    )
    assert not sure.any()
    assert rest.all()


@given(seed=seeds, content=st.floats(-1e6, 1e6))
@few
def test_padding_is_neither_region_nor_background(seed, content):
    cam, present, valid, _ = random_batch(seed)
    sure, rest = confident_masks(
        F.pad(cam, (0, 2, 0, 1), value=content),
        present,
        F.pad(valid, (0, 2, 0, 1), value=False),
        0.7,
        0.1,
    )
    expected, expected_rest = confident_masks(cam, present, valid, 0.7, 0.1)
    assert_close(sure, F.pad(expected, (0, 2, 0, 1), value=False))
    assert_close(rest, F.pad(expected_rest, (0, 2, 0, 1), value=False))


def test_each_class_of_an_image_has_its_own_mask():
    # Two classes in opposite corners: their product would be empty.
    cam = torch.tensor([[[[9.0, 0.0, 0.0]], [[0.0, 0.0, 9.0]]]])
    masks = region_masks(
        cam, torch.ones(1, 2, dtype=bool), torch.ones(1, 1, 3, dtype=bool)
    )
    assert masks.nonzero()[:, 1:].tolist() == [[0, 0, 0], [1, 0, 2]]


def test_a_constant_map_has_an_empty_region():
    features = torch.randn(1, 4, 2, 2, requires_grad=True)
    masks = region_masks(
        torch.ones(1, 1, 2, 2),
        torch.ones(1, 1, dtype=bool),
        torch.ones(1, 2, 2, dtype=bool),
    )
    embeddings, exists = region_embeddings(features, masks)
    embeddings.sum().backward()
    assert not exists.any()
    assert embeddings.count_nonzero() == 0
    assert features.grad.count_nonzero() == 0


def test_an_image_without_label_or_cell_has_no_region():
    cam, present, valid, features = random_batch(2)
    present[0], valid[1] = False, False
    embeddings, exists = embed(cam, present, valid, features)
    assert not exists.any()
    assert embeddings.count_nonzero() == 0


def test_gradient_of_embeddings():
    *maps, features = random_batch(3, (2, 2, 3, 3, 2))
    masks = region_masks(*maps)
    features.requires_grad_()
    torch.autograd.gradcheck(
        lambda x: region_embeddings(x, masks)[0], features
    )


@given(seed=seeds, content=st.floats(-1e6, 1e6))
@few
def test_padding_changes_nothing(seed, content):
    batch = random_batch(seed)
    cam, present, valid, features = batch
    padding = (0, 2, 0, 1)
    embeddings, exists = embed(
        F.pad(cam, padding, value=content),
        present,
        F.pad(valid, padding, value=False),
        F.pad(features, padding, value=content),
    )
    expected, expected_exists = embed(*batch)
    assert_close(embeddings, expected)
    assert_close(exists, expected_exists)


@given(
    seed=seeds,
    images=st.permutations(range(2)),
    classes=st.permutations(range(3)),
)
@few
def test_permuting_images_and_classes_permutes_regions(seed, images, classes):
    cam, present, valid, features = random_batch(seed)
    embeddings, exists = embed(
        cam[images][:, classes],
        present[images][:, classes],
        valid[images],
        features[images],
    )
    expected, expected_exists = embed(cam, present, valid, features)
    assert_close(embeddings, expected[images][:, classes])
    assert_close(exists, expected_exists[images][:, classes])


@given(seed=seeds)
@few
def test_an_absent_class_changes_no_other_region(seed):
    cam, present, valid, features = random_batch(seed)
    expected, _ = embed(cam, present, valid, features)
    embeddings, exists = embed(
        torch.cat([cam, cam[:, :1]], dim=1),
        F.pad(present, (0, 1), value=False),
        valid,
        features,
    )
    assert_close(embeddings[:, :-1], expected)
    assert not exists[:, -1].any()


@given(seed=seeds, shift=st.floats(-10, 10), scale=st.floats(0.1, 10))
@few
def test_masks_depend_on_the_order_of_logits_only(seed, shift, scale):
    cam, present, valid, _ = random_batch(seed)
    assert_close(
        region_masks(cam * scale + shift, present, valid),
        region_masks(cam, present, valid),
    )


def precision_error(dtype, scale=1.0):
    """Largest error, in units of the region's mean absolute feature."""
    *maps, features = random_batch(4, (3, 4, 8, 6, 6))
    features = (features * scale).float()
    masks = region_masks(*maps)
    exact, _ = region_embeddings(features.double(), masks)
    unit, _ = region_embeddings(features.double().abs(), masks)
    with torch.autocast('cpu', dtype=dtype, enabled=dtype != torch.float32):
        embeddings, _ = region_embeddings(features, masks)
    return ((embeddings - exact).abs() / unit.clamp(min=1e-9)).max()


def test_precision_of_float32():
    # At most 36 cells, each addition rounds by 2^-24.
    assert precision_error(torch.float32) <= 36 * 2**-24


def test_precision_of_bfloat16_autocast():
    # Roundings of 2^-9: the feature, the weight, the result, the division.
    assert precision_error(torch.bfloat16) <= 4 * 2**-9


def test_large_features_do_not_overflow_float16_autocast():
    # The sum over a region exceeds 65504, the mean does not.
    assert precision_error(torch.float16, scale=10000) <= 4 * 2**-11
