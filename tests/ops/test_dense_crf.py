"""The lattice against one written from the paper."""

import itertools

import numpy as np
import pytest

from mmrca.ops import dense_crf


def run(features, weight, planes):
    lattice = dense_crf.build_lattice(features.T.astype(np.float32), weight)
    return dense_crf.filter_planes(lattice, planes.astype(np.float32))


def simplex(point):
    """The corners around a point of the hyperplane, and its shares in them.

    By trying: of all points whose coordinates are multiples of d+1 and sum
    to 0, the nearest is corner 0; the shares solve the linear system.
    """
    size = len(point)
    low = np.floor(point / size) * size
    tries = [low + np.multiply(size, t) for t in choices(size)]
    tries = [t for t in tries if abs(t.sum()) < 1e-9]
    origin = min(tries, key=lambda t: ((t - point) ** 2).sum())
    order = np.argsort(origin - point)
    corners = []
    for k in range(size):
        step = np.full(size, k)
        step[order[size - k :]] -= size
        corners.append(tuple((origin + step).astype(int)))
    system = np.vstack([np.transpose(corners), np.ones(size)])
    shares = np.linalg.lstsq(system, [*point, 1], rcond=None)[0]
    assert (shares > -1e-9).all()
    np.testing.assert_allclose(system @ shares, [*point, 1], atol=1e-9)
    return corners, shares


def choices(size):
    return itertools.product((-1, 0, 1, 2), repeat=size)


def by_the_paper(features, weight, planes):
    """Filter with dicts and loops, normalised from both sides."""
    d = features.shape[1]
    embed = np.zeros((d + 1, d))
    for i in range(d):
        embed[: i + 1, i] = 1
        embed[i + 1, i] = -(i + 1)
        embed[:, i] /= np.sqrt((i + 1) * (i + 2))
    embed *= np.sqrt(2 / 3) * (d + 1)
    simplices = [simplex(embed @ f) for f in features]

    def blurred(planes):
        values = {}
        for (corners, shares), pixel in zip(simplices, planes.T, strict=True):
            for corner, share in zip(corners, shares, strict=True):
                values[corner] = values.get(corner, 0) + share * pixel
        for axis in range(d + 1):
            step = np.ones(d + 1, dtype=int)
            step[axis] = -d
            values = {
                v: value / 2
                + values.get(tuple(v + step), 0) / 4
                + values.get(tuple(v - step), 0) / 4
                for v, value in values.items()
            }
        return np.transpose(
            [
                sum(s * values[c] for c, s in zip(*pair, strict=True))
                for pair in simplices
            ]
        )

    scale = 1 / np.sqrt(blurred(np.ones((1, len(features))))[0])
    return weight * scale * blurred(planes * scale)


@pytest.mark.parametrize('d', [2, 5])
def test_filters_as_the_paper_does(d):
    random = np.random.default_rng(d)
    features = 2.5 * random.random((30, d))
    planes = random.random((6, 30))
    expected = by_the_paper(features, 3, planes)
    # Neighbours must reach each other for the blur to be seen.
    assert np.abs(expected / planes - 3).min(0).max() > 0.3
    given = run(features, 3, planes)
    np.testing.assert_allclose(given, expected, rtol=1e-5)


def test_a_crowd_of_vertices():
    # More than the table of vertices has room for at first. Each pixel comes
    # twice and the others are too far to be heard: what is left is the mean
    # of the two.
    ways = np.mgrid[:60, :50].reshape(2, -1).T * 100.0
    features = ways + np.random.default_rng(0).random(ways.shape)
    planes = np.random.default_rng(1).random((2, 2, len(ways)))
    given = run(np.tile(features, (2, 1)), 3, planes.reshape(2, -1))
    expected = np.tile(3 * planes.mean(1), 2)
    np.testing.assert_allclose(given, expected, rtol=1e-4)
