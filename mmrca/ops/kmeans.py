"""K-means over the rows of each class (section 3.3).

Shape shorthand: B independent sets (classes), P points a set, K clusters,
D channels.
"""

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor


def group_rows(
    rows: Tensor, row_class: Tensor, filled: Tensor, num_classes: int
) -> tuple[list[Tensor], list[Tensor]]:
    """Sort filled rows by class.

    Args:
        rows: [R, D].
        row_class: [R].
        filled: Boolean [R].
        num_classes: L.

    Returns:
        For each class its points [P, D], and a mask [P] that is True
        everywhere, as :func:`kmeans` takes them.
    """
    used = filled.nonzero()[:, 0]
    order = used[row_class[used].argsort(stable=True)]
    counts = row_class[used].bincount(minlength=num_classes).tolist()
    points = [rows[own] for own in torch.split(order, counts)]
    return points, [p.new_ones(len(p), dtype=torch.bool) for p in points]


def share_classes(counts: Sequence[int], shares: int) -> list[list[int]]:
    """Deal classes out so that no share has many more rows than another.

    The largest class goes first, each to the share with the fewest rows.

    Args:
        counts: Rows of each class; classes without rows are left out.
        shares: Number of shares.

    Returns:
        The class numbers of each share.
    """
    loads = [0] * shares
    dealt: list[list[int]] = [[] for _ in range(shares)]
    for kind in sorted(range(len(counts)), key=lambda c: -counts[c]):
        if counts[kind]:
            lightest = loads.index(min(loads))
            loads[lightest] += counts[kind]
            dealt[lightest].append(kind)
    return dealt


def squared_distances(points: Tensor, centers: Tensor) -> Tensor:
    """Squared Euclidean distances.

    Args:
        points: [B, P, D].
        centers: [B, K, D].

    Returns:
        [B, P, K], not negative.
    """
    # Distances far from the origin would drown in the rounding of norms.
    origin = centers.mean(dim=1, keepdim=True)
    points, centers = points - origin, centers - origin
    cross = points @ centers.transpose(1, 2)
    norms = (
        points.square().sum(-1)[..., None] + centers.square().sum(-1)[:, None]
    )
    return (norms - 2 * cross).clamp(min=0)


def _draw(weight: Tensor, generator: Generator) -> Tensor:
    """Draw an index with probability ~ weight [P]."""
    noise = torch.rand(
        weight.shape, generator=generator, dtype=torch.float64
    ).to(weight.device)
    # The race of exponentials; equal to a draw from the normalised weights.
    # In float32 the noise could round to 1, whose logarithm divides by 0.
    return (weight / -noise.log()).argmax()


class _Points:
    """Points of one set, and what their distances need again and again.

    Args:
        points: [P, D].
    """

    def __init__(self, points: Tensor) -> None:
        self.points = points
        # Distances far from the origin would drown in the rounding of norms.
        self._origin = points.mean(dim=0)
        self._shifted = points - self._origin
        self._norms = self._shifted.square().sum(dim=1)[:, None]

    def distances(self, centers: Tensor) -> Tensor:
        """Squared distances [P, K] to centers [K, D]."""
        centers = centers - self._origin
        norms = self._norms + centers.square().sum(dim=1)
        return norms.addmm_(self._shifted, centers.T, alpha=-2).clamp_(min=0)


def _seed_centers(
    points: _Points, num_clusters: int, generator: Generator
) -> Tensor:
    """k-means++ start [K, D]: each next centre far from those chosen.

    Of several draws the one that serves the points best is taken, which
    makes the start worth several restarts.
    """
    tries = 2 + int(math.log(num_clusters))
    nearest = torch.ones_like(points.points[:, 0])
    centers: list[Tensor] = []
    for _ in range(num_clusters):
        drawn = [_draw(nearest, generator) for _ in range(tries)]
        candidates = points.points[torch.stack(drawn)]
        distance = points.distances(candidates)
        if centers:
            distance = torch.minimum(distance, nearest[:, None])
        best = distance.sum(dim=0).argmin()
        centers.append(candidates[best])
        nearest = distance[:, best]
    return torch.stack(centers)


def _move_centers(points: _Points, centers: Tensor) -> Tensor:
    """One Lloyd step; an empty cluster restarts at the worst-served point."""
    nearest, owner = points.distances(centers).min(dim=1)
    member = torch.nn.functional.one_hot(owner, len(centers))
    member = member.to(centers.dtype)
    size = member.sum(dim=0)
    moved = member.T @ points.points / size.clamp(min=1)[:, None]
    empty = size == 0
    if empty.any():
        worst = nearest.argsort(descending=True, stable=True)
        moved[empty] = points.points[worst[: int(empty.sum())]]
    return moved


def kmeans(
    points: Sequence[Tensor],
    masks: Sequence[Tensor],
    num_clusters: int,
    generator: Generator,
    start: Tensor | None = None,
    start_valid: Tensor | None = None,
    max_iters: int = 100,
) -> tuple[Tensor, Tensor, Tensor]:
    """Lloyd's K-means of B sets, one after the other.

    Each set costs what its own points cost; padded together they would cost
    what the largest does. It starts as k-means++ does.

    Args:
        points: B tensors [P, D]; P may differ.
        masks: B boolean [P], False for points that do not count.
        num_clusters: K. A set with fewer points gets that many clusters.
        generator: CPU generator of every random choice.
        start: [B, K, D] centres to start from (a warm start), used for the
            sets whose every needed centre is valid.
        start_valid: Boolean [B, K], required with ``start``.
        max_iters: Lloyd steps at most.

    Returns:
        Centres [B, K, D] (0 where invalid), their validity [B, K] and the
        inertia [B], the sum of squared distances of points to their centre.

    Raises:
        ValueError: One of ``start`` and ``start_valid`` is missing.
    """
    if (start is None) != (start_valid is None):
        raise ValueError('kmeans: start and start_valid go together')
    centers = points[0].new_zeros(
        len(points), num_clusters, points[0].shape[1]
    )
    valid = torch.zeros(
        centers.shape[:2], dtype=torch.bool, device=centers.device
    )
    inertia = centers.new_zeros(len(points))
    for b, (own, mask) in enumerate(zip(points, masks, strict=True)):
        inside = own[mask]
        wanted = min(len(inside), num_clusters)
        if wanted == 0:
            continue
        found = _Points(inside)
        if (
            start is not None
            and start_valid is not None
            and start_valid[b, :wanted].all()
        ):
            first = start[b, :wanted].to(inside)
        else:
            first = _seed_centers(found, wanted, generator)
        centers[b, :wanted] = _lloyd(found, first, max_iters)
        valid[b, :wanted] = True
        distance = found.distances(centers[b, :wanted])
        inertia[b] = distance.amin(dim=1).sum()
    return centers, valid, inertia


def _lloyd(points: _Points, centers: Tensor, max_iters: int) -> Tensor:
    for _ in range(max_iters):
        moved = _move_centers(points, centers)
        # Unchanged owners would not do: an empty cluster can restart on top
        # of another centre and has to move on.
        if torch.equal(moved, centers):
            break
        centers = moved
    return centers
