"""From the CAMs of one image to its pseudo-label.

Shape shorthand: C classes of the image, H x W pixels.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import mmcv
import numpy as np
import torch
from torch import Tensor

from mmrca.inference import Cams, enlarge_cams
from mmrca.ops.cam import normalize_cams
from mmrca.ops.pixel_adaptive import pixel_adaptive
from mmrca.ops.pseudo_label import (
    IGNORE_INDEX,
    background_constant,
    background_power,
    conflict,
    fuse,
    minimum_foreground,
    saliency_conflict,
)
from mmrca.pseudo_labels.dense_crf import dense_crf
from mmrca.pseudo_labels.settings import AUTO, Settings


class Label(NamedTuple):
    """A pseudo-label and what it was made of, for the figures.

    Attributes:
        labels: uint8 [H, W], as :func:`mmrca.ops.pseudo_label.fuse`.
        cams: [C, H, W] in 0..1.
        cue: [H, W], the background's score.
        refined: [C+1, H, W] after refinement, background first; None
            without.
    """

    labels: Tensor
    cams: Tensor
    cue: Tensor
    refined: Tensor | None


def label_image(
    image: np.ndarray,
    cams: Cams,
    size: tuple[int, int],
    settings: Settings,
    saliency: np.ndarray | None = None,
    device: str = 'cpu',
) -> tuple[np.ndarray, Label]:
    """Label an image that may have been shrunk.

    Args:
        image: uint8 [H, W, 3], BGR.
        cams: As the model gave them.
        size: Height and width of the labels wanted.
        settings: With a background threshold that is a number.
        saliency: [H, W] in 0..1, needed by the saliency cue.
        device: Where to compute.

    Returns:
        The labels, uint8 of that size, and what they were made of, on the
        CPU and of the image's size.
    """
    maps = enlarge_cams(cams, image.shape[:2], settings.normalization, device)
    label = label_pixels(image, maps, cams.classes, settings, saliency)
    label = Label(*(v if v is None else v.cpu() for v in label))
    labels = mmcv.imresize(
        label.labels.numpy(), size[::-1], interpolation='nearest'
    )
    return labels, label


def label_pixels(
    image: np.ndarray,
    cams: Tensor,
    classes: Sequence[int],
    settings: Settings,
    saliency: np.ndarray | None = None,
) -> Label:
    """Turn CAMs into labels: cue, refinement, fusion.

    Args:
        image: uint8 [H, W, 3], BGR.
        cams: [C, H, W] in 0..1.
        classes: The C class numbers, 0-based.
        settings: With a background threshold that is a number.
        saliency: [H, W] in 0..1, needed by the saliency cue.
    """
    cue = background_cue(cams, settings.background, saliency)
    scores = torch.cat([cue[None], cams])
    refined = refine(image, scores, settings.refinement)
    labels = fuse(refined[1:], refined[0], classes, settings.margin)
    if settings.conflict is not None:
        both = conflict(cams, settings.conflict)
        labels = labels.masked_fill(both, IGNORE_INDEX)
    if settings.background.get('conflict'):
        wrong = saliency_conflict(labels, torch.as_tensor(saliency))
        labels = labels.masked_fill(wrong, IGNORE_INDEX)
    labels = minimum_foreground(
        labels, refined[1:], classes, settings.min_foreground
    )
    unrefined = settings.refinement is None
    return Label(labels, cams, cue, None if unrefined else refined)


def background_cue(
    cams: Tensor, background: dict, saliency: np.ndarray | None
) -> Tensor:
    """Compute the background's score.

    Args:
        cams: [C, H, W] in 0..1.
        background: As in :class:`Settings`.
        saliency: [H, W] in 0..1, needed by the type ``'saliency'``.

    Returns:
        [H, W] in 0..1.
    """
    if background['type'] == 'constant':
        return background_constant(cams, background['threshold'])
    if background['type'] == 'power':
        return background_power(cams, background['alpha'])
    return 1 - torch.as_tensor(saliency).to(cams)


def refine(
    image: np.ndarray, scores: Tensor, refinement: dict | None
) -> Tensor:
    """Pull scores to the edges of the image.

    Args:
        image: uint8 [H, W, 3], BGR.
        scores: [C+1, H, W], background first.
        refinement: As in :class:`Settings`.

    Returns:
        [C+1, H, W]; after a dense CRF they sum to 1 at each pixel.
    """
    if refinement is None:
        return scores
    options = {k: v for k, v in refinement.items() if k != 'type'}
    rgb = image[..., ::-1].copy()
    if refinement['type'] == 'dense_crf':
        return dense_crf(rgb, scores, **options)
    pixels = torch.from_numpy(rgb).permute(2, 0, 1).to(scores)
    return pixel_adaptive(pixels, scores, **options)


def settle_threshold(settings: Settings, threshold: float) -> Settings:
    """Put a number in the place of the threshold ``'auto'``, if it is that."""
    if settings.background.get('threshold') != AUTO:
        return settings
    background = dict(settings.background, threshold=threshold)
    return replace(settings, background=background)


def rehearse(settings: Settings) -> None:
    """Label a tiny image, so that a bad value shows before the long work.

    Raises:
        ValueError: If a value of the settings is no good.
    """
    if not isinstance(settings.max_side, int) or settings.max_side < 1:
        raise ValueError(
            f'pseudo_label.max_side {settings.max_side!r} must be a whole '
            'number of pixels, 1 or more'
        )
    settings = settle_threshold(settings, 0.5)
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    cams = torch.full((1, 2, 2), 0.5)
    try:
        normalize_cams(cams, settings.normalization)
        label_pixels(image, cams, [0], settings, np.zeros((2, 2)))
    except (TypeError, ImportError) as error:
        raise ValueError(f'pseudo_label: {error}') from error
