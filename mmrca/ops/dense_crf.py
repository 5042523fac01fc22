"""Mean-field inference of the dense CRF on a permutohedral lattice.

The lattice (Adams, Baek and Davis, Eurographics 2010) of a kernel is built
once and shared by all labels and iterations. On a CPU
``mmrca.pseudo_labels.numba_crf`` computes the same several times faster.

Shape shorthand: N pixels, L labels, d features of a pixel, V lattice
vertices.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Lattice(NamedTuple):
    """Where the pixels lie in the lattice.

    Attributes:
        vertices: int64 [d+1, N], the corners of each pixel's simplex.
        weights: [d+1, N], barycentric, times the kernel's normalisation.
        neighbours: int64 [d+1, 2, V+1], the vertices before and after each
            vertex along each axis, V where there is none.
    """

    vertices: Tensor
    weights: Tensor
    neighbours: Tensor


def mean_field(
    energy: Tensor, kernels: Sequence[tuple[Tensor, float]], iterations: int
) -> Tensor:
    """Infer the marginals of a fully connected CRF with Potts penalties.

    On a GPU the order of its sums, and with it the last digits of the
    result, may differ from run to run.

    Args:
        energy: [L, N], the unary energies.
        kernels: Features and weight of each Gaussian kernel: [d, N],
            nonnegative, in standard deviations, and a positive number. The
            kernel is normalised symmetrically: by the square root of its
            row sums from both sides.
        iterations: Mean-field steps.

    Returns:
        [L, N], which sums to 1 over the labels.

    Raises:
        ValueError: If features spread too far for the lattice.
    """
    lattices = [build_lattice(*kernel) for kernel in kernels]
    marginals = (-energy).softmax(0)
    for _ in range(iterations):
        logits = -energy
        for lattice in lattices:
            logits += filter_planes(lattice, marginals)
        marginals = logits.softmax(0)
    return marginals


def build_lattice(features: Tensor, weight: float = 1) -> Lattice:
    """Place pixels in the lattice and normalise the kernel symmetrically.

    Args:
        features: [d, N], nonnegative, in standard deviations.
        weight: What the kernel is multiplied by, positive.

    Raises:
        ValueError: If the features spread too far for the lattice.
    """
    corners = len(features) + 1
    axis = torch.arange(1, corners, dtype=torch.float64)
    # Makes the standard deviation of the blur that of the features.
    scale = math.sqrt(2 / 3) * corners / (axis * (axis + 1)).sqrt()
    scaled = features.T * scale.to(features)
    strides = key_strides(scaled.amax(0).tolist())
    origin, rank, weights = _simplices(scaled)
    keys = _keys(origin, rank, strides)
    known, vertices = torch.unique(keys, return_inverse=True)
    lattice = Lattice(vertices.T, weights.T, _neighbours(known, strides))
    rows = filter_planes(lattice, torch.ones_like(features[:1]))
    return lattice._replace(weights=weights.T * (weight / rows).sqrt())


def filter_planes(lattice: Lattice, planes: Tensor) -> Tensor:
    """Apply a kernel to planes [L, N]: splat, blur and slice.

    Returns:
        [L, N].
    """
    # The last row stays 0: for neighbours that are not there.
    values = planes.new_zeros(lattice.neighbours.shape[2], len(planes))
    pixels = planes.T
    for vertex, weight in zip(lattice.vertices, lattice.weights, strict=True):
        values.index_add_(0, vertex, weight[:, None] * pixels)
    for before, after in lattice.neighbours:
        # The paper's weights are half of these: the normalisation of the
        # kernel takes care of a constant factor.
        values = values + 0.5 * (values[before] + values[after])
    out = torch.zeros_like(pixels)
    for vertex, weight in zip(lattice.vertices, lattice.weights, strict=True):
        out += weight[:, None] * values[vertex]
    return out.T


def _simplices(scaled: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the pixels' simplices: section 3 of the paper.

    Returns:
        The remainder-0 vertex divided by d+1 and the ranks of its
        coordinates, both int64 [N, d+1], and the barycentric weights
        [N, d+1].
    """
    corners = scaled.shape[1] + 1
    # Elevated to the hyperplane, where the coordinates sum to 0.
    rest = torch.zeros_like(scaled[:, 0])
    elevated = []
    for axis in range(corners - 1, 0, -1):
        elevated.append(rest - axis * scaled[:, axis - 1])
        rest = rest + scaled[:, axis - 1]
    offset = torch.stack([rest, *reversed(elevated)], 1)
    # Each coordinate to its nearest multiple of d+1. Where these do not sum
    # to 0, the ranks tell which coordinates go to the next one.
    multiple = (offset * (1 / corners)).round()
    offset = offset - multiple * corners
    order = offset.argsort(dim=1, descending=True, stable=True)
    rank = order.argsort(dim=1) + multiple.sum(1, keepdim=True).long()
    turn = (rank < 0).long() - (rank >= corners).long()
    rank = rank + turn * corners
    part = (offset - turn * corners) * (1 / corners)
    weights = offset.new_zeros(len(offset), corners + 1)
    weights.scatter_add_(1, corners - 1 - rank, part)
    weights.scatter_add_(1, corners - rank, -part)
    weights[:, 0] += 1 + weights[:, -1]
    return multiple.long() + turn, rank, weights[:, :-1]


def key_strides(reach: list[float]) -> list[int]:
    """Find numbers that turn the d coordinates of a vertex into one key.

    Args:
        reach: The largest scaled features; the smallest are taken for 0.
    """
    corners = len(reach) + 1
    # Coordinate j of a pixel lies between -j * reach[j - 1] and the sum of
    # reach[j:]; its vertices and their neighbours less than 4 corners off.
    spans = [
        math.ceil((j and j * reach[j - 1]) + sum(reach[j:])) + 8 * corners
        for j in range(len(reach))
    ]
    if math.prod(spans) * corners >= 2**63:
        raise ValueError(
            'the kernels of the CRF are too narrow for an image of this '
            'size: raise its sxy or srgb'
        )
    return [math.prod(spans[:j]) for j in range(len(reach))]


def _keys(origin: Tensor, rank: Tensor, strides: list[int]) -> Tensor:
    """Make the keys of the corners of simplices: int64 [N, d+1]."""
    corners = origin.shape[1]
    keys = torch.zeros_like(origin)
    for axis, stride in enumerate(strides):
        for k in range(corners):
            # Corner k is k steps up; the k highest ranks turn over.
            turned = (rank[:, axis] >= corners - k).long()
            place = (origin[:, axis] - turned) * corners + k
            keys[:, k] += place * stride
    return keys


def _neighbours(known: Tensor, strides: list[int]) -> Tensor:
    """Find the neighbours of the vertices with these keys, sorted [V]."""
    count, corners = len(known), len(strides) + 1
    steps = [sum(strides) - corners * stride for stride in strides]
    neighbours = known.new_full((corners, 2, count + 1), count)
    for axis, step in enumerate([*steps, sum(strides)]):
        for side, move in enumerate((-step, step)):
            wanted = known + move
            place = torch.searchsorted(known, wanted).clamp(max=count - 1)
            found = known[place] == wanted
            neighbours[axis, side, :-1] = place.where(found, count)
    return neighbours
