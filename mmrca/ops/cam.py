"""Class activation maps as numbers: pooling, normalising, thresholds.

Shape shorthand: N images, L classes, h x w feature cells, H x W pixels,
T thresholds.
"""

import torch
from torch import Tensor


def valid_cells(
    image_sizes: Tensor, input_size: tuple[int, int], map_size: tuple[int, int]
) -> Tensor:
    """Tell the feature cells that look at the image from those in padding.

    A cell counts when its centre lies inside the image.

    Args:
        image_sizes: [N, 2] height and width in pixels of each image before
            padding at the bottom and the right.
        input_size: Height and width in pixels of the padded batch.
        map_size: Height and width (h, w) in cells of the feature map.

    Returns:
        Boolean [N, h, w].
    """
    device = image_sizes.device
    rows, cols = (
        (torch.arange(cells, device=device) + 0.5) * (pixels / cells)
        for pixels, cells in zip(input_size, map_size, strict=True)
    )
    inside_rows = rows[None, :] < image_sizes[:, :1]
    inside_cols = cols[None, :] < image_sizes[:, 1:]
    return inside_rows[:, :, None] & inside_cols[:, None, :]


def masked_mean(maps: Tensor, mask: Tensor) -> Tensor:
    """Average maps over the cells of a mask (GAP of eq. 1 without padding).

    Args:
        maps: [..., h, w].
        mask: Boolean, broadcastable to ``maps``.

    Returns:
        [...], 0 where the mask is empty.
    """
    weight = mask.to(maps.dtype).expand_as(maps)
    total = (maps * weight).sum(dim=(-2, -1))
    return total / weight.sum(dim=(-2, -1)).clamp(min=1)


def normalize_cam(cam: Tensor, valid: Tensor | None = None) -> Tensor:
    """Clip a map below 0 and divide it by its spatial maximum.

    Args:
        cam: [..., h, w] raw logits.
        valid: Boolean, broadcastable to ``cam``; cells outside become 0.

    Returns:
        [..., h, w] in 0..1; a map without a positive cell stays 0.
    """
    cam = cam.clamp(min=0)
    if valid is not None:
        cam = cam * valid
    peak = cam.amax(dim=(-2, -1), keepdim=True)
    return cam / torch.where(peak > 0, peak, torch.ones_like(peak))


def normalize_cams(cams: Tensor, how: str) -> Tensor:
    """Bring the maps of each image to 0..1.

    Args:
        cams: [..., C, H, W] logits of the classes present.
        how: ``'class'`` divides each map, cut at 0, by its own maximum;
            ``'image'`` divides all maps, cut at 0, by the highest value of
            the image, so a class that is hardly seen stays low.

    Returns:
        [..., C, H, W] in 0..1. A map that is nowhere positive is 0.
    """
    if how == 'class' or not cams.shape[-3]:
        return normalize_cam(cams)
    return normalize_cam(cams.flatten(-3, -2)).view_as(cams)


def threshold_histogram(
    score: Tensor,
    winner: Tensor,
    target: Tensor,
    num_classes: int,
    num_thresholds: int,
) -> Tensor:
    """Count the pixels of one image by score, truth and best class.

    The sum over images holds what the segmentation at every background
    threshold is measured by, see :func:`histogram_confusion`.

    Args:
        score: [H, W] in 0..1, the highest map of the present classes.
        winner: Integer [H, W], its class l.
        target: Integer [H, W]: 0 background, l + 1 for class l; anything
            above L is ignored.
        num_classes: L.
        num_thresholds: T.

    Returns:
        int64 [T + 1, L + 1, L]: at how many of the thresholds the score is
        above, truth, best class.
    """
    valid = target <= num_classes
    above = (score * num_thresholds).ceil().long().clamp(max=num_thresholds)
    side = num_classes + 1
    cell = (above * side + target) * num_classes + winner
    counts = torch.bincount(
        cell[valid], minlength=(num_thresholds + 1) * side * num_classes
    )
    return counts.view(num_thresholds + 1, side, num_classes)


def histogram_confusion(histogram: Tensor) -> Tensor:
    """Confusion of the segmentation at every background threshold.

    At threshold t a pixel is background when no map of a present class
    exceeds t, else it takes the class of the highest map.

    Args:
        histogram: [T + 1, L + 1, L] from :func:`threshold_histogram`; the
            thresholds are 0, 1 / T, ..., (T - 1) / T.

    Returns:
        [T, L + 1, L + 2] pixel counts (int64) in the layout of
        :func:`mmrca.ops.metrics.confusion_matrix`; no pixel is predicted
        255, so the last column is 0.
    """
    total = histogram.sum(dim=0)
    below = histogram.cumsum(dim=0)[:-1]
    background = below.sum(dim=2, keepdim=True)
    return torch.cat(
        [background, total - below, torch.zeros_like(background)], dim=2
    )


def threshold_confusion(
    cam: Tensor, labels: Tensor, target: Tensor, num_thresholds: int
) -> Tensor:
    """Confusion of CAM segmentation at every background threshold at once.

    Args:
        cam: [L, H, W] normalised maps in 0..1.
        labels: [L] 1 for the classes of the image, 0 elsewhere.
        target: Integer [H, W]: 0 background, l + 1 for class l; anything
            above L is ignored.
        num_thresholds: T.

    Returns:
        As :func:`histogram_confusion`.
    """
    score, winner = (cam * labels[:, None, None]).max(dim=0)
    return histogram_confusion(
        threshold_histogram(score, winner, target, len(cam), num_thresholds)
    )
