"""Shape shorthand: D channels, L labels, H x W pixels."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator
from torch.testing import assert_close

from mmrca.ops.pixel_adaptive import pixel_adaptive

few = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**16)
sides = st.integers(1, 6)
reaches = st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True)


def refined(image, scores, iterations=10, dilations=(1, 2, 4, 8, 12, 24)):
    return pixel_adaptive(
        image, scores, iterations=iterations, dilations=dilations
    )


def random_scene(seed, size, num_labels=2):
    """An image of a few plain colours, with some grain, and scores."""
    generator = Generator().manual_seed(seed)
    palette = torch.randint(256, (3, 3), generator=generator).double()
    image = palette[torch.randint(3, size, generator=generator)]
    image = image + torch.rand(image.shape, generator=generator).double()
    scores = torch.rand(num_labels, *size, generator=generator).double()
    return image.permute(2, 0, 1), scores


def slow_step(image, scores, dilations):
    """One step of the refinement, pixel by pixel."""
    depth, height, width = image.shape
    channels = image.tolist()
    refined = scores.clone()
    steps = [s for s in itertools.product((-1, 0, 1), repeat=2) if any(s)]
    for y, x in itertools.product(range(height), range(width)):
        around = [(y + d * a, x + d * b) for d in dilations for a, b in steps]
        around = [
            (j, i) for j, i in around if 0 <= j < height and 0 <= i < width
        ]
        if not around:
            continue
        likeness = [0.0] * len(around)
        for channel in channels:
            here = channel[y][x]
            values = [channel[j][i] for j, i in around]
            known = [here, *values]
            mean = sum(known) / len(known)
            variance = sum((v - mean) ** 2 for v in known) / len(known)
            if variance == 0:
                continue
            for k, value in enumerate(values):
                gap = abs(value - here) / (0.1 * math.sqrt(variance))
                likeness[k] -= gap / depth
        weights = [math.exp(value) for value in likeness]
        refined[:, y, x] = sum(
            weight / sum(weights) * scores[:, j, i]
            for weight, (j, i) in zip(weights, around, strict=True)
        )
    return refined


@given(seed=seeds, size=st.tuples(sides, sides), dilations=reaches)
@few
def test_steps_agree_with_loops(seed, size, dilations):
    image, scores = random_scene(seed, size)
    expected = slow_step(image, scores, dilations)
    assert_close(refined(image, scores, 1, dilations), expected)
    expected = slow_step(image, expected, dilations)
    assert_close(refined(image, scores, 2, dilations), expected)


def doubled(maps):
    """Enlarge to twice the sides, bilinearly, pixel by pixel."""
    count, height, width = maps.shape
    large = torch.zeros(count, 2 * height, 2 * width, dtype=maps.dtype)

    def sources(place, side):
        where = min(max((place + 0.5) / 2 - 0.5, 0), side - 1)
        low = math.floor(where)
        return (low, 1 - where + low), (min(low + 1, side - 1), where - low)

    for y, x in itertools.product(range(2 * height), range(2 * width)):
        for j, down in sources(y, height):
            for i, right in sources(x, width):
                large[:, y, x] += down * right * maps[:, j, i]
    return large


@given(seed=seeds, size=st.tuples(sides, sides), dilations=reaches)
@few
def test_half_resolution_refines_means_of_four_pixels(seed, size, dilations):
    image, scores = random_scene(seed, [2 * side for side in size])
    small = (
        (m[:, ::2, ::2] + m[:, 1::2, ::2] + m[:, ::2, 1::2] + m[:, 1::2, 1::2])
        / 4
        for m in (image, scores)
    )
    found = pixel_adaptive(
        image, scores, iterations=1, dilations=dilations, half_resolution=True
    )
    assert_close(found, doubled(slow_step(*small, dilations)))


@given(seed=seeds, size=st.tuples(sides, sides))
@few
def test_half_resolution_keeps_size_sum_and_range(seed, size):
    image, scores = random_scene(seed, size, num_labels=3)
    scores = scores / scores.sum(0)
    found = pixel_adaptive(image, scores, half_resolution=True)
    assert found.shape == scores.shape
    assert_close(found.sum(0), torch.ones(size, dtype=torch.float64))
    assert found.min() >= scores.min() - 1e-12
    assert found.max() <= scores.max() + 1e-12


def test_plain_image_gives_the_plain_mean_of_the_neighbours():
    _, scores = random_scene(0, (5, 6))
    image = torch.full((3, 5, 6), 255.0, dtype=torch.float64)
    found = refined(image, scores, 1, (1,))
    inner = scores[:, 1:4, 2:5].sum((1, 2)) - scores[:, 2, 3]
    assert_close(found[:, 2, 3], inner / 8)
    corner = scores[:, 0, 1] + scores[:, 1, 0] + scores[:, 1, 1]
    assert_close(found[:, 0, 0], corner / 3)


@given(seed=seeds, size=st.tuples(sides, sides), dilations=reaches)
@few
def test_scores_keep_sum_range_and_order(seed, size, dilations):
    image, scores = random_scene(seed, size, num_labels=3)
    scores = scores / scores.sum(0)
    found = refined(image, scores, 4, dilations)
    assert_close(found.sum(0), torch.ones(size, dtype=torch.float64))
    assert found.min() >= scores.min() - 1e-12
    assert found.max() <= scores.max() + 1e-12
    permuted = refined(image, scores[[2, 0, 1]], 4, dilations)
    assert_close(permuted, found[[2, 0, 1]])


@given(seed=seeds, size=st.tuples(sides, sides))
@few
def test_brightness_contrast_and_mirror_images_do_not_matter(seed, size):
    image, scores = random_scene(seed, size)
    found = refined(image, scores, 3, (1, 2))
    assert_close(refined(0.01 * image - 1, scores, 3, (1, 2)), found)
    mirrored = refined(image.flip(2), scores.flip(2), 3, (1, 2))
    assert_close(mirrored.flip(2), found)


@pytest.mark.parametrize('size', [(1, 1), (1, 9), (9, 1)])
def test_narrow_images_and_pixels_without_neighbours(size):
    image, scores = random_scene(3, size)
    found = refined(image, scores)
    assert found.shape == scores.shape and found.isfinite().all()
    assert_close(refined(image, scores, 10, (12, 24)), scores)


def test_scores_flow_within_a_colour_and_stop_at_its_edge():
    image = torch.zeros(3, 12, 12, dtype=torch.float64)
    image[:, :, 6:] = 200
    sides = (image[:1] > 0).double()
    assert_close(refined(image, sides), sides, rtol=0, atol=1e-6)
    noisy = sides + random_scene(0, (12, 12), num_labels=1)[1] - 0.5
    found = refined(image, noisy)
    assert (found - sides).abs().max() < 0.1


def test_no_iteration_and_single_precision():
    image, scores = random_scene(5, (6, 7))
    assert_close(refined(image, scores, 0), scores)
    single = refined(image.float(), scores.float())
    assert single.dtype == torch.float32
    assert_close(single.double(), refined(image, scores), rtol=1e-3,
                 atol=1e-4)  # fmt: skip


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(image=torch.zeros(3, 4, 4)), 'of the size'),
        (dict(image=torch.zeros(4, 5)), 'of the size'),
    ],
)
def test_bad_arguments_are_refused(change, message):
    image, scores = random_scene(0, (4, 5))
    with pytest.raises(ValueError, match=message):
        refined(**{'image': image, 'scores': scores, **change})
