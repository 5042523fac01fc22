"""Mean-field inference of the dense CRF, compiled by numba.

The permutohedral lattice (Adams, Baek and Davis, Eurographics 2010) of a
kernel is built once for an image and shared by all labels and iterations.
Compiled code is kept on disk and runs without the GIL, so N threads refine N
images at a time.

Shape shorthand: N pixels, L labels, d features of a pixel, V lattice
vertices, B <= 4 planes that are filtered together.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numba
import numpy as np

# Labels filtered together: their lattice values lie side by side.
_PLANES = 4
_F32 = np.float32
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Lattice(NamedTuple):
    """Where the pixels lie in the lattice.

    Attributes:
        vertices: uint32 [N, d+1], the corners of each pixel's simplex.
        weights: float32 [N, d+1], barycentric, times the kernel's
            normalisation.
        neighbours: uint32 [d+1, V, 2], the vertices before and after each
            vertex along each axis, V where it is missing.
    """

    vertices: np.ndarray
    weights: np.ndarray
    neighbours: np.ndarray


def _compiled(function: Callable, fastmath: bool = False) -> Callable:
    options = dict(nogil=True, error_model='numpy', fastmath=fastmath)
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder to keep it in can be written to
        return numba.njit(**options)(function)


def _compiled_fast(function: Callable) -> Callable:
    return _compiled(function, fastmath=True)


def mean_field(
    energy: np.ndarray,
    kernels: Sequence[tuple[np.ndarray, float]],
    iterations: int,
) -> np.ndarray:
    """Infer the marginals of a fully connected CRF with Potts penalties.

    Args:
        energy: float32 [L, N], the unary energies.
        kernels: Features and weight of each Gaussian kernel: float32 [d, N],
            nonnegative, in standard deviations, and a positive number. The
            kernel is normalised symmetrically: by the square root of its
            row sums from both sides.
        iterations: Mean-field steps.

    Returns:
        float32 [L, N], which sums to 1 over the labels.

    Raises:
        ValueError: If features spread too far for the lattice.
    """
    lattices = [build_lattice(*kernel) for kernel in kernels]
    values, message = -energy, np.empty_like(energy[1:])
    _softmax(values)
    for _ in range(iterations):
        # A constant added to all labels leaves the softmax as is. Less their
        # mean the marginals sum to 0, and so does what the filter, which is
        # linear, makes of them: one label's message needs no filter. That
        # is the first, the background: two classes that tie stay tied.
        values -= np.float32(1 / len(values))
        message[:] = 0
        for lattice in lattices:
            _add_filtered(lattice, values[1:], message)
        np.subtract(message, energy[1:], out=values[1:])
        values[0] = -(message.sum(0) + energy[0])
        _softmax(values)
    return values


def _softmax(values: np.ndarray) -> None:
    values -= values.max(0)
    np.exp(values, out=values)
    values /= values.sum(0)


def build_lattice(features: np.ndarray, weight: float = 1) -> Lattice:
    """Place pixels in the lattice and normalise the kernel symmetrically.

    Args:
        features: float32 [d, N], nonnegative, in standard deviations.
        weight: What the kernel is multiplied by, positive.

    Raises:
        ValueError: If the features spread too far for the lattice.
    """
    corners = len(features) + 1
    axis = np.arange(1, corners)
    # Makes the standard deviation of the blur that of the features.
    scale = math.sqrt(2 / 3) * corners / np.sqrt(axis * (axis + 1))
    scale = scale.astype(np.float32)
    strides = tuple(_key_strides((features.max(1) * scale).tolist()))
    lattice = _build(features, tuple(scale), strides)
    ones = np.ones((1, features.shape[1]), dtype=np.float32)
    rows = filter_planes(lattice, ones)[0]
    _scale(lattice.weights, np.sqrt(weight / rows))
    return lattice


def filter_planes(lattice: Lattice, planes: np.ndarray) -> np.ndarray:
    """Apply a kernel to float32 planes [L, N].

    Returns:
        float32 [L, N].
    """
    out = np.zeros_like(planes)
    _add_filtered(lattice, planes, out)
    return out


def _add_filtered(
    lattice: Lattice, planes: np.ndarray, out: np.ndarray
) -> None:
    for start in range(0, len(planes), _PLANES):
        some = slice(start, start + _PLANES)
        # The length of a tuple is known to the compiler: it unrolls loops.
        corners = (0,) * len(lattice.neighbours)
        count = (0,) * len(planes[some])
        _filter(lattice, corners, planes[some], count, out[some])


def _key_strides(reach: list[float]) -> list[int]:
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


@_compiled
def _build(features: np.ndarray, scale: tuple, strides: tuple) -> Lattice:
    """Find every pixel's simplex; number the vertices as they come."""
    pixels, corners = features.shape[1], len(scale) + 1
    vertices = np.empty((pixels, corners), np.uint32)
    weights = np.empty((pixels, corners), np.float32)
    offset = np.empty(corners, np.float32)
    axis_of = np.empty(corners, np.int32)
    rank = np.empty(corners, np.int32)
    share = np.empty(corners + 1, np.float32)
    last = np.empty(corners, np.int64)
    keys = np.empty(1 << 13, np.int64)
    table = np.full(2 * len(keys), -1, np.int32)
    count = 0
    for p in range(pixels):
        key = _enclose(features, p, scale, strides, offset, rank, share)
        for axis in range(corners):
            axis_of[np.uint32(rank[axis])] = axis
        for k in range(corners):
            if k > 0:
                key += _step(strides, axis_of[np.uint32(corners - k)])
            weights[p, k] = share[k]
            # Two pixels side by side mostly share most vertices.
            if p > 0 and last[k] == key:
                vertices[p, k] = vertices[p - 1, k]
                continue
            last[k] = key
            slot = _slot(table, keys, key)
            if table[slot] < 0:
                table[slot] = count
                keys[count] = key
                count += 1
            vertices[p, k] = table[slot]
            if count == len(keys):
                keys, table = _grow(keys)
    return Lattice(
        vertices, weights, _neighbours(keys[:count], table, strides)
    )


