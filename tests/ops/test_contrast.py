"""Shape shorthand: M regions of a batch, R memory rows, D channels."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator
from torch.testing import assert_close

from mmrca.ops.contrast import choose_partners, region_mixup_nce, region_nce
from tests.ops import references as ref

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**16)
TEMPERATURE = 0.2
PER_REGION = ('regions', 'classes', 'images', 'valid', 'weight')
PER_ROW = ('rows', 'row_class', 'filled')


def random_batch(
    seed, num_regions=6, num_rows=9, num_classes=3, num_images=3, dim=4
):
    """Arguments of region_mixup_nce; some regions invalid, rows unvisited."""
    generator = Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def uniform(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    def integers(high, count):
        return torch.randint(high, (count,), generator=generator)

    return dict(
        regions=normal(num_regions, dim),
        classes=integers(num_classes, num_regions),
        images=integers(num_images, num_regions),
        valid=uniform(num_regions) < 0.8,
        rows=normal(num_rows, dim),
        row_class=integers(num_classes, num_rows),
        filled=uniform(num_rows) < 0.8,
        weight=uniform(num_regions),
        noise=uniform(num_regions, num_regions),
        temperature=TEMPERATURE,
    )


def loss_and_gradient(batch):
    regions = batch['regions'].clone().requires_grad_()
    loss = region_mixup_nce(**{**batch, 'regions': regions})
    loss.backward()
    return loss.detach(), regions.grad


def random_similarity(seed, num_regions=4, num_rows=7):
    generator = Generator().manual_seed(seed)
    shape = num_regions, num_rows
    similarity = 4 * torch.randn(
        shape, generator=generator, dtype=torch.float64
    )
    positive = torch.rand(shape, generator=generator) < 0.4
    return (
        similarity,
        positive,
        torch.rand(num_rows, generator=generator) < 0.8,
    )


def slow_nce(similarity, positive, filled):
    rows = [r for r in range(len(filled)) if filled[r]]
    return torch.tensor(
        [
            ref.nce(
                [float(line[r]) for r in rows if own[r]],
                [float(line[r]) for r in rows if not own[r]],
            )
            for line, own in zip(similarity, positive, strict=True)
        ],
        dtype=torch.float64,
    )


@pytest.mark.parametrize('shape', [(1, 1), (1, 2), (4, 7), (9, 30)])
def test_nce_agrees_with_loops(shape):
    for seed in range(5):
        arguments = random_similarity(seed, *shape)
        assert_close(region_nce(*arguments), slow_nce(*arguments))


def test_nce_by_hand():
    # Positives 0 and ln 3, negatives 0 and 0: -log 1/3 and -log 3/5.
    similarity = torch.tensor([[0.0, 3.0, 1.0, 1.0]]).double()
    similarity[0, 1:] = similarity[0, 1:].log()
    positive = torch.tensor([[True, True, False, False]])
    expected = (torch.tensor([3.0]) * 5 / 3).log() / 2
    value = region_nce(similarity, positive, torch.ones(4, dtype=bool))
    assert_close(value, expected.double())


@pytest.mark.filterwarnings('ignore:Anomaly Detection')
def test_nce_without_positive_or_negative_is_zero():
    similarity, positive, filled = random_similarity(0)
    positive[0], positive[1] = True, False
    similarity.requires_grad_()
    # Not even an inner gradient may be NaN, where a mask would hide it.
    with torch.autograd.detect_anomaly():
        values = region_nce(similarity, positive, filled)
        values.sum().backward()
    assert values[:2].tolist() == [0, 0]
    assert similarity.grad[:2].count_nonzero() == 0
    assert similarity.grad.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_nce_of_extreme_similarities(dtype):
    # A positive that trails by 2000 costs 2000, one that leads nothing.
    similarity = torch.tensor([[-1e3, 1e3], [1e3, -1e3]], dtype=dtype)
    similarity.requires_grad_()
    positive = torch.tensor([[True, False]] * 2)
    values = region_nce(similarity, positive, torch.ones(2, dtype=bool))
    values.sum().backward()
    assert_close(values, values.new_tensor([2e3, 0]))
    assert_close(similarity.grad, similarity.new_tensor([[-1, 1], [0, 0]]))


@given(seed=seeds)
@few
def test_nce_gradient(seed):
    similarity, positive, filled = random_similarity(seed, 2, 5)
    similarity.requires_grad_()
    torch.autograd.gradcheck(
        lambda x: region_nce(x, positive, filled), similarity
    )


@given(seed=seeds)
@few
def test_partners_are_the_allowed_regions_with_the_highest_noise(seed):
    batch = random_batch(seed)
    names = 'classes', 'images', 'valid', 'noise'
    classes, images, usable, noise = (batch[name] for name in names)
    partners, mixed = choose_partners(classes, images, usable, noise)
    expected = [
        ref.partner(m, classes, images, usable.tolist(), noise)
        for m in range(len(classes))
    ]
    assert partners.tolist() == [k or 0 for k in expected]
    assert mixed.tolist() == [k is not None for k in expected]


def test_every_allowed_partner_is_met():
    noise = torch.rand(200, 4, 4, generator=Generator().manual_seed(0))
    met = {
        choose_partners(
            torch.tensor([0, 1, 1, 1]),
            torch.tensor([0, 0, 1, 2]),
            torch.ones(4, dtype=bool),
            one,
        )[0][0].item()
        for one in noise
    }
    assert met == {2, 3}


@pytest.mark.parametrize(
    'sizes',
    [
        dict(num_regions=1, num_rows=1),
        dict(num_rows=3),
        dict(),
        dict(num_images=1),
        dict(num_classes=1),
        dict(num_regions=12, num_rows=20, num_classes=5, dim=7),
    ],
)
def test_loss_agrees_with_loops(sizes):
    for seed in range(5):
        batch = random_batch(seed, **sizes)
        expected = ref.region_mixup_nce(**batch)
        assert region_mixup_nce(**batch).item() == pytest.approx(
            expected, rel=1e-7, abs=1e-7
        )


@pytest.mark.parametrize('seed', range(4))
def test_gradient_of_the_loss(seed):
    batch = random_batch(seed)
    regions = batch.pop('regions').requires_grad_()
    torch.autograd.gradcheck(
        lambda x: region_mixup_nce(regions=x, **batch), regions
    )


@given(seed=seeds, cuts=st.lists(st.integers(0, 6), max_size=3))
@few
def test_shares_of_the_regions_add_up(seed, cuts):
    batch = random_batch(seed)
    expected, expected_gradient = loss_and_gradient(batch)
    bounds = [0, *sorted(cuts), 6]
    shares = [
        loss_and_gradient({**batch, 'own': torch.arange(first, last)})
        for first, last in itertools.pairwise(bounds)
    ]
    assert_close(sum(loss for loss, _ in shares), expected)
    assert_close(sum(gradient for _, gradient in shares), expected_gradient)


@given(seed=seeds, order=st.permutations(range(6)))
@few
def test_loss_keeps_under_a_permutation_of_regions(seed, order):
    batch = random_batch(seed)
    moved = {name: batch[name][order] for name in PER_REGION}
    moved['noise'] = batch['noise'][order][:, order]
    loss, gradient = loss_and_gradient({**batch, **moved})
    expected, expected_gradient = loss_and_gradient(batch)
    assert_close(loss, expected)
    assert_close(gradient, expected_gradient[order])


@given(
    seed=seeds,
    rows=st.permutations(range(9)),
    classes=st.permutations(range(3)),
    images=st.permutations(range(3)),
)
@few
def test_loss_keeps_under_other_names_of_rows_classes_and_images(
    seed, rows, classes, images
):
    batch = random_batch(seed)
    moved = {name: batch[name][rows] for name in PER_ROW}
    moved['row_class'] = torch.tensor(classes)[moved['row_class']]
    moved['classes'] = torch.tensor(classes)[batch['classes']]
    moved['images'] = torch.tensor(images)[batch['images']]
    assert_close(
        region_mixup_nce(**{**batch, **moved}), region_mixup_nce(**batch)
    )


@given(seed=seeds, content=st.floats(-1e6, 1e6))
@few
def test_invalid_regions_change_nothing(seed, content):
    small = random_batch(seed)
    large = random_batch(seed + 1, num_regions=8)
    for name in PER_REGION:
        large[name][:6] = small[name]
    large['noise'][:6, :6] = small['noise']
    large['regions'][6:], large['valid'][6:] = content, False
    large |= {name: small[name] for name in PER_ROW}
    loss, gradient = loss_and_gradient(large)
    expected, expected_gradient = loss_and_gradient(small)
    assert_close(loss, expected)
    assert_close(gradient, F.pad(expected_gradient, (0, 0, 0, 2)))


@given(seed=seeds, content=st.floats(-1e6, 1e6), category=st.integers(0, 3))
@few
def test_unvisited_rows_change_nothing(seed, content, category):
    batch = random_batch(seed)
    more = dict(
        rows=F.pad(batch['rows'], (0, 0, 2, 3), value=content),
        row_class=F.pad(batch['row_class'], (2, 3), value=category),
        filled=F.pad(batch['filled'], (2, 3), value=False),
    )
    loss, gradient = loss_and_gradient({**batch, **more})
    expected, expected_gradient = loss_and_gradient(batch)
    assert_close(loss, expected)
    assert_close(gradient, expected_gradient)


@given(seed=seeds, scale=st.floats(0.01, 100))
@few
def test_length_does_not_matter_only_direction(seed, scale):
    batch = random_batch(seed)
    lengths = torch.arange(1, 10).double()[:, None]
    longer = dict(
        rows=batch['rows'] * lengths, regions=batch['regions'] * scale
    )
    assert_close(
        region_mixup_nce(**{**batch, **longer}), region_mixup_nce(**batch)
    )


def test_weight_mixes_before_the_length_is_lost():
    # Orthogonal regions of length 1 and 3, mixed evenly; rows along both.
    batch = dict(
        regions=torch.tensor([[1.0, 0], [0, 3]]).double(),
        classes=torch.tensor([0, 1]),
        images=torch.tensor([0, 1]),
        valid=torch.ones(2, dtype=bool),
        rows=torch.eye(2).double(),
        row_class=torch.tensor([0, 1]),
        filled=torch.ones(2, dtype=bool),
        weight=torch.tensor([0.5, 0.5]).double(),
        noise=torch.ones(2, 2).double(),
        temperature=1.0,
    )
    similarity = torch.tensor([1.0, 3.0]).double() / 10**0.5
    expected = -similarity.log_softmax(dim=0).mean()
    assert_close(region_mixup_nce(**batch), expected)


@given(seed=seeds)
@few
def test_weight_one_is_the_plain_nce(seed):
    batch = random_batch(seed)
    plain = {**batch, 'images': torch.zeros_like(batch['images'])}
    whole = {**batch, 'weight': torch.ones_like(batch['weight'])}
    assert_close(region_mixup_nce(**whole), region_mixup_nce(**plain))


@given(seed=seeds)
@few
def test_a_batch_of_one_class_is_not_mixed(seed):
    batch = random_batch(seed)
    batch['classes'] = torch.zeros_like(batch['classes'])
    loss, gradient = loss_and_gradient(batch)
    whole, _ = loss_and_gradient(
        {**batch, 'weight': torch.ones_like(batch['weight'])}
    )
    assert_close(loss, whole)
    assert gradient.isfinite().all()


@pytest.mark.parametrize('name', ['valid', 'filled'])
def test_nothing_to_contrast_is_a_loss_of_zero(name):
    batch = random_batch(0)
    batch[name] = torch.zeros_like(batch[name])
    loss, gradient = loss_and_gradient(batch)
    assert loss == 0
    assert gradient.count_nonzero() == 0


def test_only_one_class_in_memory_is_a_loss_of_zero():
    batch = random_batch(1)
    batch['filled'] = batch['row_class'] == batch['row_class'][0]
    loss, gradient = loss_and_gradient(batch)
    assert loss == 0
    assert gradient.count_nonzero() == 0


def test_regions_of_a_class_never_seen_take_no_part():
    batch = random_batch(2)
    batch['valid'][:] = True
    batch['classes'] = torch.tensor([0, 7, 1, 7, 2, 1])
    batch['row_class'][~batch['filled']] = 7
    assert not batch['filled'].all()
    loss, gradient = loss_and_gradient(batch)
    known = torch.tensor([0, 2, 4, 5])
    less = {name: batch[name][known] for name in PER_REGION}
    less['noise'] = batch['noise'][known][:, known]
    expected, _ = loss_and_gradient({**batch, **less})
    assert_close(loss, expected)
    assert gradient[[1, 3]].count_nonzero() == 0


@given(seed=seeds)
@few
def test_empty_regions_leave_all_gradients_finite(seed):
    batch = random_batch(seed)
    batch['regions'][~batch['valid']] = 0
    loss, gradient = loss_and_gradient(batch)
    assert loss.isfinite()
    assert gradient.isfinite().all()
    assert gradient[~batch['valid']].count_nonzero() == 0


def low_precision_error(dtype, temperature):
    errors = []
    for seed in range(5):
        batch = random_batch(seed, dim=64)
        batch['temperature'] = temperature
        exact = region_mixup_nce(**batch)
        floats = {
            name: value.float()
            for name, value in batch.items()
            if name in ('regions', 'rows', 'weight', 'noise')
        }
        enabled = dtype != torch.float32
        with torch.autocast('cpu', dtype=dtype, enabled=enabled):
            loss, gradient = loss_and_gradient({**batch, **floats})
        assert gradient.isfinite().all()
        errors.append((loss - exact).abs().item())
    return max(errors)


def test_precision_of_float32():
    # A cosine of 64 channels is off by at most 64 * 2^-24, its quotient
    # with t by 1/t more; the loss changes at most twice as fast.
    assert low_precision_error(torch.float32, 0.07) <= 2 * 64 * 2**-24 / 0.07


def test_precision_of_bfloat16_autocast():
    # 8 bits: each number up to 1/t may round by 2^-9/t. About 16 roundings
    # lie between regions and loss. It says: contrast belongs in float32.
    assert low_precision_error(torch.bfloat16, 0.07) <= 16 * 2**-9 / 0.07
