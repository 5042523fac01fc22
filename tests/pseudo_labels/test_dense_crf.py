import importlib.util
import inspect
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from mmrca.pseudo_labels.dense_crf import DenseCRF

HAS_PYDENSECRF = importlib.util.find_spec('pydensecrf') is not None
needs_pydensecrf = pytest.mark.skipif(
    not HAS_PYDENSECRF, reason='pydensecrf2 is not installed'
)
ALL = ('numba', pytest.param('pydensecrf', marks=needs_pydensecrf))


def dense_crf(image, scores, **options):
    return DenseCRF(**options)(image, torch.as_tensor(scores)).numpy()


def photo(height=48, width=64, labels=3):
    """Blobs of colour with grain, and scores that fit them badly."""
    random = np.random.default_rng(1)

    def blobs(channels, cells):
        coarse = torch.tensor(random.normal(size=(1, channels, cells, cells)))
        size = (height, width)
        return torch.nn.functional.interpolate(coarse, size, mode='bicubic')

    shades = blobs(3, 6)[0].permute(1, 2, 0).numpy() * 60 + 128
    grain = random.normal(scale=6, size=shades.shape)
    image = (shades + grain).clip(0, 255).astype(np.uint8)
    return image, blobs(labels, 4)[0].exp().float().numpy()


def by_pydensecrf(image, scores):
    """The package used as its README does, with the customary values."""
    from pydensecrf.densecrf import DenseCRF2D

    share = scores / scores.sum(0)
    crf = DenseCRF2D(image.shape[1], image.shape[0], len(scores))
    crf.setUnaryEnergy(-np.log(share.clip(1e-5)).reshape(len(scores), -1))
    crf.addPairwiseGaussian(sxy=3, compat=3)
    crf.addPairwiseBilateral(sxy=80, srgb=13, rgbim=image, compat=10)
    return np.array(crf.inference(10)).reshape(scores.shape)


@needs_pydensecrf
@pytest.mark.parametrize('labels', [2, 4, 21])
@pytest.mark.parametrize('backend', ALL)
def test_agrees_with_pydensecrf(backend, labels):
    image, scores = photo(labels=labels)
    ours = dense_crf(image, scores, backend=backend)
    theirs = by_pydensecrf(image, scores)
    assert (theirs.argmax(0) != scores.argmax(0)).mean() > 0.05
    assert (ours.argmax(0) == theirs.argmax(0)).mean() >= 0.9999
    assert np.abs(ours - theirs).max() < 1e-3


