import sys

import numpy as np
import pytest

from mmrca.dense_crf import dense_crf


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


def test_agrees_with_exact_mean_field():
    # The package's lattice is an approximation: hence the tolerance.
    image, _, scores = two_halves(10, 14)
    options = dict(gaussian_sxy=2, bilateral_sxy=6, bilateral_srgb=20)
    ours = dense_crf(
        image,
        scores,
        iterations=3,
        gaussian_compat=1,
        bilateral_compat=2,
        **options,
    )
    exact = mean_field(image, scores, 3, (2, 1), (6, 20, 2))
    plain = scores / scores.sum(0)
    assert np.abs(exact - plain).mean() > 0.15
    assert np.abs(ours - exact).mean() < 0.03


def test_noise_is_cleaned_up_to_the_colour_edge():
    image, truth, scores = two_halves()
    assert (scores.argmax(0) != truth).mean() > 0.03
    np.testing.assert_array_equal(dense_crf(image, scores).argmax(0), truth)


def test_posterior_is_a_distribution():
    image, _, scores = two_halves()
    marginals = dense_crf(image, scores)
    assert marginals.dtype == np.float32
    assert marginals.shape == scores.shape
    np.testing.assert_allclose(marginals.sum(0), 1, rtol=1e-5)


def test_order_of_channels_does_not_matter():
    image, _, scores = two_halves()
    scores = np.concatenate([scores, scores.mean(0, keepdims=True)])
    order = [2, 0, 1]
    np.testing.assert_allclose(
        dense_crf(image, scores[order]),
        dense_crf(image, scores)[order],
        atol=1e-5,
    )


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


@pytest.mark.parametrize('shape', [(1, 1), (1, 9), (7, 1)])
def test_tiny_images(shape):
    image = np.zeros((*shape, 3), dtype=np.uint8)
    scores = np.stack([np.full(shape, 0.2), np.full(shape, 0.8)])
    assert (dense_crf(image, scores).argmax(0) == 1).all()


def test_views_of_an_image_work():
    image, _, scores = two_halves()
    turned = np.ascontiguousarray(image[..., ::-1])[..., ::-1]
    np.testing.assert_array_equal(
        dense_crf(turned, scores), dense_crf(image, scores)
    )


@pytest.mark.parametrize(
    ('image', 'scores', 'message'),
    [
        (np.zeros((4, 5, 3)), np.ones((2, 4, 5)), 'must be uint8'),
        (np.zeros((4, 5), np.uint8), np.ones((2, 4, 5)), 'must be uint8'),
        (np.zeros((4, 5, 3), np.uint8), np.ones((2, 5, 4)), 'do not fit'),
        (np.zeros((4, 5, 3), np.uint8), -np.ones((2, 4, 5)), 'nonnegative'),
        (
            np.zeros((4, 5, 3), np.uint8),
            np.full((2, 4, 5), np.nan),
            'finite',
        ),
    ],
)
def test_bad_input(image, scores, message):
    with pytest.raises(ValueError, match=message):
        dense_crf(image, scores)


def test_bad_option_is_named():
    image, _, scores = two_halves()
    with pytest.raises(ValueError, match='bilateral_srgb=0 must be positive'):
        dense_crf(image, scores, bilateral_srgb=0)


def test_missing_package_is_named(monkeypatch):
    image, _, scores = two_halves()
    monkeypatch.setitem(sys.modules, 'pydensecrf', None)
    monkeypatch.setitem(sys.modules, 'pydensecrf.densecrf', None)
    with pytest.raises(ImportError, match='pip install pydensecrf2'):
        dense_crf(image, scores)
