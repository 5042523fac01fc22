"""One image's label: what each setting does to it."""

import numpy as np
import pytest
import torch

from mmrca.ops.pixel_adaptive import pixel_adaptive
from mmrca.pseudo_labels.dense_crf import dense_crf
from mmrca.pseudo_labels.labels import label_pixels, rehearse
from mmrca.pseudo_labels.settings import Settings

CONSTANT = dict(type='constant', threshold=0.4)
SALIENCY = dict(type='saliency', dir='x')


def settings(background=CONSTANT, margin=0.0, **more):
    return Settings((1.0,), False, background, margin, **more)


def scene():
    """Six pixels in a row, two classes, and a saliency map."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, 6, 3), dtype=np.uint8)
    cams = torch.tensor(
        [[[0.0, 0.5, 0.9, 0.95, 0.1, 1.0]], [[0.2, 0.1, 1.0, 0.9, 0.3, 0.0]]]
    )
    saliency = np.array([[0.9, 0.1, 0.9, 0.9, 0.2, 0.9]], dtype=np.float32)
    return image, cams, saliency


def label(chosen):
    image, cams, saliency = scene()
    return label_pixels(image, cams, [4, 1], chosen, saliency)


@pytest.mark.parametrize(
    ('chosen', 'expected'),
    [
        (settings(), [0, 5, 2, 5, 0, 5]),
        (settings(margin=0.15), [0, 255, 255, 255, 255, 5]),
        (settings(conflict=0.9), [0, 5, 255, 255, 0, 5]),
        (settings(conflict=0.95), [0, 5, 2, 5, 0, 5]),
        # Background is .1 where the map is salient, .9 and .8 elsewhere.
        (settings(SALIENCY), [2, 0, 2, 5, 0, 5]),
        (settings(dict(SALIENCY, conflict=True)), [2, 0, 2, 5, 0, 5]),
        # Class 1 is best at the third pixel, the fourth and the fifth.
        (settings(min_foreground=0.5), [0, 5, 2, 2, 2, 5]),
        (settings(min_foreground=0.1), [0, 5, 2, 5, 0, 5]),
    ],
)
def test_each_rule(chosen, expected):
    found = label(chosen)
    assert found.labels.tolist() == [expected]
    assert found.labels.dtype == torch.uint8
    assert found.refined is None


def test_labels_that_saliency_contradicts_stay_open():
    image, cams, _ = scene()
    # Salient, and the CAMs too low to say so; and the other way round.
    saliency = np.array([[0.6, 0.45, 0.9, 0.9, 0.2, 0.9]], dtype=np.float32)
    cams[:, :, 0], cams[1, :, 1] = 0.1, 0.6
    for conflict, expected in (
        (False, [0, 2, 2, 5, 0, 5]),
        (True, [255, 255, 2, 5, 0, 5]),
    ):
        chosen = settings(dict(SALIENCY, conflict=conflict))
        found = label_pixels(image, cams, [4, 1], chosen, saliency)
        assert found.labels.tolist() == [expected]


def larger_scene():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (9, 8, 3), dtype=np.uint8)
    return image, torch.from_numpy(rng.random((2, 9, 8))).float()


def test_refinements_see_the_image_in_rgb():
    image, cams = larger_scene()
    scores = torch.cat([torch.full((1, 9, 8), 0.4), cams])
    rgb = image[..., ::-1].copy()
    crf = dict(iterations=2, bilateral_sxy=4)
    adaptive = dict(iterations=2, dilations=(1, 3))
    pixels = torch.from_numpy(rgb).permute(2, 0, 1).float()
    for kind, options, expected in (
        ('dense_crf', crf, dense_crf(rgb, scores, **crf)),
        (
            'pixel_adaptive',
            adaptive,
            pixel_adaptive(pixels, scores, **adaptive),
        ),
    ):
        chosen = settings(refinement=dict(type=kind, **options))
        found = label_pixels(image, cams, [0, 1], chosen)
        torch.testing.assert_close(found.refined, expected)
        best = expected.argmax(0).to(torch.uint8)
        assert found.labels.equal(best)
        assert not found.labels.equal(scores.argmax(0).to(torch.uint8))


def test_the_minimum_goes_by_refined_scores():
    image, cams = larger_scene()
    refinement = dict(type='dense_crf', iterations=1)
    chosen = settings(
        dict(CONSTANT, threshold=0.99), refinement=refinement,
        min_foreground=0.25,
    )  # fmt: skip
    found = label_pixels(image, cams, [7, 3], chosen)
    best = found.refined[2].flatten().topk(18).indices
    assert (found.labels.flatten()[best] == 4).all()


@pytest.mark.parametrize('side', [0, 2.5, None])
def test_the_longest_side_is_a_number_of_pixels(side):
    with pytest.raises(ValueError, match=r'max_side .* whole number'):
        rehearse(settings(max_side=side))
