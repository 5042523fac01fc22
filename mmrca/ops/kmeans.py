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
    """Draw one index of each row with probability ~ weight [B, P]."""
    noise = torch.rand(
        weight.shape, generator=generator, dtype=torch.float64
    ).to(weight.device)
    # The race of exponentials; equal to a draw from the normalised weights.
    # In float32 the noise could round to 1, whose logarithm divides by 0.
    return (weight / -noise.log()).argmax(dim=1)


def seed_centers(
    points: Tensor, mask: Tensor, num_clusters: int, generator: Generator
) -> Tensor:
    """k-means++ start: each next centre far from those already chosen.

    Of several draws the one that serves the points best is taken, which
    makes the start worth several restarts.

    Args:
        points: [B, P, D].
        mask: Boolean [B, P].
        num_clusters: K.
        generator: CPU generator of the draws.

    Returns:
        [B, K, D]; centres beyond a set's number of points are arbitrary.
    """
    sets = torch.arange(len(points), device=points.device)
    tries = 2 + int(math.log(num_clusters))
    nearest = mask.to(points.dtype)
    centers: list[Tensor] = []
    for _ in range(num_clusters):
        drawn = [_draw(nearest, generator) for _ in range(tries)]
        candidates = points[sets[:, None], torch.stack(drawn, dim=1)]
        distance = squared_distances(points, candidates) * mask[..., None]
        if centers:
            distance = torch.minimum(distance, nearest[..., None])
        best = distance.sum(dim=1).argmin(dim=1)
        centers.append(candidates[sets, best])
        nearest = distance[sets, :, best]
    return torch.stack(centers, dim=1)


def _move_centers(
    points: Tensor, mask: Tensor, centers: Tensor, used: Tensor
) -> Tensor:
    """One Lloyd step; an empty cluster restarts at the worst-served point."""
    distance = squared_distances(points, centers)
    distance = distance.masked_fill(~used[:, None], torch.inf)
    nearest, owner = distance.min(dim=2)
    nearest = torch.where(mask, nearest, -torch.ones_like(nearest))
    member = torch.nn.functional.one_hot(owner, centers.shape[1])
    member = member.to(points.dtype) * mask[..., None]
    size = member.sum(dim=1)
    mean = member.transpose(1, 2) @ points / size.clamp(min=1)[..., None]
    empty = used & (size == 0)
    worst = nearest.argsort(dim=1, descending=True, stable=True)
    rank = (empty.long().cumsum(dim=1) - 1).clamp(0, points.shape[1] - 1)
    restart = worst.gather(1, rank)[..., None].expand_as(mean)
    return torch.where(empty[..., None], points.gather(1, restart), mean)


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
    what the largest does.

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
        inside = own[mask][None]
        wanted = min(inside.shape[1], num_clusters)
        if wanted == 0:
            continue
        every = inside.new_ones(inside.shape[:2], dtype=torch.bool)
        used = inside.new_ones(1, wanted, dtype=torch.bool)
        first = seed_centers(inside, every, wanted, generator)
        if (
            start is not None
            and start_valid is not None
            and start_valid[b, :wanted].all()
        ):
            first = start[b : b + 1, :wanted].to(first)
        found = _lloyd(inside, every, first, used, max_iters)
        centers[b, :wanted], valid[b, :wanted] = found[0], True
        inertia[b] = _inertia(inside, every, found, used)[0]
    return centers, valid, inertia


def _lloyd(
    points: Tensor, mask: Tensor, centers: Tensor, used: Tensor, max_iters: int
) -> Tensor:
    for _ in range(max_iters):
        moved = _move_centers(points, mask, centers, used)
        # Unchanged owners would not do: an empty cluster can restart on top
        # of another centre and has to move on.
        if torch.equal(moved, centers):
            break
        centers = moved
    return centers


def _inertia(
    points: Tensor, mask: Tensor, centers: Tensor, used: Tensor
) -> Tensor:
    distance = squared_distances(points, centers)
    distance = distance.masked_fill(~used[:, None], torch.inf)
    nearest = distance.amin(dim=2)
    return torch.where(mask, nearest, torch.zeros_like(nearest)).sum(dim=1)
