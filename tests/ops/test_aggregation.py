"""Shape shorthand: N images, L classes, K prototypes a class, D channels."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator
from torch.testing import assert_close

from mmrca.ops.aggregation import affinity, aggregate
from tests.ops import references as ref

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**16)
kinds = pytest.mark.parametrize('cosine', [False, True])
# N, L, K, D, h, w
SHAPES = [(1, 1, 1, 1, 1, 1), (2, 3, 2, 4, 2, 3), (1, 2, 5, 3, 4, 1)]


def random_case(seed, shape=(2, 3, 2, 4, 2, 3), temperature=0.5):
    """Arguments of both functions but ``cosine``; one class never seen."""
    n, num_classes, num_prototypes, dim, *size = shape
    generator = Generator().manual_seed(seed)
    features = torch.randn(
        n, dim, *size, generator=generator, dtype=torch.float64
    )
    prototypes = torch.randn(
        num_classes,
        num_prototypes,
        dim,
        generator=generator,
        dtype=torch.float64,
    )
    valid = torch.rand(num_classes, num_prototypes, generator=generator) < 0.8
    valid[0, 0] = True
    valid[1:2] = False
    return features, prototypes, valid, temperature


@kinds
@pytest.mark.parametrize('shape', SHAPES)
def test_both_agree_with_loops(shape, cosine):
    case = random_case(0, shape)
    assert_close(affinity(*case, cosine), ref.affinity(*case, cosine))
    assert_close(aggregate(*case, cosine), ref.aggregate(*case, cosine))


@kinds
@pytest.mark.parametrize('shape', SHAPES)
def test_similarities_and_other_values_agree_with_loops(shape, cosine):
    case = (*random_case(0, shape), cosine, False)
    values = torch.randn_like(case[1])
    assert_close(affinity(*case), ref.affinity(*case))
    assert_close(aggregate(*case, values), ref.aggregate(*case, values))


def test_affinity_by_hand():
    # Similarities 2 ln 2 and 0 at temperature 2: shares 2/3 and 1/3.
    features = torch.tensor([2.0]).log().mul(2).view(1, 1, 1, 1)
    prototypes = torch.tensor([[[1.0]], [[0.0]], [[5.0]]])
    valid = torch.tensor([[True], [True], [False]])
    share = affinity(features, prototypes, valid, 2.0, False)
    assert_close(share, torch.tensor([[[2 / 3, 1 / 3, 0]]]))
    known = aggregate(features, prototypes, valid, 2.0, False)
    assert known.item() == pytest.approx(2 / 3)


@kinds
@pytest.mark.parametrize('softmax', [True, False])
def test_gradients(cosine, softmax):
    features, *rest = random_case(1, (1, 2, 2, 3, 2, 2))
    features.requires_grad_()
    for op in (affinity, aggregate):
        torch.autograd.gradcheck(
            lambda x, op=op: op(x, *rest, cosine, softmax), features
        )


def test_gradients_of_projected_prototypes():
    features, prototypes, valid, temperature = random_case(
        1, (1, 2, 2, 3, 2, 2)
    )
    values = torch.randn_like(prototypes).requires_grad_()
    prototypes.requires_grad_()
    torch.autograd.gradcheck(
        lambda q, v: aggregate(
            features, q, valid, temperature, False, False, v
        ),
        (prototypes, values),
    )


@kinds
def test_without_prototypes_all_is_zero(cosine):
    features, prototypes, valid, temperature = random_case(2)
    features.requires_grad_()
    rest = torch.zeros_like(prototypes), torch.zeros_like(valid), temperature
    share = affinity(features, *rest, cosine)
    known = aggregate(features, *rest, cosine)
    (share.sum() + known.sum()).backward()
    assert share.count_nonzero() == 0
    assert known.count_nonzero() == 0
    assert known.shape == features.shape
    assert features.grad.count_nonzero() == 0


@kinds
def test_a_cell_without_features_sees_all_prototypes_alike(cosine):
    features, prototypes, valid, temperature = random_case(3)
    features[0] = 0
    features.requires_grad_()
    known = aggregate(features, prototypes, valid, temperature, cosine)
    known.sum().backward()
    middle = prototypes[valid].mean(dim=0)
    assert_close(known[0], middle[:, None, None].expand_as(known[0]))
    assert features.grad.isfinite().all()


@given(
    seed=seeds,
    images=st.permutations(range(2)),
    classes=st.permutations(range(3)),
    slots=st.permutations(range(2)),
    cosine=st.booleans(),
)
@few
def test_permuting_images_classes_and_slots(
    seed, images, classes, slots, cosine
):
    features, prototypes, valid, temperature = random_case(seed)
    moved = (
        features[images],
        prototypes[classes][:, slots],
        valid[classes][:, slots],
        temperature,
        cosine,
    )
    case = features, prototypes, valid, temperature, cosine
    shares = affinity(*case).unflatten(2, valid.shape)
    expected = shares[images][:, :, classes][:, :, :, slots]
    assert_close(affinity(*moved), expected.flatten(2))
    assert_close(aggregate(*moved), aggregate(*case)[images])


@given(
    seed=seeds,
    content=st.floats(-1e6, 1e6),
    cosine=st.booleans(),
    softmax=st.booleans(),
)
@few
def test_invalid_prototypes_and_absent_classes_change_nothing(
    seed, content, cosine, softmax
):
    features, prototypes, valid, temperature = random_case(seed)
    kind = cosine, softmax
    expected = aggregate(features, prototypes, valid, temperature, *kind)
    more = (0, 0, 0, 1, 0, 2)
    padded = F.pad(prototypes, more, value=content)
    known = F.pad(valid, more[2:], value=False)
    padded[~known] = content
    actual = aggregate(features, padded, known, temperature, *kind)
    assert_close(actual, expected)
    share = affinity(features, padded, known, temperature, *kind)
    assert share[..., ~known.flatten()].count_nonzero() == 0
    if softmax:
        assert_close(share.sum(dim=2), torch.ones_like(share[..., 0]))


@given(seed=seeds, scale=st.floats(0.01, 100))
@few
def test_cosine_affinity_forgets_lengths(seed, scale):
    features, prototypes, valid, temperature = random_case(seed)
    assert_close(
        affinity(
            features * scale,
            prototypes * (1 + scale),
            valid,
            temperature,
            True,
        ),
        affinity(features, prototypes, valid, temperature, True),
    )


@given(seed=seeds, scale=st.floats(0.1, 10))
@few
def test_temperature_undoes_the_scale_of_a_dot_product(seed, scale):
    features, prototypes, valid, temperature = random_case(seed)
    assert_close(
        affinity(
            features * scale, prototypes, valid, temperature * scale, False
        ),
        affinity(features, prototypes, valid, temperature, False),
    )


@kinds
def test_large_similarities_stay_finite(cosine):
    features, prototypes, valid, _ = random_case(4)
    features = (features * 1e4).float().requires_grad_()
    share = affinity(features, prototypes.float(), valid, 1e-3, cosine)
    share.square().sum().backward()
    assert_close(share.sum(dim=2), torch.ones_like(share[..., 0]))
    assert features.grad.isfinite().all()


@pytest.mark.parametrize(
    ('dtype', 'unit'),
    [(torch.float32, 2**-24), (torch.bfloat16, 2**-9)],
)
def test_precision(dtype, unit):
    # A cosine of 16 channels carries 16 roundings in float32 and, as bf16
    # products are summed in float32, 4 in bf16 (both factors, the product,
    # the quotient). A similarity off by e changes a share by at most e / 2
    # and the sum over all shares by at most e.
    case = random_case(5, (2, 3, 4, 16, 3, 3), temperature=0.5)
    exact = affinity(*case, True)
    exact_known = aggregate(*case, True)
    features, prototypes, valid, temperature = case
    enabled = dtype != torch.float32
    with torch.autocast('cpu', dtype=dtype, enabled=enabled):
        low = features.float(), prototypes.float(), valid, temperature
        share = affinity(*low, True)
        known = aggregate(*low, True)
    bound = (4 if enabled else 16) * unit / temperature
    assert (share - exact).abs().max() <= bound / 2 + unit
    # The sum S Q rounds its factors and its result once more.
    largest = prototypes.abs().max()
    assert (known - exact_known).abs().max() <= (bound + 3 * unit) * largest
