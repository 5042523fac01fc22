"""Pixel-adaptive refinement: scores flow between pixels of like colour.

The mask refinement (PAMR) of Araslanov and Roth, *Single-stage semantic
segmentation from image labels*, CVPR 2020.

Shape shorthand: L labels, H x W pixels, K neighbours of a pixel, 8 for each
dilation.
"""

from collections.abc import Iterator, Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

# Differences count in tenths of the standard deviation, as in the authors'
# code: a neighbour that is one deviation away weighs e^-10.
_SOFTNESS = 0.1


def pixel_adaptive(
    image: Tensor,
    scores: Tensor,
    *,
    iterations: int = 10,
    dilations: Sequence[int] = (1, 2, 4, 8, 12, 24),
    half_resolution: bool = False,
) -> Tensor:
    """Refine scores along the edges of an image.

    Every step replaces a pixel's scores by a weighted mean of its
    neighbours', without its own. The weights are a softmax of minus the
    colour difference over the local standard deviation, averaged over the
    channels; the deviation is that of the pixel and its neighbours, so
    brightness and contrast of the image do not matter. Neighbours outside the
    image do not count; a pixel without neighbours keeps its scores.

    Args:
        image: Float [D, H, W], D channels.
        scores: Float [L, H, W].
        iterations: Steps, 0 or more.
        dilations: Distances in pixels, each >= 1, at which a pixel has its 8
            neighbours.
        half_resolution: Refine the means of 2 x 2 pixels and enlarge the
            result: a quarter of the work, twice the reach, softer edges.

    Returns:
        [L, H, W] within the range of ``scores``; sums over the labels that
        are the same everywhere stay what they are.

    Raises:
        ValueError: If image and scores are of different sizes.
    """
    if image.dim() != 3 or image.shape[1:] != scores.shape[1:]:
        raise ValueError(
            f'image {list(image.shape)} must be [channels, H, W] of the size '
            f'of the scores {list(scores.shape)}'
        )
    if half_resolution:
        size = [(side + 1) // 2 for side in scores.shape[1:]]
        small = (
            interpolate(maps[None], size, mode='area')[0]
            for maps in (image, scores)
        )
        refined = pixel_adaptive(
            *small, iterations=iterations, dilations=dilations
        )
        return interpolate(refined[None], scores.shape[1:], mode='bilinear')[0]
    offsets = [
        (d * y, d * x)
        for d in dilations
        for y, x in product((-1, 0, 1), repeat=2)
        if (y, x) != (0, 0)
    ]
    weights = _weights(image, offsets)
    for _ in range(iterations):
        around = _neighbours(scores, [(0, 0), *offsets])
        refined = torch.zeros_like(scores)
        for weight, neighbour in zip(weights, around, strict=True):
            refined.addcmul_(weight, neighbour)
        scores = refined
    return scores


def _weights(image: Tensor, offsets: list[tuple[int, int]]) -> Tensor:
    """Weigh each pixel (only where it is alone) and its neighbours.

    Returns:
        [1 + K, H, W], sum 1 over the first axis.
    """
    inside = torch.stack(list(_neighbours(torch.ones_like(image[0]), offsets)))
    count = 1 + inside.sum(dim=0)
    total, squares = torch.zeros_like(image), torch.zeros_like(image)
    for value, there in zip(_neighbours(image, offsets), inside, strict=True):
        gap = (value - image) * there
        total += gap
        squares += gap**2
    variance = (squares / count - (total / count) ** 2).clamp(min=0)
    # Where the deviation is 0, so is the difference: 0 / 1.
    unit = torch.where(variance > 0, _SOFTNESS * variance.sqrt(), 1)
    likeness = [torch.where(count == 1, 0, -torch.inf)]
    for value, there in zip(_neighbours(image, offsets), inside, strict=True):
        distance = ((value - image).abs() / unit).mean(dim=0)
        likeness.append((-distance).masked_fill(there == 0, -torch.inf))
    return torch.stack(likeness).softmax(dim=0)


def _neighbours(
    maps: Tensor, offsets: list[tuple[int, int]]
) -> Iterator[Tensor]:
    """Shift maps [..., H, W] so that neighbours come to lie on a pixel.

    Yields:
        The maps once an offset; 0 outside the image.
    """
    height, width = maps.shape[-2:]
    reach = max(max(map(abs, offset)) for offset in offsets)
    wide = pad(maps, (reach,) * 4)
    for y, x in offsets:
        rows = slice(reach + y, reach + y + height)
        yield wide[..., rows, reach + x : reach + x + width]