@_compiled
def _enclose(
    features: np.ndarray,
    p: int,
    scale: tuple,
    strides: tuple,
    offset: np.ndarray,
    rank: np.ndarray,
    share: np.ndarray,
) -> int:
    """Find the simplex of pixel ``p``: section 3 of the paper.

    Fills the ranks of the coordinates and the barycentric weights, and
    returns the key of the remainder-0 vertex.
    """
    corners = len(scale) + 1
    shrink = _F32(1) / _F32(corners)
    # Elevated to the hyperplane, where the coordinates sum to 0.
    rest = _F32(0)
    for axis in range(corners - 1, 0, -1):
        part = features[axis - 1, p] * scale[axis - 1]
        offset[axis] = rest - _F32(axis) * part
        rest += part
    offset[0] = rest
    # Each coordinate to its nearest multiple of d+1. Where these do not sum
    # to 0, the ranks tell which coordinates go to the next one.
    key, excess = np.int64(0), np.int32(0)
    for axis in range(corners):
        multiple = np.rint(offset[axis] * shrink)
        offset[axis] -= multiple * _F32(corners)
        excess += np.int32(multiple)
        if axis < corners - 1:
            key += np.int64(multiple) * corners * strides[axis]
    for axis in range(corners):
        rank[axis] = excess
        share[axis] = 0
    share[corners] = 0
    for one in range(corners - 1):
        for two in range(one + 1, corners):
            less = np.int32(offset[one] < offset[two])
            rank[one] += less
            rank[two] += np.int32(1) - less
    for axis in range(corners):
        turn = np.int32(rank[axis] < 0) - np.int32(rank[axis] >= corners)
        rank[axis] += turn * np.int32(corners)
        if axis < corners - 1:
            key += np.int64(turn) * corners * strides[axis]
        weight = (offset[axis] - _F32(turn * corners)) * shrink
        share[np.uint32(corners - 1 - rank[axis])] += weight
        share[np.uint32(corners - rank[axis])] -= weight
    share[0] += _F32(1) + share[corners]
    return key


