"""Shape shorthand: C classes, H x W pixels, T thresholds."""

import itertools
import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator
from torch.testing import assert_close

from mmrca.ops.cam import threshold_confusion
from mmrca.ops.threshold import choose_threshold, colour_information

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**16)


def random_scene(seed, num_classes=2, size=(6, 7)):
    """An image of few colours and maps that have to do with them."""
    generator = Generator().manual_seed(seed)
    palette = torch.randint(256, (4, 3), generator=generator)
    kind = torch.randint(4, size, generator=generator)
    noise = torch.rand(num_classes, *size, generator=generator).double()
    image = palette[kind].to(torch.uint8)
    return image, 0.3 * noise + 0.7 * (kind == 1) * noise.sqrt()


def slow_information(image, cam, num_thresholds):
    """The definition, pixel by pixel: sum of p log2(p / (p q))."""
    height, width = image.shape[:2]
    result = []
    for step in range(num_thresholds):
        pairs = []
        for y, x in itertools.product(range(height), range(width)):
            colour = tuple(int(v) // 32 for v in image[y, x])
            above = any(float(m[y, x]) > step / num_thresholds for m in cam)
            pairs.append((above, colour))
        both, n = Counter(pairs), len(pairs)
        side = Counter(above for above, _ in pairs)
        colours = Counter(colour for _, colour in pairs)
        result.append(
            sum(
                k / n * math.log2(k * n / (side[a] * colours[c]))
                for (a, c), k in both.items()
            )
        )
    return torch.tensor(result, dtype=torch.float64)


@given(
    seed=seeds,
    num_classes=st.integers(1, 3),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    num_thresholds=st.integers(1, 12),
)
@few
def test_information_agrees_with_loops(
    seed, num_classes, size, num_thresholds
):
    image, cam = random_scene(seed, num_classes, size)
    assert_close(
        colour_information(image, cam, num_thresholds),
        slow_information(image, cam, num_thresholds),
    )


@given(seed=seeds)
@few
def test_information_is_at_most_a_bit_and_blind_to_order(seed):
    image, cam = random_scene(seed)
    information = colour_information(image, cam, 20)
    assert (information >= 0).all() and (information <= 1).all()
    order = torch.randperm(42, generator=Generator().manual_seed(seed))
    for changed, maps in (
        (image.flip(2), cam),  # RGB or BGR
        (image, cam.flip(0)),  # classes
        (
            image.flatten(0, 1)[order].view(6, 7, 3),  # pixels
            cam.flatten(1)[:, order].view_as(cam),
        ),
        (image.repeat(2, 3, 1), cam.repeat(1, 2, 3)),  # size
    ):
        assert_close(colour_information(changed, maps, 20), information)


@given(seed=seeds)
@few
def test_foreground_is_what_the_curve_over_thresholds_counts(seed):
    # A colour of its own for either side: all of the entropy is told.
    _, cam = random_scene(seed, num_classes=1)
    steps = 10
    confusion = threshold_confusion(
        cam, torch.ones(1), torch.zeros(cam.shape[1:]).long(), steps
    )
    share = confusion[:, 0, 1].double() / 42
    for step in range(steps):
        above = cam[0] > step / steps
        image = (200 * above).to(torch.uint8)[..., None].expand(-1, -1, 3)
        p = share[step].item()
        entropy = sum(-q * math.log2(q) for q in (p, 1 - p) if q)
        found = colour_information(image, cam, steps)[step]
        assert found.item() == pytest.approx(entropy, abs=1e-12)


def test_one_colour_or_no_class_tells_nothing():
    image, cam = random_scene(0)
    plain = torch.full_like(image, 77)
    assert_close(
        colour_information(plain, cam, 5), torch.zeros(5, dtype=torch.float64)
    )
    assert not colour_information(image, cam[:0], 5).any()


def test_single_precision_maps_are_counted_alike():
    image, cam = random_scene(1)
    single = cam.float()
    assert_close(
        colour_information(image, single, 50),
        colour_information(image, single.double(), 50),
    )


def disc_scene(seed, fringe):
    """A blue disc on green grain; the CAM falls off linearly from its centre.

    The disc ends where the CAM is 1 - 1 / ``fringe``.
    """
    generator = Generator().manual_seed(seed)
    line = torch.linspace(-1, 1, 41, dtype=torch.float64)
    radius = (line[:, None] ** 2 + line**2).sqrt()
    image = torch.randint(0, 90, (41, 41, 3), generator=generator)
    image[..., 1] += 120
    disc = radius < 1 / fringe
    image[disc] = image[disc].roll(1, dims=1)
    return image.to(torch.uint8), (1 - radius).clamp(min=0)[None]


@pytest.mark.parametrize('fringe', [1.25, 2, 4])
def test_choice_is_the_edge_of_the_object(fringe):
    total = sum(
        colour_information(*disc_scene(seed, fringe), 100) for seed in range(5)
    )
    # The grid of pixels leaves the edge open by 1 / 20.
    assert choose_threshold(total) == pytest.approx(1 - 1 / fringe, abs=0.05)


def test_choice_is_the_highest_threshold_near_the_peak():
    curve = torch.tensor([0.1, 0.98, 1, 0.96, 0.971, 0.969, 0.5, 0])
    assert choose_threshold(curve) == 4 / 8
    assert choose_threshold(1e-6 * curve.double()) == 4 / 8


def test_nothing_to_choose_from_is_refused():
    with pytest.raises(ValueError, match='set a constant threshold'):
        choose_threshold(torch.zeros(10))


@pytest.mark.parametrize(
    'change',
    [
        lambda image: image.float(),
        lambda image: image[:-1],
        lambda image: image[..., :1],
        lambda image: image[..., 0],
    ],
)
def test_image_that_does_not_fit_is_refused(change):
    image, cam = random_scene(0)
    with pytest.raises(ValueError, match='must be uint8'):
        colour_information(change(image), cam, 10)
