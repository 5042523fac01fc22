"""Maps of how much more a cell resembles a class than the background.

Shape shorthand: N images, L classes, K prototypes a class, B background
prototypes, D channels, h x w feature cells.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


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


def affinity_map(
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
        A class without a valid prototype is 0 everywhere, which is no
        evidence. Without a valid background prototype, the background's
        part is that of a cosine of 0.
    """
    cells = F.normalize(features.flatten(2), dim=1)

    def likeness(keys: Tensor, known: Tensor) -> Tensor:
        keys = F.normalize(keys.to(cells.dtype), dim=-1)
        cosine = torch.einsum('...kd,ndp->n...kp', keys, cells)
        return _log_mean_exp(cosine / temperature, known[..., None])

    seen = valid.any(dim=1)[:, None]
    logits = likeness(prototypes, valid)
    logits = logits - likeness(background, background_valid)[:, None]
    return (logits * seen).reshape(*logits.shape[:2], *features.shape[2:])


def _log_mean_exp(values: Tensor, known: Tensor) -> Tensor:
    """Over the known of the last dimension but one; 0 where none is."""
    count = known.sum(dim=-2)
    # Minus infinity would have no gradient where nothing is known.
    floor = torch.finfo(values.dtype).min
    total = values.masked_fill(~known, floor).logsumexp(dim=-2)
    mean = total - count.clamp(min=1).to(values.dtype).log()
    return torch.where(count > 0, mean, torch.zeros_like(mean))
