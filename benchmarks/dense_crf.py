"""The dense CRF beside pydensecrf: same labels, and at what cost?

    python -m benchmarks.dense_crf                    # generated pictures
    python -m benchmarks.dense_crf PHOTO.jpg ...      # these photographs

Every image is refined by all in turn, so that a busy machine slows all of
them; ratios are taken image by image and given as the median and, in
brackets, the quartiles. CPU time is that of one core. Needs pydensecrf2.
"""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from benchmarks.timing import clock, ratio
from mmrca.pseudo_labels.dense_crf import DenseCRF

LABELS = (2, 3, 4, 21)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('images', nargs='*', help='image files')
    parser.add_argument('--threads', type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(1)  # The cost of one core is asked for.
    images = [np.array(Image.open(f).convert('RGB')) for f in args.images]
    images = images or [draw(seed) for seed in range(12)]
    # pydensecrf takes pixels by four; where some are missing it puts black
    # ones at the corner, which its probabilities near there show.
    images = [i[:, : i.shape[1] // 4 * 4].copy() for i in images]
    shapes = sorted({image.shape[:2] for image in images})
    print(f'{len(images)} images, {shapes[0]} to {shapes[-1]}')
    for labels in LABELS:
        compare(images, labels)
    for name, crf in (('numba', by_numba), ('pydensecrf', by_pydensecrf)):
        thread(name, crf, images, args.threads)


def draw(seed: int, height: int = 366, width: int = 500) -> np.ndarray:
    """Make shaded regions with grain: about what a photograph offers."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    image = np.zeros((height, width, 3))
    for _ in range(25):
        angle, place = random.uniform(0, 6), random.uniform(-200, 300)
        side = np.cos(angle) * (x - 250) + np.sin(angle) * (y - 183) > place
        image[side] += random.normal(0, 30, 3)
    coarse = torch.tensor(random.normal(0, 25, (1, 3, 12, 16)))
    shade = interpolate(coarse, (height, width), mode='bicubic')[0]
    grain = random.normal(0, 6, image.shape)
    image += 128 + shade.permute(1, 2, 0).numpy() + grain
    return image.clip(0, 255).astype(np.uint8)


def rough_scores(image: np.ndarray, labels: int) -> np.ndarray:
    """Score likeness to random spots of the image, on cells of 16 pixels."""
    height, width = image.shape[:2]
    random = np.random.default_rng(labels)
    spots = random.integers(0, (height, width), (labels - 1, 2))
    colours = image[spots[:, 0], spots[:, 1]].astype(np.float32)
    gap = image[None].astype(np.float32) - colours[:, None, None]
    likeness = torch.from_numpy(np.exp(-(gap**2).sum(-1) / 2 / 50**2))
    cells = [max(1, length // 16) for length in (height, width)]
    coarse = interpolate(likeness[None], cells, mode='area')
    cams = interpolate(coarse, (height, width), mode='bilinear')[0]
    cams = cams / cams.amax((1, 2), keepdim=True)
    return np.concatenate([np.full((1, height, width), 0.4), cams]).astype(
        np.float32
    )


def by_pydensecrf(image: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Call the package the way its users do."""
    from pydensecrf.densecrf import DenseCRF2D

    share = scores / scores.sum(0)
    crf = DenseCRF2D(image.shape[1], image.shape[0], len(scores))
    crf.setUnaryEnergy(-np.log(share.clip(1e-5)).reshape(len(scores), -1))
    crf.addPairwiseGaussian(sxy=3, compat=3)
    crf.addPairwiseBilateral(sxy=80, srgb=13, rgbim=image, compat=10)
    return np.array(crf.inference(10)).reshape(scores.shape)


def by_numba(image: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Refine with the defaults."""
    return DenseCRF()(image, torch.from_numpy(scores)).numpy()


def at_half_resolution(image: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Refine every second pixel."""
    crf = DenseCRF(half_resolution=True)
    return crf(image, torch.from_numpy(scores)).numpy()


def compare(images: list[np.ndarray], labels: int) -> None:
    """Print cost and agreement for a number of labels."""
    ways: dict[str, Callable] = {
        'numba': by_numba,
        'half resolution': at_half_resolution,
    }
    for way in ways.values():  # compiles
        way(images[0], rough_scores(images[0], labels))
    costs: dict[str, list] = {name: [] for name in (*ways, 'theirs')}
    equal: dict[str, list] = {name: [] for name in ways}
    worst = dict.fromkeys(ways, 0.0)
    changed = []
    for image in images:
        scores = rough_scores(image, labels)
        theirs, cost = timed(by_pydensecrf, image, scores)
        costs['theirs'].append(cost)
        changed.append((theirs.argmax(0) != scores.argmax(0)).mean())
        for name, way in ways.items():
            ours, own_cost = timed(way, image, scores)
            costs[name].append(own_cost)
            equal[name].append((ours.argmax(0) == theirs.argmax(0)).mean())
            worst[name] = max(worst[name], np.abs(ours - theirs).max())
    print(f'{labels} labels; the CRF changes {100 * np.mean(changed):.1f} %')
    for name in ways:
        share = ratio(costs[name], costs['theirs'])
        print(
            f'  {name:16}{share} of the CPU time of '
            f'pydensecrf, equal labels {100 * np.mean(equal[name]):.4f} % '
            f'(worst image {100 * min(equal[name]):.4f} %), '
            f'probabilities within {worst[name]:.1e}'
        )


def timed(crf: Callable, *args: np.ndarray) -> tuple[np.ndarray, float]:
    """Return what the call returns, and its CPU seconds."""
    start = clock('cpu')
    result = crf(*args)
    return result, clock('cpu') - start


def thread(
    name: str, crf: Callable, images: list[np.ndarray], threads: int
) -> None:
    """Print how much faster all images are done by several threads."""
    work = [(image, rough_scores(image, 3)) for image in images]
    seconds: dict[int, list[float]] = {1: [], threads: []}
    for _ in range(5):
        for count, spent in seconds.items():
            with ThreadPoolExecutor(count) as pool:
                start = time.perf_counter()
                list(pool.map(lambda pair: crf(*pair), work))
                spent.append(time.perf_counter() - start)
    gain = ratio(seconds[1], seconds[threads])
    print(f'{name}: {threads} threads are {gain} times as fast as 1')


if __name__ == '__main__':
    main()
