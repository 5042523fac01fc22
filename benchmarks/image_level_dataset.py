"""How long a label list of the size of COCO 2014 takes to load.

Usage:
    python benchmarks/image_level_dataset.py

Makes a folder of 82,000 (empty) images in the folder for temporary files and
loads 240,000 labels of 80 classes in each notation, beside MMSegmentation's
own data set, which reads the names alone, and beside the naive way of asking
the disk for every image. All take turns; then the memory of such a list is
computed for some settings.
"""

import statistics
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmrca.cli import run
from mmrca.datasets import ImageLevelDataset

IMAGES, CLASSES, LABELS = 82_000, 80, 240_000


def parse_args() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--rounds', type=int, default=5, help='[5]')
    return parser.parse_args()


def draw_labels() -> dict[str, list[int]]:
    """Draw two or three classes for each image."""
    rng = np.random.default_rng(0)
    counts = np.full(IMAGES, LABELS // IMAGES)
    counts[: LABELS - counts.sum()] += 1
    return {
        f'COCO_train2014_{i:012d}': sorted(
            rng.choice(CLASSES, n, replace=False).tolist()
        )
        for i, n in enumerate(counts)
    }


def write(folder: Path, labels: dict[str, list[int]]) -> None:
    """Write the images and the list in each notation."""
    (folder / 'images').mkdir()
    for name in labels:
        (folder / f'images/{name}.jpg').touch()
    names = {
        image: [f'class {c}' for c in classes]
        for image, classes in labels.items()
    }
    texts = {
        'txt': (f'{i} {" ".join(map(str, c))}' for i, c in labels.items()),
        'csv': (','.join((i, *c)) for i, c in names.items()),
        'ids': names,
    }
    for kind, lines in texts.items():
        (folder / f'list.{kind}').write_text('\n'.join(lines))
    pairs = (f'"{i}": {c}'.replace("'", '"') for i, c in names.items())
    (folder / 'list.json').write_text('{' + ',\n'.join(pairs) + '}')


def load(folder: Path, kind: str, cap: int | None = None) -> ImageLevelDataset:
    """Load the list in one notation."""
    names = [f'class {c}' for c in range(CLASSES)]
    return ImageLevelDataset(
        str(folder / f'list.{kind}'),
        dict(classes=('background', *names)),
        dict(img_path=str(folder / 'images')),
        rows_per_class=cap,
    )


def load_stock(folder: Path) -> object:
    """Load the names by MMSegmentation's own data set."""
    # Only once mmrca has cured torchvision.
    from mmseg.datasets import BaseSegDataset

    return BaseSegDataset(
        ann_file=str(folder / 'list.ids'),
        data_prefix=dict(img_path=str(folder / 'images')),
        metainfo=dict(classes=('background',)),
    )


def load_naively(folder: Path) -> list[dict]:
    """Read the plain list and ask the disk for each image; no checks."""
    entries = []
    for line in (folder / 'list.txt').read_text().splitlines():
        image, *classes = line.split()
        path = folder / 'images' / f'{image}.jpg'
        if not path.is_file():
            raise FileNotFoundError(path)
        entries.append(dict(path=str(path), classes=list(map(int, classes))))
    return entries


def take_turns(
    ways: dict[str, Callable[[], object]], rounds: int
) -> dict[str, list[float]]:
    """Time each way once a round, in seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def spread(values: list[float]) -> str:
    """Show median and range."""
    middle = statistics.median(values)
    return f'{middle:6.2f} ({min(values):.2f} to {max(values):.2f})'


def main() -> None:
    """Measure."""
    args = parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, draw_labels())
        ways = {
            'plain text': lambda: load(folder, 'txt'),
            'csv': lambda: load(folder, 'csv'),
            'json': lambda: load(folder, 'json'),
            'MMSegmentation, names alone': lambda: load_stock(folder),
            'naive, a stat for each image': lambda: load_naively(folder),
        }
        seconds = take_turns(ways, args.rounds)
        rows = {cap: len(load(folder, 'txt', cap).row_class)
                for cap in (None, 500)}  # fmt: skip
    ours = seconds['plain text']
    print(f'{IMAGES} images, {LABELS} labels, median (range) of {args.rounds}')
    print(f'{"":30}{"seconds":24}plain text takes ... times as long')
    for name, values in seconds.items():
        ratios = [a / b for a, b in zip(ours, values, strict=True)]
        print(f'{name:30}{spread(values):24}{spread(ratios)}')
    for cap, count in rows.items():
        for channels in (512, 2048, 4096):
            size = count * channels * 4 / 2**20
            print(
                f'memory, rows_per_class={cap}: {count} rows x {channels} '
                f'channels, {size:.1f} MB'
            )


if __name__ == '__main__':
    run(main)
