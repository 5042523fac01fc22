"""CVAT: image-level labels from an export 'CVAT for images 1.1'.

Usage:
    python tools/dataset_converters/cvat.py annotations.xml data/mine/images \
        data/mine/labels/train.csv --val data/mine/labels/val.csv

An image shows the labels of its tags and of its boxes, polygons and other
shapes. Images without any are left out, counted and listed; ``--normal``
keeps them as images of none of the classes, ``--normal good`` those with the
label ``good``.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from list_writer import (
    add_arguments,
    add_normal_words,
    choose_classes,
    read_xml,
    write_labels,
)

from mmrca.cli import existing_file, run


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Make a label list from 'CVAT for images 1.1'."
    )
    parser.add_argument('annotations', help='annotations.xml')
    parser.add_argument('images', type=Path, help='folder of the images')
    add_arguments(parser)
    add_normal_words(parser, "label, or '' for no label,")
    return parser.parse_args(argv)


def find_classes(root: ElementTree.Element, path: str) -> dict[str, list[str]]:
    """Find the labels of each image.

    Args:
        root: Of the file.
        path: The file, for errors.

    Raises:
        ValueError: There are no images, an image is there twice, or it or a
            label has no name.
    """
    found: dict[str, list[str]] = {}
    for number, image in enumerate(root.findall('image'), 1):
        name = (image.get('name') or '').strip()
        labels = [(entry.get('label') or '').strip() for entry in image]
        if not name or name in found or not all(labels):
            raise ValueError(
                f"{path}: <image> {number}, '{name}', must have a name of its "
                'own and a label in each entry'
            )
        found[name] = labels
    if not found:
        raise ValueError(
            f"{path} has no <image>; export 'CVAT for images 1.1'"
        )
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Convert."""
    args = parse_args(argv)
    path = existing_file(args.annotations, 'file')
    root = read_xml(path, 'annotations')
    found = find_classes(root, path)
    listed = [name.text or '' for name in root.findall('meta//label/name')]
    used = sorted({label for labels in found.values() for label in labels})
    classes = choose_classes(args, listed or used, path)
    print(write_labels(args, args.images, found, classes, {}))


if __name__ == '__main__':
    run(main)
