"""Maps of how much more a cell resembles a class than the background.

Shape shorthand: N images, L classes, K prototypes a class, B background
prototypes, D channels, h x w feature cells.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .region import confident_masks, region_embeddings


def concat_stages(stages: Sequence[Tensor]) -> Tensor:
    """Join feature maps of several stages, each of the same weight.

    Args:
        stages: [N, D_s, h_s, w_s] each; the last one's grid is the result's,
            to which the others are averaged.

    Returns:
        [N, D, h, w] with D the sum of D_s. A cell's features have length 1,
        or 0 where every stage is 0.
    """
    height, width = stages[-1].shape[2:]
    units = (F.normalize(stage, dim=1) for stage in stages)
    pooled = [F.adaptive_avg_pool2d(unit, (height, width)) for unit in units]
    return F.normalize(torch.cat(pooled, dim=1), dim=1)


def prototype_cam(
    features: Tensor,
    prototypes: Tensor,
    valid: Tensor,
    background: Tensor,
    background_valid: Tensor,
    temperature: float,
) -> Tensor:
    """Compare cells with prototypes of classes and of the background.

    The logit is the log of the mean of exp(cosine / temperature) over a
    class's prototypes, minus the same over the background's.

    Args:
        features: [N, D, h, w].
        prototypes: [L, K, D].
        valid: Boolean [L, K].
        background: [B, D].
        background_valid: Boolean [B].
        temperature: Divides the cosines.

    Returns:
        Logits [N, L, h, w], above 0 where a cell resembles the class more.
        A class without a valid prototype is 0 everywhere, which says
        nothing. Without a valid background prototype, the background's
        part is that of a cosine of 0.
    """
    cells = F.normalize(features.flatten(2), dim=1)

    def likeness(keys: Tensor, valid: Tensor) -> Tensor:
        keys = F.normalize(keys.to(cells.dtype), dim=-1)
        cosine = torch.einsum('...kd,ndp->n...kp', keys, cells)
        return _log_mean_exp(cosine / temperature, valid[..., None])

    seen = valid.any(dim=1)[:, None]
    logits = likeness(prototypes, valid)
    logits = logits - likeness(background, background_valid)[:, None]
    return (logits * seen).reshape(*logits.shape[:2], *features.shape[2:])


def image_prototype_cam(
    features: Tensor,
    logits: Tensor,
    present: Tensor,
    valid: Tensor,
    region: float,
    background: float,
    temperature: float,
) -> Tensor:
    """Compare cells with the same image's most confident cells.

    As :func:`prototype_cam`, with one prototype a class and one of the
    background, made of the image itself: the mean features of the cells that
    belong to a class by its map, and of those that belong to none.

    Args:
        features: [N, D, h, w].
        logits: [N, L, h, w], the maps so far.
        present: Boolean [N, L], the image-level labels.
        valid: Boolean [N, h, w], False in padding.
        region: Share of a map's maximum that a class's cells exceed; a cell
            belongs to one class, whose map is the highest.
        background: Share of their maximum below which the maps of all
            present classes lie in the background.
        temperature: Divides the cosines.

    Returns:
        Logits [N, L, h, w], 0 for a class without a cell of its own and for
        an image without background.
    """
    masks, rest = confident_masks(logits, present, valid, region, background)
    shown = logits.masked_fill(~present[..., None, None], -torch.inf)
    masks = masks & (shown == shown.amax(dim=1, keepdim=True))
    rows, exists = region_embeddings(
        features, torch.cat([masks, rest[:, None]], dim=1)
    )
    exists = exists & exists[:, -1:]
    maps = [
        prototype_cam(cells[None], row[:-1, None], there[:-1, None],
                     row[-1:], there[-1:], temperature)
        for cells, row, there in zip(features, rows, exists, strict=True)
    ]  # fmt: skip
    return torch.cat(maps)


def self_similarity_mean(
    features: Tensor, maps: Tensor, valid: Tensor, threshold: float
) -> Tensor:
    """Average maps over similar cells of an image.

    A cell weighs the others, and itself, by how far their cosine is above
    the threshold; at a threshold of 0 that is eq. 5 of SEAM (Wang et al.,
    CVPR 2020), but for the sum of the weights, which is 1 here.

    Args:
        features: [N, D, h, w].
        maps: [N, L, h, w].
        valid: Boolean [N, h, w]; what is False weighs nothing.
        threshold: Cosine above which cells are similar, -1..1.

    Returns:
        [N, L, h, w]; cells without similar cells are unchanged.
    """
    cells = F.normalize(features.flatten(2), dim=1)
    values, valid = maps.flatten(2), valid.flatten(1)[:, None]
    parts = []
    # All pairs of cells at a time would fill the memory at a small stride.
    for first in range(0, cells.shape[2], 256):
        part, own = (x[..., first : first + 256] for x in (cells, values))
        weights = (part.mT @ cells - threshold).clamp(min=0) * valid
        total = weights.sum(dim=2)[:, None]
        mean = values @ weights.mT / torch.where(total > 0, total, 1)
        parts.append(torch.where(total > 0, mean, own))
    return torch.cat(parts, dim=2).view_as(maps)


def _log_mean_exp(values: Tensor, valid: Tensor) -> Tensor:
    """Over the valid entries of the second-last dimension, else 0."""
    count = valid.sum(dim=-2)
    # Minus infinity would have no gradient where nothing is valid.
    floor = torch.finfo(values.dtype).min
    total = values.masked_fill(~valid, floor).logsumexp(dim=-2)
    mean = total - count.clamp(min=1).to(values.dtype).log()
    return torch.where(count > 0, mean, torch.zeros_like(mean))
