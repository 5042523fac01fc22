"""From CAMs to pseudo-labels: background cues and the fusion rule.

Shape shorthand: C classes present in the image, H x W pixels.

One rule says where a pseudo-label is unsure: the best score leads the second
by less than a **margin**. It makes a band around a constant background
threshold, catches two classes that claim the same pixel, and reads the
posterior of a CRF (whose scores sum to one) the same way as CAM values. Most
of a CRF's marginals are close to 0 or 1, though, so there the same margin
leaves far fewer pixels unlabelled.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmrca.ops import IGNORE_INDEX


def background_power(cam: Tensor, alpha: float) -> Tensor:
    """Background cue: where no class is active, ``(1 - max_c cam) ** alpha``.

    Args:
        cam: [C, H, W] in 0..1. C may be 0, then the cue is 1.
        alpha: Exponent > 0. The higher, the less background.

    Returns:
        [H, W] in 0..1.
    """
    if not len(cam):
        return cam.new_ones(cam.shape[-2:])
    return (1 - cam.amax(0)).clamp(min=0) ** alpha


def fuse(
    foreground: Tensor,
    background: Tensor,
    classes: Sequence[int],
    margin: float,
) -> Tensor:
    """Give every pixel the class of its best score, or leave it unlabelled.

    Args:
        foreground: [C, H, W], a score per class present in the image. C may
            be 0: then every pixel is background.
        background: [H, W], the score of the background.
        classes: The C class numbers (0-based, without background).
        margin: A pixel is unlabelled where its best score leads the second by
            less than this. At 0 all are labelled; equal scores then go to the
            background first, next to the class that comes first.

    Returns:
        uint8 [H, W]: 0 background, c + 1 for class c, 255 where unlabelled.

    Raises:
        ValueError: If the shapes do not fit or a score is not finite.
    """
    _check_scores(foreground, background, classes)
    scores = torch.cat([background[None], foreground])
    values = [0, *(number + 1 for number in classes)]
    labels = torch.tensor(values, dtype=torch.uint8, device=scores.device)
    best, winner = scores.max(0, keepdim=True)
    labels = labels[winner[0]]
    if not classes or margin == 0:
        return labels
    second = scores.scatter(0, winner, -torch.inf).amax(0)
    return labels.masked_fill(best[0] - second < margin, IGNORE_INDEX)


def conflict(cams: Tensor, threshold: float) -> Tensor:
    """Find the pixels that two or more classes claim.

    Args:
        cams: [C, H, W] in 0..1.
        threshold: From where on a class claims a pixel, in 0..1.

    Returns:
        Boolean [H, W].
    """
    return (cams >= threshold).sum(0) > 1


def background_conflict(labels: Tensor, background: Tensor) -> Tensor:
    """Find the pixels where labels and the background cue disagree.

    Args:
        labels: uint8 [H, W] from :func:`fuse`.
        background: [H, W] in 0..1; above .5 a pixel is background.

    Returns:
        Boolean [H, W]: background where the cue says foreground, or a class
        where it says background. Unlabelled pixels are False.
    """
    decided = labels != IGNORE_INDEX
    return decided & ((labels > 0) != (background <= 0.5))


def _check_scores(
    foreground: Tensor, background: Tensor, classes: Sequence[int]
) -> None:
    wanted = (len(classes), *background.shape)
    if background.dim() != 2 or foreground.shape != wanted:
        raise ValueError(
            f'scores of shape {list(foreground.shape)} do not fit '
            f'{len(classes)} classes and a background of shape '
            f'{list(background.shape)}'
        )
    if not (foreground.isfinite().all() and background.isfinite().all()):
        raise ValueError('a score is not finite (nan or infinity)')
