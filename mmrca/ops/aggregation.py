"""Semantic aggregation of prototypes (section 3.3).

Shape shorthand: N images, L classes, K prototypes a class, D channels,
h x w feature cells.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def affinity(
    features: Tensor,
    prototypes: Tensor,
    valid: Tensor,
    temperature: float,
    cosine: bool,
    softmax: bool = True,
) -> Tensor:
    """Affinity of cells and prototypes: S = softmax(F Q^T) (eq. 8).

    Args:
        features: [N, D, h, w].
        prototypes: [L, K, D].
        valid: Boolean [L, K]; others get affinity 0.
        temperature: Divides the similarity before the softmax.
        cosine: Compare directions; otherwise the plain dot product.
        softmax: Make shares of the similarities; otherwise they stay what
            they are.

    Returns:
        [N, h * w, L * K]; rows of shares sum to 1, or to 0 when nothing is
        valid.
    """
    cells = features.flatten(2).transpose(1, 2)
    keys = prototypes.flatten(0, 1).to(features.dtype)
    if cosine:
        cells, keys = F.normalize(cells, dim=-1), F.normalize(keys, dim=-1)
    similarity = cells @ keys.T / temperature
    valid = valid.flatten()
    if not softmax:
        return similarity.masked_fill(~valid, 0)
    floor = torch.finfo(similarity.dtype).min
    return similarity.masked_fill(~valid, floor).softmax(dim=-1) * valid


def aggregate(
    features: Tensor,
    prototypes: Tensor,
    valid: Tensor,
    temperature: float,
    cosine: bool,
    softmax: bool = True,
    values: Tensor | None = None,
) -> Tensor:
    """What the data set knows about each cell: F' = S Q (eq. 9).

    Args:
        features: [N, D, h, w].
        prototypes: [L, K, D].
        valid: Boolean [L, K].
        temperature: Divides the similarity before the softmax.
        cosine: Compare directions; otherwise the plain dot product.
        softmax: As in :func:`affinity`.
        values: [L, K, D], summed in place of the prototypes.

    Returns:
        [N, D, h, w], all 0 when no prototype is valid.
    """
    share = affinity(features, prototypes, valid, temperature, cosine, softmax)
    summed = (prototypes if values is None else values).flatten(0, 1)
    mixture = share @ summed.to(share.dtype)
    return mixture.transpose(1, 2).reshape(features.shape)
