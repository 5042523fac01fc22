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
from mmrca.ops.threshold import (
    absence_threshold,
    carry_threshold,
    choose_threshold,
    colour_information,
    colour_threshold,
)

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**16)


def random_scene(seed, num_classes=2, size=(6, 7)):
    """An image of few colours and maps that have to do with them."""
    generator = Generator().manual_seed(seed)
    palette = torch.randint(216, (4, 3), generator=generator)
    kind = torch.randint(4, size, generator=generator)
    noise = torch.rand(num_classes, *size, generator=generator).double()
    image = palette[kind] + torch.randint(40, (*size, 3), generator=generator)
    return image.to(torch.uint8), 0.3 * noise + 0.7 * (
        kind == 1
    ) * noise.sqrt()


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


@pytest.mark.parametrize('size', [(5, 7), (9, 11), (12, 13), (30, 17)])
def test_colours_that_have_nothing_to_do_with_the_cam_tell_nothing(size):
    image = torch.arange(size[1]).mul(14).to(torch.uint8)
    image = image[None, :, None].expand(*size, 3)
    cam = torch.linspace(0, 1, size[0])[None, :, None].expand(1, *size)
    information = colour_information(image, cam, 20)
    assert (information >= 0).all() and (information < 1e-12).all()
    assert math.isnan(colour_threshold(image, cam))


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
    found = [colour_threshold(*disc_scene(seed, fringe)) for seed in range(5)]
    # The grid of pixels leaves the edge open by 1 / 20.
    assert choose_threshold(found) == pytest.approx(1 - 1 / fringe, abs=0.05)


@given(seed=seeds, num_thresholds=st.integers(1, 30))
@few
def test_threshold_is_the_highest_one_near_the_peak(seed, num_thresholds):
    image, cam = random_scene(seed)
    curve = slow_information(image, cam, num_thresholds).tolist()
    near = [i for i, value in enumerate(curve) if value >= 0.98 * max(curve)]
    expected = near[-1] / num_thresholds if max(curve) > 1e-9 else math.nan
    found = colour_threshold(image, cam, num_thresholds)
    assert found == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(('missing', 'expected'), [(1, 0.5), (30, 0.3)])
def test_little_is_given_up_for_a_higher_threshold(missing, expected):
    # Without 1 of 800 pixels colours tell 0.99 bits, without 30 0.89.
    image = torch.zeros(40, 40, 3, dtype=torch.uint8)
    image[:20] = 255
    cam = torch.zeros(1, 40, 40)
    cam[:, :20] = 0.505
    cam[0, 0, :missing] = 0.305
    assert colour_threshold(image, cam) == expected


def test_choice_is_the_mean_of_the_images_that_tell_one():
    found = [0.1, math.nan, 0.2, 0.48]
    assert choose_threshold(found) == 0.26
    assert choose_threshold(found[::-1]) == 0.26


def test_where_nothing_is_told_the_customary_threshold_is_taken():
    image, cam = random_scene(0)
    found = [colour_threshold(image, cam[:0]), math.nan]
    assert choose_threshold(found) == choose_threshold([]) == 0.3
    assert choose_threshold(found, floor=0.457) == 0.46


def test_of_mean_and_floor_the_higher_counts():
    assert choose_threshold([0.2, 0.4], floor=0.1) == 0.3
    assert choose_threshold([0.2, 0.4], floor=0.6) == 0.6


def random_maps(seed, images, height=1.0):
    generator = Generator().manual_seed(seed)
    return [
        height * torch.rand(1 + n % 2, 3, 2 + n, generator=generator).double()
        for n in range(images)
    ]


