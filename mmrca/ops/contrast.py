"""Region contrast against the memory, with mixed regions (section 3.2).

Shape shorthand: M regions of a batch, R memory rows, D channels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def region_nce(similarity: Tensor, positive: Tensor, filled: Tensor) -> Tensor:
    """Region NCE: each positive row against all negative rows.

    NCE(f) = mean over positives m+ of
    -log(exp(f.m+) / (exp(f.m+) + sum over negatives exp(f.m-))).

    Args:
        similarity: [M, R], f.m / t of every region and row.
        positive: Boolean [M, R], the row is of the region's class.
        filled: Boolean [R], the row was visited.

    Returns:
        [M]; 0 for a region without a positive or without a negative row.
    """
    # A finite floor: -inf would put NaN into the gradient of logsumexp.
    floor = torch.finfo(similarity.dtype).min / 2
    negative = ~positive & filled
    positive = positive & filled
    rest = similarity.masked_fill(~negative, floor).logsumexp(dim=1)
    terms = F.softplus(rest[:, None] - similarity) * positive
    return terms.sum(dim=1) / positive.sum(dim=1).clamp(min=1)


def choose_partners(
    classes: Tensor, images: Tensor, valid: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Give each region a random partner: another class, another image.

    Args:
        classes: [M] class of each region.
        images: [M] image of each region.
        valid: Boolean [M]; others neither get nor are a partner.
        noise: [M, M] uniform in 0..1; row m's highest allowed entry wins.

    Returns:
        Partner indices [M], and boolean [M] that says who has a partner.
    """
    allowed = (classes[:, None] != classes) & (images[:, None] != images)
    allowed &= valid[:, None] & valid
    choice = noise.masked_fill(~allowed, -1).argmax(dim=1)
    return choice, allowed.any(dim=1)


def region_mixup_nce(
    regions: Tensor,
    classes: Tensor,
    images: Tensor,
    valid: Tensor,
    rows: Tensor,
    row_class: Tensor,
    filled: Tensor,
    weight: Tensor,
    noise: Tensor,
    temperature: float,
    own: Tensor | None = None,
) -> Tensor:
    """Region-mixup NCE, averaged over the batch's regions (eq. 6).

    Each region f_l meets a region f_k of another class from another image:
    f^ = w f_l + (1 - w) f_k and
    loss = w NCE_l(f^) + (1 - w) NCE_k(f^). A region without such a partner
    keeps the plain NCE_l(f_l). Regions of classes that have no filled row
    take no part.

    Args:
        regions: [M, D] embeddings.
        classes: [M] class of each region.
        images: [M] image of each region.
        valid: Boolean [M], True for regions, False for empty slots.
        rows: [R, D] memory.
        row_class: [R] class of each row.
        filled: Boolean [R].
        weight: [M] w in 0..1, drawn from Beta(b, b).
        noise: [M, M] uniform in 0..1, chooses partners.
        temperature: t, positive.
        own: Indices [O] of the regions whose part of the mean is wanted; the
            others are partners only. All if ``None``.

    Returns:
        Scalar, 0 when no region takes part.
    """
    valid = valid & _have_rows(classes, row_class, filled)
    partner, mixed = choose_partners(classes, images, valid, noise)
    if own is None:
        own = torch.arange(len(regions), device=regions.device)
    partner, mixed, weight = partner[own], mixed[own], weight[own]
    weight = torch.where(mixed, weight, torch.ones_like(weight))
    blend = torch.lerp(regions[partner], regions[own], weight[:, None])
    # Dividing by the rows' lengths afterwards saves a copy of the rows.
    length = rows.norm(dim=1).clamp(min=1e-12)
    similarity = F.normalize(blend, dim=1) @ rows.T / (temperature * length)
    same, other = (classes[i, None] == row_class for i in (own, partner))
    loss = weight * region_nce(similarity, same, filled)
    loss = loss + (1 - weight) * region_nce(similarity, other, filled)
    return (loss * valid[own]).sum() / valid.sum().clamp(min=1)


def _have_rows(classes: Tensor, row_class: Tensor, filled: Tensor) -> Tensor:
    """Say of which classes [M] there is a filled row, without [M, R]."""
    there = torch.where(filled, row_class, -1)
    there = torch.cat([there, there.new_full((1,), -1)]).sort().values
    place = torch.searchsorted(there, classes).clamp(max=len(there) - 1)
    return there[place] == classes
