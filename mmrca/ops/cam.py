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


def threshold_confusion(
    cam: Tensor, labels: Tensor, target: Tensor, num_thresholds: int
) -> Tensor:
    """Confusion of CAM segmentation at every background threshold at once.

    At threshold t a pixel is background when no map of a present class
    exceeds t, else it takes the class of the highest map.

    Args:
        cam: [L, H, W] normalised maps in 0..1.
        labels: [L] 1 for the classes of the image, 0 elsewhere.
        target: Integer [H, W]: 0 background, l + 1 for class l; anything
            above L is ignored.
        num_thresholds: T; the thresholds are 0, 1 / T, ..., (T - 1) / T.

    Returns:
        [T, L + 1, L + 2] pixel counts (int64) in the layout of
        :func:`mmrca.ops.metrics.confusion_matrix`; no pixel is predicted
        255, so the last column is 0.
    """
    num_classes = cam.shape[0]
    score, winner = (cam * labels[:, None, None]).max(dim=0)
    known = target <= num_classes
    # A pixel is foreground at the first `above` thresholds.
    above = (score * num_thresholds).ceil().long().clamp(max=num_thresholds)
    side = num_classes + 1
    cell = (above * side + target) * num_classes + winner
    counts = torch.bincount(
        cell[known], minlength=(num_thresholds + 1) * side * num_classes
    ).view(num_thresholds + 1, side, num_classes)
    total = counts.sum(dim=0)
    below = counts.cumsum(dim=0)[:num_thresholds]
    background = below.sum(dim=2, keepdim=True)
    return torch.cat(
        [background, total - below, torch.zeros_like(background)], dim=2
    )