@_compiled
def _step(strides: tuple, axis: int) -> int:
    """Key of a move by -d along one coordinate and +1 along all others."""
    step = np.int64(0)
    for j in range(len(strides)):
        step += np.int64(strides[j])
    if axis < len(strides):
        step -= (len(strides) + 1) * strides[axis]
    return step


@_compiled
def _slot(table: np.ndarray, keys: np.ndarray, key: int) -> int:
    """Find a key's place in the hash table, or the free one it may take."""
    size = np.uint64(len(table))
    high = (np.uint64(key) * _GOLDEN) >> np.uint64(32)
    slot = (high * size) >> np.uint64(32)
    while table[slot] >= 0 and keys[np.uint32(table[slot])] != key:
        slot = (slot + np.uint64(1)) % size
    return slot


@_compiled
def _grow(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Double the room for keys and the hash table."""
    more = np.empty(2 * len(keys), np.int64)
    more[: len(keys)] = keys
    table = np.full(2 * len(more), -1, np.int32)
    for vertex in range(len(keys)):
        table[_slot(table, more, keys[vertex])] = vertex
    return more, table


@_compiled
def _neighbours(
    keys: np.ndarray, table: np.ndarray, strides: tuple
) -> np.ndarray:
    count, corners = len(keys), len(strides) + 1
    neighbours = np.full((corners, count, 2), count, np.uint32)
    for axis in range(corners):
        step = _step(strides, axis)
        for vertex in range(count):
            other = table[_slot(table, keys, keys[vertex] - step)]
            if other >= 0:
                neighbours[axis, vertex, 0] = other
                neighbours[axis, np.uint32(other), 1] = vertex
    return neighbours


@_compiled
def _scale(weights: np.ndarray, factor: np.ndarray) -> None:
    """Multiply row p of the weights by factor[p]."""
    for p in range(len(factor)):
        for k in range(weights.shape[1]):
            weights[p, k] *= factor[p]


@_compiled_fast
def _filter(
    lattice: Lattice,
    corners: tuple,
    planes: np.ndarray,
    count: tuple,
    out: np.ndarray,
) -> None:
    """Splat, blur and slice planes [B, N], add them to ``out``.

    B = len(count) and d+1 = len(corners).
    """
    # One row more, always 0, for neighbours that are not there.
    shape = (lattice.neighbours.shape[1] + 1, len(count))
    values, blurred = np.zeros(shape, _F32), np.zeros(shape, _F32)
    for p in range(planes.shape[1]):
        for k in range(len(corners)):
            vertex, weight = lattice.vertices[p, k], lattice.weights[p, k]
            for b in range(len(count)):
                values[vertex, b] += weight * planes[b, p]
    for axis in range(len(corners)):
        _blur(lattice.neighbours[axis], values, count, blurred)
        values, blurred = blurred, values
    for p in range(planes.shape[1]):
        for b in range(len(count)):
            total = _F32(0)
            for k in range(len(corners)):
                vertex, weight = lattice.vertices[p, k], lattice.weights[p, k]
                total += weight * values[vertex, b]
            out[b, p] += total


@_compiled_fast
def _blur(
    neighbours: np.ndarray, values: np.ndarray, count: tuple, out: np.ndarray
) -> None:
    """Weigh each vertex and its neighbours on one axis by 1, 1/2, 1/2.

    The paper's weights are half of these: the normalisation of the kernel
    takes care of a constant factor.
    """
    for vertex in range(len(neighbours)):
        before, after = neighbours[vertex, 0], neighbours[vertex, 1]
        for b in range(len(count)):
            both = values[before, b] + values[after, b]
            out[vertex, b] = values[vertex, b] + _F32(0.5) * both
