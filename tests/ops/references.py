"""The method's formulas once more, slowly: one loop per index.

Written from the paper and the documented contract of each op, with plain
Python sums, so that they share no vectorised trick with ``mmrca.ops``. All
take and give float64 tensors.

Shape shorthand: N images, L classes, K prototypes a class, D channels,
h x w feature cells, R memory rows, M regions of a batch, P points.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor


def _cells(grid: Tensor) -> list[tuple[int, int]]:
    height, width = grid.shape[-2:]
    return list(itertools.product(range(height), range(width)))


def _dot(a: Tensor, b: Tensor) -> float:
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def _cosine(a: Tensor, b: Tensor) -> float:
    norms = math.sqrt(_dot(a, a)) * math.sqrt(_dot(b, b))
    return _dot(a, b) / norms if norms else 0.0


def _mean(vectors: list[Tensor]) -> Tensor:
    return sum(vectors, torch.zeros_like(vectors[0])) / len(vectors)


def valid_cells(
    image_sizes: Tensor, input_size: tuple[int, int], map_size: tuple[int, int]
) -> Tensor:
    """A cell's centre, in pixels, lies inside the image: [N, h, w]."""
    out = torch.zeros(len(image_sizes), *map_size, dtype=torch.bool)
    for n, (height, width) in enumerate(image_sizes.tolist()):
        for y, x in _cells(out):
            center_y = (y + 0.5) * input_size[0] / map_size[0]
            center_x = (x + 0.5) * input_size[1] / map_size[1]
            out[n, y, x] = center_y < height and center_x < width
    return out


def masked_mean(cam: Tensor, mask: Tensor) -> float:
    """Mean of one map [h, w] over its mask, 0 if that is empty."""
    inside = [float(cam[cell]) for cell in _cells(cam) if mask[cell]]
    return sum(inside) / len(inside) if inside else 0.0


def normalize_cam(cam: Tensor, valid: Tensor) -> Tensor:
    """ReLU and division by the maximum of one map [h, w]."""
    out = torch.zeros_like(cam)
    for cell in _cells(cam):
        if valid[cell]:
            out[cell] = max(float(cam[cell]), 0.0)
    peak = max(float(out[cell]) for cell in _cells(out))
    return out / peak if peak else out


def threshold_confusion(
    cam: Tensor, labels: Tensor, target: Tensor, num_thresholds: int
) -> Tensor:
    """Segment at each threshold in turn and count: [T, L + 1, L + 2]."""
    num_classes = len(cam)
    counts = torch.zeros(
        num_thresholds, num_classes + 1, num_classes + 2, dtype=torch.int64
    )
    present = [c for c in range(num_classes) if labels[c]]
    for t in range(num_thresholds):
        for y, x in _cells(target):
            truth = int(target[y, x])
            if truth > num_classes:
                continue
            best, guess = t / num_thresholds, 0
            for c in present:
                if float(cam[c, y, x]) > best:
                    best, guess = float(cam[c, y, x]), c + 1
            counts[t, truth, guess] += 1
    return counts


def region_masks(cam: Tensor, present: Tensor, valid: Tensor) -> Tensor:
    """Cells above the map's own mean, padding never: [N, L, h, w]."""
    out = torch.zeros(cam.shape, dtype=torch.bool)
    for n, c in itertools.product(*map(range, cam.shape[:2])):
        mean = masked_mean(cam[n, c], valid[n])
        for y, x in _cells(cam):
            out[n, c, y, x] = (
                bool(present[n, c])
                and bool(valid[n, y, x])
                and float(cam[n, c, y, x]) > mean
            )
    return out


def confident_masks(
    cam: Tensor,
    present: Tensor,
    valid: Tensor,
    region: float,
    background: float,
) -> tuple[Tensor, Tensor]:
    """Cells above and below shares of maxima: [N, L, h, w], [N, h, w]."""
    sure = torch.zeros(cam.shape, dtype=torch.bool)
    rest = valid.clone()
    for n, c in itertools.product(*map(range, cam.shape[:2])):
        share = normalize_cam(cam[n, c], valid[n])
        for y, x in _cells(cam):
            if present[n, c]:
                sure[n, c, y, x] = float(share[y, x]) > region
                rest[n, y, x] &= float(share[y, x]) < background
    return sure, rest


def region_embeddings(features: Tensor, masks: Tensor) -> Tensor:
    """Masked average pooling, 0 for an empty region: [N, L, D]."""
    out = features.new_zeros(*masks.shape[:2], features.shape[1])
    for n, c, d in itertools.product(*map(range, out.shape)):
        out[n, c, d] = masked_mean(features[n, d], masks[n, c])
    return out


def nce(positives: list[float], negatives: list[float]) -> float:
    """NCE of one region from its similarities (already over t)."""
    if not positives or not negatives:
        return 0.0
    total = 0.0
    for own in positives:
        others = sum(math.exp(similarity) for similarity in negatives)
        total -= math.log(math.exp(own) / (math.exp(own) + others))
    return total / len(positives)


