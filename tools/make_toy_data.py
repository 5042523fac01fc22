"""Draw the toy data set that the demo trains on.

Usage::

    python tools/make_toy_data.py data/toy
    python tools/make_toy_data.py data/toy-tiny --train 16 --val 8
"""

import argparse
from collections import Counter
from pathlib import Path

from toy_data import CLASSES, make_dataset

from mmrca.cli import run
from mmrca.progress import progress


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Draw the toy data set that the demo trains on.'
    )
    parser.add_argument('root', help='folder to make')
    parser.add_argument('--seed', type=int, default=0, help='[0]')
    parser.add_argument(
        '--train', type=int, default=400, help='training images [400]'
    )
    parser.add_argument(
        '--val', type=int, default=100, help='validation images [100]'
    )
    return parser.parse_args()


def images_of_class(root: str, split: str) -> list[int]:
    """Count the images that show each class."""
    lines = Path(root, 'labels', f'{split}_cls.txt').read_text().splitlines()
    counts = Counter(int(c) for line in lines for c in line.split()[1:])
    return [counts[c] for c in range(len(CLASSES))]


def main() -> None:
    """Draw it, or say that it exists."""
    args = parse_args()
    written = make_dataset(
        args.root,
        args.seed,
        args.train,
        args.val,
        lambda images: progress(images, 'images'),
    )
    if written:
        print(f'wrote {args.root}: images of each class in')
    else:
        print(f'{args.root} exists: images of each class in')
    counts = (images_of_class(args.root, split) for split in ('train', 'val'))
    print(f'{"":<10}{"train":>6}{"val":>6}')
    for name, train, val in zip(CLASSES, *counts, strict=True):
        print(f'{name:<10}{train:>6}{val:>6}')


if __name__ == '__main__':
    run(main)
