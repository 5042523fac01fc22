"""Votes of segments, against loops."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.testing import assert_close

from mmrca.ops.segments import segment_means

PIXELS, LABELS = 12, 3
MEMBERS = st.lists(st.sets(st.integers(0, PIXELS - 1), min_size=1), max_size=5)


def pairs(members):
    """List the pairs of segment and pixel: [E] each."""
    found = [(k, p) for k, pixels in enumerate(members) for p in pixels]
    table = torch.tensor(found, dtype=torch.long).view(-1, 2)
    return table[:, 0], table[:, 1]


def random_scores(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(LABELS, PIXELS, generator=generator, dtype=torch.float64)


def slow_means(scores, members):
    result = scores.clone()
    for p in range(PIXELS):
        mine = [
            sum(scores[:, q] for q in pixels) / len(pixels)
            for pixels in members
            if p in pixels
        ]
        if mine:
            result[:, p] = sum(mine) / len(mine)
    return result


@given(MEMBERS, st.integers(0, 9))
def test_means_agree_with_loops(members, seed):
    scores = random_scores(seed)
    found = segment_means(scores, *pairs(members))
    assert_close(found, slow_means(scores, members))


@given(MEMBERS, st.integers(0, 9))
def test_scores_stay_in_their_range_and_a_constant_as_it_is(members, seed):
    scores = random_scores(seed)
    scores[0] = 0.3
    found = segment_means(scores, *pairs(members))
    assert_close(found[0], scores[0])
    assert (found.amin(1) >= scores.amin(1) - 1e-12).all()
    assert (found.amax(1) <= scores.amax(1) + 1e-12).all()


def test_the_order_of_pairs_does_not_matter():
    scores, (segment, pixel) = random_scores(0), pairs([{0, 1, 5}, {5, 7}])
    assert_close(
        segment_means(scores, segment.flip(0), pixel.flip(0)),
        segment_means(scores, segment, pixel),
    )


def test_gradients():
    segment, pixel = pairs([{0, 1, 5}, {5, 7}])
    scores = random_scores(1).requires_grad_()
    assert gradcheck(lambda s: segment_means(s, segment, pixel), scores)
