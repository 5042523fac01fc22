"""Pseudo-regions and their embeddings (section 3.1 of the paper).

Shape shorthand: N images, L classes, D channels, h x w feature cells.
"""

import torch
from torch import Tensor

from .cam import masked_mean, normalize_cam


def region_masks(cam: Tensor, present: Tensor, valid: Tensor) -> Tensor:
    """Cells where a present class's map exceeds the map's own mean.

    Args:
        cam: [N, L, h, w] logits P.
        present: Boolean [N, L], the image-level labels.
        valid: Boolean [N, h, w], False in padding.

    Returns:
        Boolean [N, L, h, w]; each class has its own mask.
    """
    valid = valid[:, None]
    mean = masked_mean(cam, valid)[..., None, None]
    return (cam > mean) & valid & present[..., None, None]


def confident_masks(
    cam: Tensor,
    present: Tensor,
    valid: Tensor,
    region: float,
    background: float,
) -> tuple[Tensor, Tensor]:
    """Confident cells of the present classes, and of the background.

    Args:
        cam: [N, L, h, w] logits P.
        present: Boolean [N, L], the image-level labels.
        valid: Boolean [N, h, w], False in padding.
        region: Share of a map's maximum that a class's cells exceed.
        background: Share of their maximum below which the maps of all
            present classes lie in the background.

    Returns:
        Boolean [N, L, h, w], empty for a map that is nowhere positive, and
        boolean [N, h, w]; an image without classes is all background.
    """
    share = normalize_cam(cam, valid[:, None]) * present[..., None, None]
    return share > region, (share.amax(dim=1) < background) & valid


def region_embeddings(
    features: Tensor, masks: Tensor
) -> tuple[Tensor, Tensor]:
    """Masked average pooling: the mean feature of each region.

    Args:
        features: [N, D, h, w].
        masks: Boolean [N, L, h, w].

    Returns:
        Embeddings [N, L, D], 0 for an empty region, and a boolean [N, L]
        that says which regions have a cell.
    """
    masks = masks.flatten(2)
    cells = masks.sum(dim=2, keepdim=True)
    # Divided before the sum, which would overflow float16 under autocast.
    share = masks.to(features.dtype) / cells.clamp(min=1)
    embeddings = torch.einsum('nlp,ndp->nld', share, features.flatten(2))
    return embeddings, cells[..., 0] > 0