def partner(
    region: int,
    classes: Tensor,
    images: Tensor,
    usable: list[bool],
    noise: Tensor,
) -> int | None:
    """The allowed region with the highest noise, None if there is none."""
    allowed = [
        other
        for other in range(len(classes))
        if usable[other]
        and classes[other] != classes[region]
        and images[other] != images[region]
    ]
    if not usable[region] or not allowed:
        return None
    return max(allowed, key=lambda other: float(noise[region, other]))


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
) -> float:
    """Region-mixup NCE of a batch, region by region and row by row."""

    def class_nce(region: Tensor, category: Tensor) -> float:
        similar = {
            r: _cosine(region, rows[r]) / temperature
            for r in range(len(rows))
            if filled[r]
        }
        return nce(
            [s for r, s in similar.items() if row_class[r] == category],
            [s for r, s in similar.items() if row_class[r] != category],
        )

    usable = [
        bool(valid[m])
        and any(
            filled[r] and row_class[r] == classes[m] for r in range(len(rows))
        )
        for m in range(len(regions))
    ]
    losses = []
    for m in range(len(regions)):
        if not usable[m]:
            continue
        k = partner(m, classes, images, usable, noise)
        if k is None:
            losses.append(class_nce(regions[m], classes[m]))
            continue
        w = float(weight[m])
        mixed = w * regions[m] + (1 - w) * regions[k]
        losses.append(
            w * class_nce(mixed, classes[m])
            + (1 - w) * class_nce(mixed, classes[k])
        )
    return sum(losses) / len(losses) if losses else 0.0


def visit_rows(
    rows: Tensor,
    filled: Tensor,
    index: Tensor,
    regions: Tensor,
    scores: Tensor,
    accepted: Tensor,
    momentum: float,
) -> tuple[Tensor, Tensor, list[bool]]:
    """Memory after the visits: rows, filled, and which were visited."""
    rows, filled = rows.clone(), filled.clone()
    visited = []
    for r in range(len(rows)):
        visits = [
            v for v in range(len(index)) if accepted[v] and index[v] == r
        ]
        visited.append(bool(visits))
        if visits:
            # max() keeps the first of equals.
            best = max(visits, key=lambda v: float(scores[v]))
            rows[r] = (
                momentum * rows[r] + (1 - momentum) * regions[best]
                if filled[r]
                else regions[best]
            )
            filled[r] = True
    return rows, filled, visited


def ring_rows(
    accepted: Tensor, row_class: Tensor, pointer: Tensor
) -> tuple[dict[tuple[int, int], int], list[int]]:
    """Row of each accepted (image, class), and the pointers afterwards."""
    pointers, index = pointer.tolist(), {}
    for n, c in itertools.product(*map(range, accepted.shape)):
        if accepted[n, c]:
            ring = [r for r, own in enumerate(row_class) if own == c]
            index[n, c] = ring[pointers[c]]
            pointers[c] = (pointers[c] + 1) % len(ring)
    return index, pointers


def squared_distance(a: Tensor, b: Tensor) -> float:
    """Sum of squared differences of two vectors."""
    return sum((float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True))


def _nearest(point: Tensor, centers: list[Tensor]) -> int:
    return min(
        range(len(centers)), key=lambda k: squared_distance(point, centers[k])
    )


def inertia(points: list[Tensor], centers: list[Tensor]) -> float:
    """Sum over points of the squared distance to the nearest centre."""
    return sum(
        min(squared_distance(point, center) for center in centers)
        for point in points
    )


def lloyd_step(points: list[Tensor], centers: list[Tensor]) -> list[Tensor]:
    """Means of the points nearest to each centre, of one set.

    The first empty cluster goes to the point farthest from its centre, the
    next empty one to the second farthest, and so on.
    """
    nearest = [_nearest(point, centers) for point in points]
    farthest = iter(
        sorted(
            range(len(points)),
            reverse=True,
            key=lambda p: squared_distance(points[p], centers[nearest[p]]),
        )
    )
    moved = []
    for k in range(len(centers)):
        members = [points[p] for p in range(len(points)) if nearest[p] == k]
        moved.append(_mean(members) if members else points[next(farthest)])
    return moved


def lloyd(
    points: list[Tensor], centers: list[Tensor], max_iters: int
) -> list[Tensor]:
    """Lloyd's K-means of one set from given centres."""
    for _ in range(max_iters):
        centers = lloyd_step(points, centers)
    return centers


