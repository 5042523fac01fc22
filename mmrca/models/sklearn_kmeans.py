"""K-means by scikit-learn, with the face of :func:`mmrca.ops.kmeans.kmeans`.

Shape shorthand: B independent sets (classes), P points a set (padded),
K clusters, D channels.
"""

import numpy as np
import torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from torch import Generator, Tensor


def sklearn_kmeans(
    points: Tensor,
    mask: Tensor,
    num_clusters: int,
    generator: Generator,
    start: Tensor | None = None,
    start_valid: Tensor | None = None,
    max_iters: int = 100,
    restarts: int = 1,
) -> tuple[Tensor, Tensor, Tensor]:
    """Cluster B padded sets one after the other, on the CPU.

    Args:
        points: [B, P, D].
        mask: Boolean [B, P], False for padding.
        num_clusters: K. A set with fewer points gets that many clusters.
        generator: CPU generator of every random choice.
        start: [B, K, D] centres to start from; a set whose every needed
            centre is valid starts there and nowhere else.
        start_valid: Boolean [B, K], required with ``start``.
        max_iters: Lloyd steps at most.
        restarts: Starts of which the lowest inertia is kept.

    Returns:
        Centres [B, K, D] (0 where invalid), their validity [B, K] and the
        inertia [B].

    Raises:
        ValueError: One of ``start`` and ``start_valid`` is missing.
    """
    if (start is None) != (start_valid is None):
        raise ValueError('sklearn_kmeans: start and start_valid go together')
    centers = points.new_zeros(len(points), num_clusters, points.shape[2])
    valid = torch.zeros(centers.shape[:2], dtype=torch.bool)
    inertia = torch.zeros(len(points), dtype=points.dtype)
    seeds = torch.randint(2**31, (len(points),), generator=generator)
    for b, seed in enumerate(seeds.tolist()):
        own = points[b][mask[b]].cpu().numpy()
        count = min(len(own), num_clusters)
        if count == 0:
            continue
        warm = None
        if start is not None and start_valid is not None:
            warm = start[b, :count] if start_valid[b, :count].all() else None
        found, inertia[b] = _cluster(
            own, count, warm, restarts, max_iters, seed
        )
        centers[b, :count] = torch.from_numpy(found)
        valid[b, :count] = True
    return centers, valid.to(points.device), inertia.to(points.device)


def _cluster(
    points: np.ndarray,
    count: int,
    start: Tensor | None,
    restarts: int,
    max_iters: int,
    seed: int,
) -> tuple[np.ndarray, float]:
    # Threads make small problems many times slower.
    with threadpool_limits(1):
        found = KMeans(
            count,
            init='k-means++' if start is None else start.cpu().numpy(),
            n_init=restarts if start is None else 1,
            max_iter=max_iters,
            tol=0,
            random_state=seed,
        ).fit(points)
    return found.cluster_centers_, found.inertia_
