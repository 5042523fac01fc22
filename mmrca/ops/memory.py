"""Writing region embeddings into memory rows (section 3.1).

Shape shorthand: L classes, V visits, R rows, D channels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def row_updates(
    rows: Tensor,
    filled: Tensor,
    index: Tensor,
    regions: Tensor,
    scores: Tensor,
    accepted: Tensor,
    momentum: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Visit rows: the first visit copies, later ones m <- r m + (1 - r) f.

    Of several accepted visits to one row the one with the highest score is
    written, the earliest of equals; so the result does not depend on how a
    batch is spread over processes.

    Args:
        rows: [R, D].
        filled: Boolean [R].
        index: [V] row of each visit; what it says where ``accepted`` is
            False does not matter as long as it is below R.
        regions: [V, D].
        scores: [V].
        accepted: Boolean [V].
        momentum: r in 0..1, the weight of the old value.

    Returns:
        Row indices [V] and the values [V, D] to store there, safe to store
        in any order (duplicates carry equal values), and a boolean [R] of
        the rows that were visited.
    """
    index = torch.where(accepted, index, torch.zeros_like(index))
    position = torch.arange(len(index), device=index.device)
    score = torch.where(accepted, scores, torch.full_like(scores, -torch.inf))
    best = score.new_full((len(rows),), -torch.inf)
    best = best.scatter_reduce(0, index, score, 'amax')
    leads = accepted & (score == best[index])
    last = len(index)
    first = position.new_full((len(rows),), last).scatter_reduce(
        0, index, torch.where(leads, position, last), 'amin'
    )
    written = first < last
    chosen = regions[first[index].clamp(max=last - 1)].to(rows.dtype)
    old = rows[index]
    blend = torch.where(
        filled[index, None], torch.lerp(chosen, old, momentum), chosen
    )
    return index, torch.where(written[index, None], blend, old), written


def ring_rows(
    accepted: Tensor, classes: Tensor, row_class: Tensor, pointer: Tensor
) -> tuple[Tensor, Tensor]:
    """Deal accepted regions out to the rows of their class in turn.

    Each class's rows are a ring: the next region goes where the pointer
    stands, whichever image it comes from.

    Args:
        accepted: Boolean [V], the regions that will be written.
        classes: Integer [V], their classes.
        row_class: Integer [R], ascending.
        pointer: Integer [L], each class's next place in its ring.

    Returns:
        Integer [V], the row of each region (meaningless where ``accepted``
        is False), and the pointers [L] afterwards.
    """
    length = torch.zeros_like(pointer).index_add_(
        0, row_class, torch.ones_like(row_class)
    )
    first = length.cumsum(0) - length
    # A class without rows never has an accepted region.
    length = length.clamp(min=1)
    member = F.one_hot(classes, len(pointer)) * accepted[:, None]
    before = (member.cumsum(0) - member).gather(1, classes[:, None])[:, 0]
    place = (pointer[classes] + before) % length[classes]
    return first[classes] + place, (pointer + member.sum(0)) % length
