"""Masks that exist: image-level labels from the classes they hold.

Usage:
    python tools/dataset_converters/masks.py data/mine/SegmentationClass \
        data/mine/JPEGImages data/mine/labels/train_cls.txt \
        --classes classes.txt --list data/mine/ImageSets/Segmentation/train.txt

Masks are grey or palette PNGs, 0 the background, c + 1 class c and 255
ignored. A class counts however few its pixels are. Masks without any class
are left out, counted and listed; ``--normal`` keeps their images as images of
none of the classes.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from list_writer import (
    add_arguments,
    add_normal_flag,
    choose_classes,
    write_labels,
)

from mmrca.cli import run
from mmrca.datasets.images import image_ids, list_images
from mmrca.datasets.label_list import read_images
from mmrca.datasets.masks import check_shown, read_class_map
from mmrca.ops import IGNORE_INDEX
from mmrca.progress import progress


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


def list_masks(
    folder: Path, chosen: str | None
) -> tuple[dict[str, str], dict[str, str]]:
    """List the masks to read.

    Args:
        folder: Of the masks.
        chosen: List of the images to take; without one, all.

    Returns:
        For each image's ID the mask's path inside the folder, and for each
        file that is left out why.

    Raises:
        FileNotFoundError: The folder, the list or a mask is missing.
        ValueError: There is no PNG, or an image has two.
    """
    if chosen is not None:
        return read_images(chosen, folder), {}
    found, skipped = list_images(folder)
    masks = [name for name in found if name.lower().endswith('.png')]
    if not masks:
        raise ValueError(
            f'{folder} has no PNG, but {", ".join(found[:1]) or "no images"}; '
            'save masks as PNG, as other formats change their values'
        )
    others = [name for name in found if name not in set(masks)]
    skipped |= dict.fromkeys(others, 'not a PNG')
    ids = image_ids({name: name for name in masks})
    return {ids[name]: name for name in masks}, skipped


def main(argv: Sequence[str] | None = None) -> None:
    """Convert."""
    args = parse_args(argv)
    classes = choose_classes(args, (), args.masks)
    masks, skipped = list_masks(args.masks, args.list)
    labels: dict[str, list[str]] = {}
    seen: set[int] = set()
    for name, file in progress(masks.items(), 'masks', len(masks)):
        picture = read_class_map(args.masks / file, 'mask', len(classes) + 1)
        values = [v for v in np.unique(picture).tolist() if v]
        seen.update(values)
        labels[name] = [classes[v - 1] for v in values if v != IGNORE_INDEX]
        # Ignored pixels may be of a class, so the image may not be normal.
        if values == [IGNORE_INDEX]:
            del labels[name]
            skipped[name] = 'no class but ignored pixels (255)'
    check_shown(seen, f'mask in {args.masks}')
    print(write_labels(args, args.images, labels, classes, skipped))


if __name__ == '__main__':
    run(main)
