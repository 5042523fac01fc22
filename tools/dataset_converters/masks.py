"""Masks that exist: image-level labels from the classes they hold.

Usage:
    python tools/dataset_converters/masks.py data/mine/SegmentationClass \
        data/mine/JPEGImages data/mine/labels/train_cls.txt \
        --classes classes.txt --list data/mine/ImageSets/Segmentation/train.txt

Masks are grey or palette PNGs, 0 the background, c + 1 class c and 255
ignored. A class counts however few its pixels are.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from list_writer import (
    add_arguments,
    add_normal_flag,
    choose_classes,
    read_names,
    write_labels,
)
from PIL import Image

from mmrca.cli import existing_file, run
from mmrca.progress import progress

IGNORE_INDEX = 255


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Make a label list from masks.'
    )
    parser.add_argument('masks', type=Path, help='folder of ID.png')
    parser.add_argument('images', type=Path, help='folder of the images')
    add_arguments(parser)
    add_normal_flag(parser)
    parser.add_argument('--list', help='IDs to take, one a line [all masks]')
    return parser.parse_args(argv)


def mask_names(folder: Path, chosen: str | None) -> list[str]:
    """List the masks to read, by their paths without suffix.

    Raises:
        FileNotFoundError: The folder, the list or a mask is missing.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f'mask folder {folder} does not exist')
    found = sorted(
        path.relative_to(folder).with_suffix('').as_posix()
        for path in folder.rglob('*.png')
    )
    if chosen is None:
        return found
    names = read_names(existing_file(chosen, 'list'))
    there = set(found)
    missing = [name for name in names if name not in there]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of {len(names)} masks of {chosen} are not in '
            f'{folder}, first {missing[0]}.png'
        )
    return names


def read_mask(path: Path, classes: Sequence[str]) -> list[str]:
    """Read the classes that a mask holds.

    Raises:
        ValueError: It is no mask, or holds a number without a class.
    """
    try:
        with Image.open(path) as picture:
            mode, values = picture.mode, np.unique(np.asarray(picture))
    except OSError as error:
        raise ValueError(f'mask {path} cannot be read') from error
    if mode not in ('L', 'P'):
        raise ValueError(
            f'mask {path} must be 8-bit grey or with a palette, not {mode}'
        )
    numbers = [v - 1 for v in values.tolist() if v not in (0, IGNORE_INDEX)]
    if numbers and numbers[-1] >= len(classes):
        raise ValueError(
            f'mask {path} holds {numbers[-1] + 1}, but there are '
            f'{len(classes)} classes; correct the mask or the classes'
        )
    return [classes[number] for number in numbers]


def main(argv: Sequence[str] | None = None) -> None:
    """Convert."""
    args = parse_args(argv)
    classes = choose_classes(args, (), args.masks)
    labels = {
        name: read_mask(args.masks / f'{name}.png', classes)
        for name in progress(mask_names(args.masks, args.list), 'masks')
    }
    print(write_labels(args, args.images, labels, classes, {}))


if __name__ == '__main__':
    run(main)
