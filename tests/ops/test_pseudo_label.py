import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmrca.ops.pseudo_label import (
    background_conflict,
    background_power,
    conflict,
    fuse,
)

IGNORE = 255


@st.composite
def scored_images(draw):
    count = draw(st.integers(0, 4))
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scores = torch.from_numpy(rng.random((count + 1, height, width)))
    classes = rng.permutation(20)[:count].tolist()
    return scores[1:], scores[0], classes


def slow_fuse(foreground, background, classes, margin):
    height, width = background.shape
    labels = np.zeros((height, width), dtype=np.uint8)
    for y in range(height):
        for x in range(width):
            ranked = sorted(
                [(background[y, x].item(), 0)]
                + [
                    (foreground[i, y, x].item(), c + 1)
                    for i, c in enumerate(classes)
                ],
                reverse=True,
            )
            labels[y, x] = ranked[0][1]
            if len(ranked) > 1 and ranked[0][0] - ranked[1][0] < margin:
                labels[y, x] = IGNORE
    return labels


@settings(max_examples=60, deadline=None)
@given(scored_images(), st.floats(0, 1))
def test_fuse_agrees_with_a_loop(image, margin):
    labels = fuse(*image, margin)
    assert labels.dtype == torch.uint8
    np.testing.assert_array_equal(labels, slow_fuse(*image, margin))


@settings(max_examples=30, deadline=None)
@given(scored_images(), st.floats(0, 1), st.randoms())
def test_order_of_classes_does_not_matter(image, margin, random):
    foreground, background, classes = image
    order = list(range(len(classes)))
    random.shuffle(order)
    shuffled = fuse(
        foreground[order], background, [classes[i] for i in order], margin
    )
    assert shuffled.equal(fuse(*image, margin))


@settings(max_examples=30, deadline=None)
@given(scored_images(), st.floats(0, 1), st.floats(0, 1))
def test_a_wider_margin_only_opens_pixels(image, one, other):
    narrow, wide = (fuse(*image, m) for m in sorted([one, other]))
    changed = narrow != wide
    assert (wide[changed] == IGNORE).all()


@settings(max_examples=30, deadline=None)
@given(scored_images())
def test_margin_zero_labels_every_pixel(image):
    labels = fuse(*image, 0)
    assert set(labels.unique().tolist()) <= {0, *(c + 1 for c in image[2])}


def test_margin_is_a_band_around_a_constant_threshold():
    cam = torch.tensor([[[0.0, 0.29, 0.31, 0.49, 0.51, 1.0]]])
    labels = fuse(cam, torch.full(cam.shape[1:], 0.4), [6], 0.1)
    assert labels.tolist() == [[0, 0, IGNORE, IGNORE, 7, 7]]


def test_two_classes_that_claim_a_pixel_leave_it_unlabelled():
    cam = torch.tensor([[[0.9, 0.9]], [[0.85, 0.2]]])
    labels = fuse(cam, torch.full(cam.shape[1:], 0.3), [0, 1], 0.1)
    assert labels.tolist() == [[IGNORE, 1]]


def test_equal_scores_go_to_the_background_then_to_the_first_class():
    cam = torch.tensor([[[0.5, 0.8]], [[0.5, 0.8]]])
    labels = fuse(cam, torch.full(cam.shape[1:], 0.5), [3, 1], 0)
    assert labels.tolist() == [[0, 4]]


def test_no_class_means_background():
    cam = torch.zeros(0, 2, 3)
    for background in (
        torch.full(cam.shape[1:], 0.4),
        background_power(cam, 4),
    ):
        assert fuse(cam, background, [], 1).tolist() == [[0, 0, 0]] * 2


def test_power_background():
    cam = torch.tensor([[[0.0, 0.5]], [[0.25, 1.0]]])
    expected = torch.tensor([[0.75**3, 0.0]])
    torch.testing.assert_close(background_power(cam, 3), expected)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'classes': [0]}, r'\[2, 3, 4\] do not fit 1 classes'),
        ({'background': torch.zeros(3, 5)}, 'do not fit'),
        ({'foreground': torch.full((2, 3, 4), torch.nan)}, 'not finite'),
    ],
)
def test_bad_input_to_fuse(change, message):
    given = {
        'foreground': torch.zeros(2, 3, 4),
        'background': torch.zeros(3, 4),
        'classes': [0, 1],
        'margin': 0.1,
    }
    with pytest.raises(ValueError, match=message):
        fuse(**{**given, **change})


@settings(max_examples=40, deadline=None)
@given(scored_images(), st.floats(0, 1))
def test_two_classes_conflict_where_both_reach_the_threshold(image, limit):
    foreground, background, _ = image
    found = conflict(foreground, limit)
    for y, x in np.ndindex(*background.shape):
        claims = sum(s[y, x].item() >= limit for s in foreground)
        assert found[y, x].item() == (claims >= 2)


def test_the_background_cue_conflicts_with_labels():
    labels = torch.tensor([[0, 0, 3, 3, 255, 255]], dtype=torch.uint8)
    background = torch.tensor([[0.6, 0.5, 0.6, 0.5, 0.6, 0.5]])
    assert background_conflict(labels, background).tolist() == [
        [False, True, True, False, False, False]
    ]