def slow_absence_threshold(present, absent, normalization, steps):
    """The definition, cell by cell."""
    peaks = []
    for maps in present:
        tops = [max(m.flatten().tolist()) for m in maps]
        peaks += [max(tops)] if normalization == 'image' else tops
    peak = sorted(p for p in peaks if p > 0)[(len(peaks) - 1) // 2]

    def share(images, level):
        cells = [m.flatten().tolist() for maps in images for m in maps]
        above = [sum(v > level for v in c) / len(c) for c in cells]
        return sum(above) / len(above)

    for step in range(steps):
        level = step / steps * peak
        if share(absent, level) <= share(present, level) / 4:
            return step / steps
    return 0.0


@given(
    seed=seeds,
    images=st.integers(1, 5),
    height=st.floats(0.1, 1.5),
    normalization=st.sampled_from(['class', 'image']),
    steps=st.integers(1, 30),
)
@few
def test_absence_threshold_agrees_with_loops(
    seed, images, height, normalization, steps
):
    present = random_maps(seed, images)
    absent = random_maps(seed + 1, 3, height)
    expected = slow_absence_threshold(present, absent, normalization, steps)
    found = absence_threshold(present, absent, normalization, steps)
    assert found == expected
    # The unit of the maps does not matter.
    twice = [2 * m for m in present], [2 * m for m in absent]
    assert absence_threshold(*twice, normalization, steps) == found


@pytest.mark.parametrize('leaf', [0.2, 0.45, 0.7])
def test_what_images_without_the_class_show_too_is_background(leaf):
    healthy = torch.zeros(1, 10, 10)
    healthy[:, 2:8, 2:8] = leaf
    sick = healthy.clone()
    sick[:, 4:6, 4:6] = 1
    for normalization in ('class', 'image'):
        found = absence_threshold([sick] * 3, [healthy] * 2, normalization)
        assert found == pytest.approx(leaf, abs=0.011)


@pytest.mark.parametrize(
    ('normalization', 'expected'), [('class', 0.5), ('image', 0.125)]
)
def test_what_a_floor_is_a_share_of(normalization, expected):
    high = torch.linspace(0, 1, 12).view(1, 3, 4)
    present = [torch.cat([high, high / 4]), torch.zeros(2, 3, 4)]
    absent = [torch.full((1, 3, 4), 0.125)]
    # A map or an image of zeros has no peak.
    found = absence_threshold(present, absent, normalization, 8)
    assert found == expected


def test_a_quarter_may_be_mistaken():
    present = [torch.tensor([0.375] * 4 + [1.0] * 4).view(1, 2, 4)]
    absent = [torch.tensor([0.375] * 7 + [0.6]).view(1, 2, 4)]
    assert absence_threshold(present, absent, 'class', 4) == 0.5
    assert absence_threshold(present, absent, 'class') == 0.38


@pytest.mark.parametrize('normalization', ['class', 'image'])
def test_no_floor_where_nothing_tells_one(normalization):
    maps, none = random_maps(0, 4), torch.zeros(0, 3, 4)
    for present, absent in (
        (maps, []),  # no image without the class
        (maps, [none]),
        ([], maps),
        ([none], maps),
        ([0 * m for m in maps], maps),  # nothing found
        (maps, maps),  # as high without the class
        (maps, [0 * m for m in maps]),  # no mistake
    ):
        assert absence_threshold(present, absent, normalization) == 0


def slow_carry(threshold, before, after):
    """Try each threshold; of equal ones take the nearest to the old."""
    parts = len(before)
    wanted = sum(before[round(threshold * parts) :]) / sum(before)
    off = [abs(sum(after[k:]) / sum(after) - wanted) for k in range(parts)]
    equal = [k for k in range(parts) if off[k] <= min(off) + 1e-9]
    return min(equal, key=lambda k: abs(k - round(threshold * parts))) / parts


COUNTS = st.lists(st.integers(0, 9), min_size=10, max_size=10).filter(any)


@given(st.integers(0, 9), COUNTS, COUNTS)
def test_a_carried_threshold_agrees_with_loops(part, before, after):
    found = carry_threshold(
        part / 10, torch.tensor(before), torch.tensor(after)
    )
    assert found == slow_carry(part / 10, before, after)


@given(st.integers(0, 9), COUNTS)
def test_unchanged_maps_keep_their_threshold(part, counts):
    pixels = torch.tensor(counts)
    assert carry_threshold(part / 10, pixels, pixels) == part / 10


def test_maps_that_spread_want_a_higher_threshold():
    before = torch.tensor([60.0, 20, 10, 10])
    after = torch.tensor([40.0, 20, 20, 20])
    assert carry_threshold(0.25, before, after) == 0.5


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
