"""How far a pseudo-label and its tags are to be doubted, without a mask.

Shape shorthand: N images, L classes, C classes of an image, H x W pixels.
"""

import torch
from torch import Tensor


def mean_margin(scores: Tensor) -> float:
    """Mean lead of each pixel's best score over its second.

    Args:
        scores: [C+1, H, W] in 0..1.

    Returns:
        In 0..1; 1 where there is nothing but one score, as in normal images.
    """
    if len(scores) < 2:
        return 1.0
    best, second = scores.topk(2, dim=0).values
    return float((best - second).mean())


def disagreement(before: Tensor, after: Tensor) -> float:
    """Tell how much a refinement changed the labels of an image.

    Args:
        before: [C+1, H, W], background first.
        after: The same after refinement.

    Returns:
        1 minus the mean IoU of the pixels that either gives to each class
        and to the background, in 0..1. What neither has does not count.
    """
    kinds = torch.arange(len(before))[:, None, None]
    one, other = (scores.argmax(0) == kinds for scores in (before, after))
    both = (one & other).sum((1, 2)).double()
    either = (one | other).sum((1, 2))
    return float(1 - (both / either)[either > 0].mean())


def tag_doubt(scores: Tensor, tags: Tensor) -> Tensor:
    """Doubt each tag, and each tag that is not there.

    Args:
        scores: [N, L] in 0..1, the classifier's.
        tags: Boolean [N, L].

    Returns:
        [N, L] in 0..1: how far the score of a tag falls short of 1, and how
        far that of another class is above 0.
    """
    return torch.where(tags, 1 - scores, scores)


def percentiles(values: Tensor) -> Tensor:
    """Tell how high each value is among all.

    Args:
        values: [N].

    Returns:
        float64 [N] in 0..1: the share of the others that are lower.
    """
    ordered = values.sort().values
    lower = torch.searchsorted(ordered, values.contiguous())
    return lower.double() / max(1, len(values) - 1)


def shortfall(shares: Tensor, tags: Tensor, part: float = 0.25) -> Tensor:
    """Tell how nearly a tagged class is missing from its label.

    What is much for a scratch is little for a cow, so a share is held
    against those of the same class in other images.

    Args:
        shares: [N, L] of the labels' pixels, in 0..1.
        tags: Boolean [N, L].
        part: Of a class's median share, over the images that have it; above
            it nothing is missing.

    Returns:
        [N, L] in 0..1: 1 for a class without a pixel, falling to 0; 0 where
        there is no tag.
    """
    missing = torch.zeros_like(shares)
    for number, shown in enumerate(tags.T):
        if shown.any():
            wanted = part * shares[shown, number].median()
            short = 1 - shares[shown, number] / wanted.clamp(min=1e-12)
            missing[shown, number] = short.clamp(0, 1)
    return missing
