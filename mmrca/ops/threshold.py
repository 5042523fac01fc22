"""A background threshold for CAMs, chosen without masks.

An object and its surroundings differ in colour. At every threshold the CAMs
say which pixels are foreground; what a pixel's colour tells about that, the
mutual information, is low where the threshold takes in the surroundings and
low where it leaves out the object. The threshold at which it peaks says
little about one image, whose background may be of many colours; its mean over
a hundred images or more is a good threshold for all of them.

Colours alone take a leaf for the rust on it. Maps of classes that an image
does not have show such mistakes: where a healthy leaf looks rusty, too, the
threshold has to be higher. Of both the higher counts::

    found = [colour_threshold(image, cam) for image, cam in ...]
    floor = absence_threshold(present, absent, 'class')
    threshold = choose_threshold(found, floor)

A refinement moves scores, and the threshold has to move with them:
:func:`carry_threshold`.

Shape shorthand: C classes present in the image, H x W pixels, h x w feature
cells, T thresholds.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# Colours are told apart by the three highest bits of each channel.
_DROPPED_BITS = 5
_COLOURS = 8**3
# Peaks are flat and lean to low thresholds: a fringe of surroundings costs
# little where it brings in the rest of the object. Of thresholds that are
# about as good, take the highest.
_KEPT = 0.98
_ROUNDING = 1e-9
# Of the foreground of images with a class, what may be mistaken.
_MISTAKEN = 0.25
# Where images tell nothing.
_CUSTOMARY = 0.3


def colour_information(
    image: Tensor, cam: Tensor, num_thresholds: int
) -> Tensor:
    """Measure what colours tell about the foreground, at every threshold.

    At threshold t the pixels where a map exceeds t are foreground. Measured
    is the mutual information between a pixel's being foreground and its
    colour, which is one of 512.

    Args:
        image: uint8 [H, W, 3]; the order of the channels does not matter.
        cam: [C, H, W] in 0..1, the normalised maps of the image's classes.
            C may be 0; then nothing is foreground.
        num_thresholds: T; the thresholds are 0, 1 / T, ..., (T - 1) / T, as
            in :func:`mmrca.ops.cam.threshold_confusion`.

    Returns:
        float64 [T] in 0..1, bits a pixel, on the device of ``cam``; 0 where
        all pixels or none are foreground.

    Raises:
        ValueError: If ``image`` has another type or shape, or another size
            than ``cam``.
    """
    if image.dtype != torch.uint8 or image.shape != (*cam.shape[1:], 3):
        raise ValueError(
            f'image {list(image.shape)} of {image.dtype} must be uint8 '
            f'[H, W, 3] of the size of the CAMs {list(cam.shape)}'
        )
    levels = image.to(cam.device).long() >> _DROPPED_BITS
    colour = (levels * levels.new_tensor([64, 8, 1])).sum(dim=2)
    score = cam.amax(dim=0) if len(cam) else cam.new_zeros(cam.shape[1:])
    # A pixel is foreground at the first `above` thresholds.
    above = (score * num_thresholds).ceil().long().clamp(max=num_thresholds)
    counts = torch.bincount(
        (above * _COLOURS + colour).flatten(),
        minlength=(num_thresholds + 1) * _COLOURS,
    ).view(num_thresholds + 1, _COLOURS)
    total = counts.sum(dim=0)
    background = counts.cumsum(dim=0)[:num_thresholds]
    joint = torch.stack([background, total - background], dim=1)
    both = _entropy(joint.flatten(1))
    return (_entropy(joint.sum(2)) + _entropy(total) - both).clamp(min=0)


def colour_threshold(
    image: Tensor, cam: Tensor, num_thresholds: int = 100
) -> float:
    """Find the threshold at which colours tell most about the foreground.

    Args:
        image: uint8 [H, W, 3], as for :func:`colour_information`.
        cam: [C, H, W] in 0..1.
        num_thresholds: T; the threshold is a multiple of 1 / T.

    Returns:
        The highest threshold that keeps 98 % of the peak of the image's
        :func:`colour_information`; nan where that is 0 at all of them.

    Raises:
        ValueError: As :func:`colour_information`.
    """
    information = colour_information(image, cam, num_thresholds)
    peak = information.max()
    if not peak > _ROUNDING:
        return math.nan
    kept = (information >= _KEPT * peak).nonzero()
    return float(kept[-1]) / num_thresholds


def absence_threshold(
    present: Sequence[Tensor],
    absent: Sequence[Tensor],
    normalization: str,
    num_thresholds: int = 100,
) -> float:
    """Find from where on a map tells images with its class from those without.

    In images without a class all of its foreground is a mistake. The share of
    cells above a threshold there, over that in images with the class, says
    how much of the foreground is mistaken if the backgrounds are alike.

    Args:
        present: Maps [C, h, w] of the classes that an image shows, >= 0 and
            not normalised; an entry an image.
        absent: Maps [C, h, w] of classes that an image does not show, of the
            same network at the same scale.
        normalization: As :func:`mmrca.ops.cam.normalize_cams`, of the maps
            that the threshold is for. A map's maximum, or an image's, says
            nothing where the class is absent; the median of those of
            ``present`` takes its place.
        num_thresholds: T; the threshold is a multiple of 1 / T.

    Returns:
        The lowest threshold at which at most a quarter is mistaken; 0 where
        there is none, or no map.
    """
    over = (0, 1, 2) if normalization == 'image' else (1, 2)
    highest = [maps.amax(dim=over).flatten() for maps in present if len(maps)]
    peaks = torch.cat([torch.zeros(0), *highest])
    peaks = peaks[peaks > 0]
    if not len(peaks) or not sum(map(len, absent)):
        return 0.0
    steps = torch.arange(num_thresholds, dtype=torch.float64)
    levels = steps / num_thresholds * peaks.double().median()
    shown, mistaken = (_share_above(m, levels) for m in (present, absent))
    good = (mistaken <= _MISTAKEN * shown).nonzero()
    return float(good[0]) / num_thresholds if len(good) else 0.0


def choose_threshold(found: Sequence[float], floor: float = 0.0) -> float:
    """Average over images, and take the floor where that is lower.

    Args:
        found: :func:`colour_threshold` of a hundred images or more. nan is
            left out.
        floor: :func:`absence_threshold` of the same images.

    Returns:
        The higher of the mean and ``floor``, rounded to hundredths; what lies
        below is noise. Where no image tells a threshold the customary .3
        takes the place of the mean.
    """
    told = [threshold for threshold in found if not math.isnan(threshold)]
    mean = sum(told) / len(told) if told else _CUSTOMARY
    return round(max(mean, floor), 2)


def carry_threshold(threshold: float, before: Tensor, after: Tensor) -> float:
    """Move a threshold with maps that were changed.

    As much is foreground afterwards as before: maps that spread want a higher
    threshold, and a lower one where they shrink.

    Args:
        threshold: For the maps before, in 0..1.
        before: [T], how many pixels have their highest score in each of T
            equal parts of 0..1.
        after: [T], of the same images, changed.

    Returns:
        The multiple of 1 / T where the pixels from there on are as many as
        before; the one nearest to ``threshold`` if several are.
    """
    counts = torch.stack([before, after]).double()
    shares = counts.flip(1).cumsum(1).flip(1) / counts.sum(1, keepdim=True)
    parts = len(before)
    first = min(round(threshold * parts), parts - 1)
    off = (shares[1] - shares[0, first]).abs()
    nearest = (off <= off.min() + _ROUNDING).nonzero().flatten()
    return float(nearest[(nearest - first).abs().argmin()]) / parts


def _share_above(maps: Sequence[Tensor], levels: Tensor) -> Tensor:
    """Mean over maps [C, h, w] of the share of cells above levels: [T]."""
    shares = [
        1 - torch.searchsorted(cells.sort().values, levels, side='right')
        / len(cells)
        for image in maps
        for cells in image.double().flatten(1)
    ]  # fmt: skip
    return torch.stack(shares).mean(dim=0)


def _entropy(counts: Tensor) -> Tensor:
    """Entropy in bits of each row of counts [..., K]."""
    share = counts.double() / counts.sum(dim=-1, keepdim=True)
    return -torch.xlogy(share, share).sum(dim=-1) / math.log(2)
