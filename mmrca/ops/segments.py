"""Votes of segments: pixels of one segment share their scores.

Shape shorthand: L labels, P pixels, E pairs of a segment and a pixel of it.
"""

import torch
from torch import Tensor


def segment_means(scores: Tensor, segment: Tensor, pixel: Tensor) -> Tensor:
    """Replace scores by the means of the segments that they lie in.

    A segment then takes the label of its highest mean score. Of segments that
    overlap the means are averaged.

    Args:
        scores: Float [L, P].
        segment: Integer [E], numbers from 0.
        pixel: Integer [E] in 0..P-1; with ``segment``, each pair once.

    Returns:
        [L, P] within the range of each label's scores; unchanged where a
        pixel is in no segment.
    """
    count = int(segment.max()) + 1 if len(segment) else 0
    means = _group_means(scores[:, pixel], segment, count)
    spread = _group_means(means[:, segment], pixel, scores.shape[1])
    covered = torch.bincount(pixel, minlength=scores.shape[1]) > 0
    return torch.where(covered, spread, scores)


def _group_means(values: Tensor, group: Tensor, count: int) -> Tensor:
    """Average values [L, E] over each of so many groups; 0 if it is empty."""
    sums = values.new_zeros(len(values), count).index_add_(1, group, values)
    return sums / torch.bincount(group, minlength=count).clamp(min=1)
