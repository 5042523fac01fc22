"""Random walk: scores spread over cells, but not across boundaries.

The inter-pixel relations of Ahn, Cho and Kwak, *Weakly Supervised Learning of
Instance Segmentation with Inter-pixel Relations* (IRN), CVPR 2019. A network
gives each cell the probability of lying on a boundary between classes; two
cells belong together unless there is a boundary between them.

Shape shorthand: N images, L labels, h x w cells, K offsets. An offset leads to
one half of a cell's neighbours; the other half reaches the cell by theirs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from mmrca.ops import IGNORE_INDEX

_FLOOR = 1e-5  # of an affinity inside a logarithm


def neighbour_offsets(radius: int) -> list[tuple[int, int]]:
    """List the K offsets to cells nearer than a radius, each pair once.

    Args:
        radius: In cells, 2 or more.

    Raises:
        ValueError: If no cell is that near.
    """
    if radius < 2:
        raise ValueError(f'radius must be 2 cells or more, not {radius}')
    reach = range(1 - radius, radius)
    return [
        (y, x)
        for y in range(radius)
        for x in reach
        if (y, x) > (0, 0) and y * y + x * x < radius * radius
    ]


def path_affinity(
    boundary: Tensor, offsets: Sequence[tuple[int, int]]
) -> Tensor:
    """Tell how surely a cell and its neighbours are of one class.

    1 - the highest boundary on the straight path between the two, ends
    included (IRN, Eq. 5).

    Args:
        boundary: [..., h, w] in 0..1.
        offsets: K pairs (down, right), down >= 0.

    Returns:
        [..., K, h, w] in 0..1, 0 where the neighbour is outside.
    """
    inner = 1 - boundary
    return torch.stack(
        [
            torch.stack([_shift(inner, *step) for step in _path(*end)]).amin(0)
            for end in offsets
        ],
        dim=-3,
    )


def affinity_loss(
    affinity: Tensor,
    labels: Tensor,
    offsets: Sequence[tuple[int, int]],
) -> Tensor:
    """Teach affinities by labels that are known in part (IRN, Eq. 6).

    Mean negative log-likelihoods: of pairs of one class half from inside the
    objects, half from the background, and as much weight for pairs of two
    classes. Pairs with an unlabelled cell do not count.

    Args:
        affinity: Float [N, K, h, w] in 0..1.
        labels: Integer [N, h, w]: 0 background, 255 unlabelled.
        offsets: As for :func:`path_affinity`.

    Returns:
        A scalar >= 0. A kind of pairs that the labels lack adds 0.
    """
    labels = labels.long()
    # Outside counts as unlabelled.
    wide = (IGNORE_INDEX - labels)[:, None]
    other = torch.cat([_shift(wide, *offset) for offset in offsets], dim=1)
    other, here = IGNORE_INDEX - other, labels[:, None].expand_as(other)
    known = (here != IGNORE_INDEX) & (other != IGNORE_INDEX)
    same, shown = known & (here == other), here > 0
    alike = -affinity.clamp(min=_FLOOR).log()
    apart = -(1 - affinity).clamp(min=_FLOOR).log()
    return (
        _mean(alike, same & shown) / 2
        + _mean(alike, same & ~shown) / 2
        + _mean(apart, known & (here != other))
    )


def random_walk(
    scores: Tensor,
    affinity: Tensor,
    offsets: Sequence[tuple[int, int]],
    *,
    exponent: float = 10.0,
    steps: int = 64,
) -> Tensor:
    """Spread scores over cells that belong together (IRN, Eqs. 7 and 8).

    A step replaces a cell's scores by a weighted mean of its own and its
    neighbours'; the weights are affinities, 1 with itself. Each step takes
    time and memory in proportion to the cells: no matrix of transitions is
    made.

    Args:
        scores: Float [L, h, w].
        affinity: Float [K, h, w], as from :func:`path_affinity`: 0 where the
            neighbour is outside.
        offsets: As for :func:`path_affinity`.
        exponent: Power > 0 of the affinities. The higher, the less passes
            through a faint boundary.
        steps: 0 or more.

    Returns:
        [L, h, w] within the range of ``scores``.
    """
    there = affinity**exponent
    # What a cell gives by an offset, the cell there gets by its opposite.
    back = torch.stack(
        [
            _shift(weight, -y, -x)
            for weight, (y, x) in zip(there, offsets, strict=True)
        ]
    )
    around = torch.cat([there, back])
    steps_to = [*offsets, *((-y, -x) for y, x in offsets)]
    total = 1 + around.sum(0)
    around, own = around / total, 1 / total
    for _ in range(steps):
        spread = scores * own
        for weight, offset in zip(around, steps_to, strict=True):
            spread.addcmul_(weight, _shift(scores, *offset))
        scores = spread
    return scores


def _path(down: int, right: int) -> list[tuple[int, int]]:
    """List the cells on the straight line from a cell to its neighbour."""
    length = max(abs(down), abs(right))
    return [
        (round(down * step / length), round(right * step / length))
        for step in range(length + 1)
    ]


def _shift(maps: Tensor, down: int, right: int) -> Tensor:
    """Bring the cell at an offset to each cell; 0 from outside."""
    height, width = maps.shape[-2:]
    sides = (max(-right, 0), max(right, 0), max(-down, 0), max(down, 0))
    wide = pad(maps, sides)
    top, left = max(down, 0), max(right, 0)
    return wide[..., top : top + height, left : left + width]


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """Average where a mask is set; 0 where it never is. No host sync."""
    return (values * where).sum() / where.sum().clamp(min=1)