def two_halves(height=16, width=24):
    """Red left, blue right; scores say so with noise."""
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[:, : width // 2, 0] = 200
    image[:, width // 2 :, 2] = 200
    truth = np.zeros((height, width), dtype=int)
    truth[:, width // 2 :] = 1
    noise = np.random.default_rng(0).random((2, height, width))
    scores = 0.6 * np.eye(2)[truth].transpose(2, 0, 1) + noise
    return image, truth, scores.astype(np.float32)


def mean_field(image, scores, iterations, gaussian, bilateral):
    """The same inference with every pair of pixels, as the paper writes it."""
    height, width = image.shape[:2]
    place = np.stack(np.mgrid[:height, :width], -1).reshape(-1, 2)
    colour = image.reshape(-1, 3).astype(float)

    def kernel(sxy, srgb):
        gap = (place[:, None] - place) / sxy
        energy = (gap**2).sum(-1)
        if srgb:
            energy += (((colour[:, None] - colour) / srgb) ** 2).sum(-1)
        weights = np.exp(-energy / 2)
        scale = 1 / np.sqrt(weights.sum(1))
        return scale[:, None] * weights * scale

    pairwise = gaussian[1] * kernel(gaussian[0], None)
    pairwise += bilateral[2] * kernel(bilateral[0], bilateral[1])
    share = scores / scores.sum(0)
    unary = np.log(share.clip(1e-5, 1)).reshape(len(scores), -1)
    marginals = np.exp(unary)
    for _ in range(iterations):
        logits = unary + marginals @ pairwise
        logits -= logits.max(0)
        marginals = np.exp(logits) / np.exp(logits).sum(0)
    return marginals.reshape(scores.shape)


@pytest.mark.real_data
@needs_pydensecrf
@pytest.mark.parametrize('labels', [2, 4, 21])
def test_agrees_with_pydensecrf_on_photographs(voc20_mini, labels):
    files = sorted((voc20_mini / 'JPEGImages').glob('*.jpg'))[::150]
    for file in files:
        image = np.array(Image.open(file).convert('RGB'))
        # pydensecrf takes pixels by four and fills up with black ones.
        image = image[:, : image.shape[1] // 4 * 4].copy()
        _, scores = photo(*image.shape[:2], labels)
        ours = dense_crf(image, scores)
        theirs = by_pydensecrf(image, scores)
        equal = (ours.argmax(0) == theirs.argmax(0)).mean()
        assert equal >= 0.9999, file.name
        assert np.abs(ours - theirs).max() < 1e-3, file.name


@pytest.mark.parametrize('backend', ALL)
def test_agrees_with_exact_mean_field(backend):
    # The lattice is an approximation: hence the tolerance.
    image, _, scores = two_halves(10, 14)
    options = dict(gaussian_sxy=2, bilateral_sxy=6, bilateral_srgb=20)
    ours = dense_crf(
        image,
        scores,
        backend=backend,
        iterations=3,
        gaussian_compat=1,
        bilateral_compat=2,
        **options,
    )
    exact = mean_field(image, scores, 3, (2, 1), (6, 20, 2))
    plain = scores / scores.sum(0)
    assert np.abs(exact - plain).mean() > 0.15
    assert np.abs(ours - exact).mean() < 0.03


@pytest.mark.parametrize('backend', ALL)
def test_noise_is_cleaned_up_to_the_colour_edge(backend):
    image, truth, scores = two_halves()
    assert (scores.argmax(0) != truth).mean() > 0.03
    labels = dense_crf(image, scores, backend=backend).argmax(0)
    np.testing.assert_array_equal(labels, truth)


@pytest.mark.parametrize('labels', [1, 2, 3, 7])
@pytest.mark.parametrize('half', [False, True])
def test_posterior_is_a_distribution(half, labels):
    image, scores = photo(13, 10, labels)
    marginals = dense_crf(image, scores, half_resolution=half)
    assert marginals.dtype == np.float32
    assert marginals.shape == scores.shape
    assert (marginals >= 0).all()
    np.testing.assert_allclose(marginals.sum(0), 1, rtol=1e-5)


def test_order_of_channels_does_not_matter():
    # Six labels: numba filters four and one, and takes the first
    # from the sum, so each of these roles changes hands.
    image, scores = photo(20, 20, 6)
    order = [5, 4, 3, 0, 1, 2]
    np.testing.assert_allclose(
        dense_crf(image, scores[order]),
        dense_crf(image, scores)[order],
        atol=1e-4,
    )


def test_nothing_to_tell_labels_apart():
    image = np.full((9, 14, 3), 77, dtype=np.uint8)
    scores = np.full((5, 9, 14), 0.3)
    marginals = dense_crf(image, scores)
    np.testing.assert_allclose(marginals, 0.2, atol=1e-5)


def test_classes_that_tie_stay_tied():
    # The mean field would blow up a difference in the last bit.
    image, scores = photo(20, 20, 4)
    scores = np.concatenate([scores, scores[1:]])
    marginals = dense_crf(image, scores)
    np.testing.assert_allclose(marginals[1:4], marginals[4:], atol=1e-6)


@pytest.mark.parametrize('size', [(20, 30), (21, 31)])
def test_half_resolution_fills_in_between_every_second_pixel(size):
    image, scores = photo(*size)
    half = dense_crf(image, scores, half_resolution=True)
    kept = dense_crf(
        image[::2, ::2],
        scores[:, ::2, ::2],
        gaussian_sxy=1.5,
        bilateral_sxy=40,
    )
    np.testing.assert_allclose(half[:, ::2, ::2], kept, atol=1e-6)
    means = (kept[:, :, 1:] + kept[:, :, :-1]) / 2
    np.testing.assert_allclose(half[:, ::2, 1:-1:2], means, atol=1e-6)
    means = (kept[:, 1:] + kept[:, :-1]) / 2
    np.testing.assert_allclose(half[:, 1:-1:2, ::2], means, atol=1e-6)


def test_only_ratios_of_scores_count():
    image, _, scores = two_halves()
    np.testing.assert_allclose(
        dense_crf(image, 5 * scores), dense_crf(image, scores), atol=1e-5
    )


def test_pixels_without_a_score_follow_the_others():
    image, truth, scores = two_halves()
    scores[:, 6:9, 3:6] = 0
    marginals = dense_crf(image, scores)
    assert np.isfinite(marginals).all()
    np.testing.assert_array_equal(marginals.argmax(0), truth)


@pytest.mark.parametrize('shape', [(1, 1), (1, 9), (7, 1), (2, 2)])
@pytest.mark.parametrize('half', [False, True])
@pytest.mark.parametrize('backend', ALL)
def test_tiny_images(backend, half, shape):
    image = np.zeros((*shape, 3), dtype=np.uint8)
    scores = np.stack([np.full(shape, 0.2), np.full(shape, 0.8)])
    options = dict(backend=backend, half_resolution=half)
    assert (dense_crf(image, scores, **options).argmax(0) == 1).all()


@pytest.mark.parametrize('backend', ALL)
def test_views_and_readonly_arrays_work(backend):
    image, _, scores = two_halves()
    turned = np.ascontiguousarray(image[..., ::-1])[..., ::-1]
    turned.flags.writeable = False
    turned_scores = torch.from_numpy(scores.transpose(1, 2, 0).copy())
    turned_scores = turned_scores.permute(2, 0, 1)
    assert not turned_scores.is_contiguous()
    np.testing.assert_array_equal(
        dense_crf(turned, turned_scores, backend=backend),
        dense_crf(image, scores, backend=backend),
    )


def test_input_is_left_as_it_was():
    image, scores = photo()
    before = image.copy(), scores.copy()
    dense_crf(image, scores)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(scores, before[1])


@pytest.mark.parametrize(
    ('option', 'value'),
    [('bilateral_srgb', 0), ('backend', 'gpu'), ('iterations', 2.5)],
)
def test_bad_option_is_named(option, value):
    with pytest.raises(ValueError, match=f'{option} is {value!r}'):
        DenseCRF(**{option: value})


def test_kernels_too_narrow_are_an_error():
    image, _, scores = two_halves()
    options = dict(bilateral_srgb=1e-3, bilateral_sxy=1e-3)
    with pytest.raises(ValueError, match='raise its sxy or srgb'):
        dense_crf(image, scores, **options)


def test_no_compiler_is_needed_by_default():
    signature = inspect.signature(DenseCRF)
    assert signature.parameters['backend'].default == 'numba'


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pydensecrf', None)
    monkeypatch.setitem(sys.modules, 'pydensecrf.densecrf', None)
    with pytest.raises(ValueError, match='pip install pydensecrf2'):
        DenseCRF(backend='pydensecrf')