def affinity(
    features: Tensor,
    prototypes: Tensor,
    valid: Tensor,
    temperature: float,
    cosine: bool,
    softmax: bool = True,
) -> Tensor:
    """Softmax over the valid prototypes, cell by cell: [N, hw, LK]."""
    num, _, height, width = features.shape
    num_classes, num_prototypes = valid.shape
    out = features.new_zeros(num, height * width, num_classes * num_prototypes)
    similarity = _cosine if cosine else _dot
    for n, y, x in itertools.product(range(num), range(height), range(width)):
        alike = {
            (c, k): similarity(features[n, :, y, x], prototypes[c, k])
            / temperature
            for c in range(num_classes)
            for k in range(num_prototypes)
            if valid[c, k]
        }
        if softmax:
            exp = {key: math.exp(value) for key, value in alike.items()}
            alike = {key: exp[key] / sum(exp.values()) for key in exp}
        for (c, k), value in alike.items():
            out[n, y * width + x, c * num_prototypes + k] = value
    return out


def aggregate(
    features: Tensor,
    prototypes: Tensor,
    valid: Tensor,
    temperature: float,
    cosine: bool,
    softmax: bool = True,
    values: Tensor | None = None,
) -> Tensor:
    """F' = S Q, every cell the affinity-weighted sum of prototypes."""
    weights = affinity(
        features, prototypes, valid, temperature, cosine, softmax
    )
    out = torch.zeros_like(features)
    num, _, height, width = features.shape
    flat = (prototypes if values is None else values).flatten(0, 1)
    for n, y, x in itertools.product(range(num), range(height), range(width)):
        for j, prototype in enumerate(flat):
            if valid.flatten()[j]:
                out[n, :, y, x] += weights[n, y * width + x, j] * prototype
    return out


def _unit(vector: Tensor) -> Tensor:
    length = math.sqrt(_dot(vector, vector))
    return vector / length if length else vector


def concat_stages(stages: list[Tensor]) -> Tensor:
    """Unit features of each stage, averaged to the last one's cells."""
    images, _, height, width = stages[-1].shape
    channels = sum(stage.shape[1] for stage in stages)
    out = stages[-1].new_zeros(images, channels, height, width)
    for n, y, x in itertools.product(*map(range, (images, height, width))):
        parts = []
        for stage in stages:
            rows, cols = (
                range(i * size // count, -(-(i + 1) * size // count))
                for i, size, count in zip(
                    (y, x), stage.shape[2:], (height, width), strict=True
                )
            )
            parts.append(
                _mean([_unit(stage[n, :, r, c]) for r in rows for c in cols])
            )
        out[n, :, y, x] = _unit(torch.cat(parts))
    return out


def prototype_cam(
    features: Tensor,
    prototypes: Tensor,
    valid: Tensor,
    background: Tensor,
    background_valid: Tensor,
    temperature: float,
) -> Tensor:
    """Log mean exp of cosines, class against background: [N, L, h, w]."""

    def likeness(cell: Tensor, keys: Tensor, known: Tensor) -> float | None:
        terms = [
            math.exp(_cosine(cell, key) / temperature)
            for key, k in zip(keys, known, strict=True)
            if k
        ]
        return math.log(sum(terms) / len(terms)) if terms else None

    images, _, *size = features.shape
    out = features.new_zeros(images, len(prototypes), *size)
    for n, c, y, x in itertools.product(*map(range, out.shape)):
        cell = features[n, :, y, x]
        own = likeness(cell, prototypes[c], valid[c])
        rest = likeness(cell, background, background_valid)
        if own is not None:
            out[n, c, y, x] = own - (rest or 0.0)
    return out


def image_prototype_cam(
    features: Tensor,
    logits: Tensor,
    present: Tensor,
    valid: Tensor,
    region: float,
    background: float,
    temperature: float,
) -> Tensor:
    """Cosine to the image's own class cells minus that to its background."""
    sure, rest = confident_masks(logits, present, valid, region, background)
    out = torch.zeros_like(logits)
    for n, c in itertools.product(*map(range, logits.shape[:2])):
        own, others = [], []
        for y, x in _cells(logits):
            rivals = [logits[n, k, y, x] for k in present[n].nonzero()[:, 0]]
            if sure[n, c, y, x] and logits[n, c, y, x] == max(rivals):
                own.append(features[n, :, y, x])
            if rest[n, y, x]:
                others.append(features[n, :, y, x])
        if not own or not others:
            continue
        for y, x in _cells(logits):
            cell = features[n, :, y, x]
            gap = _cosine(cell, sum(own)) - _cosine(cell, sum(others))
            out[n, c, y, x] = gap / temperature
    return out


def self_similarity_mean(
    features: Tensor, maps: Tensor, valid: Tensor, threshold: float
) -> Tensor:
    """Mean over cells, weighed by the cosine above a threshold."""
    out = maps.clone()
    for n, (y, x) in itertools.product(range(len(maps)), [*_cells(maps)]):
        total, weight = torch.zeros_like(maps[n, :, y, x]), 0.0
        for v, u in _cells(maps):
            cosine = _cosine(features[n, :, y, x], features[n, :, v, u])
            if valid[n, v, u] and cosine > threshold:
                total += (cosine - threshold) * maps[n, :, v, u]
                weight += cosine - threshold
        if weight:
            out[n, :, y, x] = total / weight
    return out
