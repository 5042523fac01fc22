"""A folder for each class: image-level labels from where an image lies.

Usage:
    python tools/dataset_converters/folders.py data/mine/images \
        data/mine/labels/train.csv --val data/mine/labels/val.csv

``IMAGES/cat/1.jpg`` shows the class ``cat``; folders inside ``cat`` belong to
it. An image whose very file lies in several class folders is taken once and
shows all of their classes. What is no image or lies in no class folder is
left out, counted and listed.
"""

import argparse
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from list_writer import (
    add_arguments,
    choose_classes,
    write_labels,
)

from mmrca.cli import run
from mmrca.datasets.images import IMAGE_SUFFIXES


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Make a label list from a folder for each class.'
    )
    parser.add_argument(
        'images', type=Path, help='folder that holds the class folders'
    )
    add_arguments(parser)
    return parser.parse_args(argv)


def sort_files(root: Path) -> tuple[list[str], dict[str, str]]:
    """Tell the images in class folders from everything else.

    Returns:
        The images' paths inside ``root`` and, for each other file, why it
        is left out.
    """
    images, skipped = [], {}
    for path in sorted(root.rglob('*')):
        name = path.relative_to(root).as_posix()
        if not path.is_file():
            continue
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            skipped[name] = 'no image'
        elif '/' not in name:
            skipped[name] = 'in no class folder'
        else:
            images.append(name)
    return images, skipped


def same_files(root: Path, names: Sequence[str]) -> dict[str, str]:
    """Find copies of files.

    Args:
        root: Folder of the files.
        names: Their paths inside it.

    Returns:
        For each copy the first file with the same content.
    """
    by_size = defaultdict(list)
    for name in names:
        by_size[(root / name).stat().st_size].append(name)
    first: dict[str, str] = {}
    copies = {}
    for name in (n for group in by_size.values() if group[1:] for n in group):
        digest = hashlib.sha256((root / name).read_bytes()).hexdigest()
        original = first.setdefault(digest, name)
        if original != name:
            copies[name] = original
    return copies


def main(argv: Sequence[str] | None = None) -> None:
    """Convert."""
    args = parse_args(argv)
    if not args.images.is_dir():
        raise FileNotFoundError(f'image folder {args.images} does not exist')
    folders = sorted(path for path in args.images.iterdir() if path.is_dir())
    classes = choose_classes(args, [folder.name for folder in folders])
    images, skipped = sort_files(args.images)
    copies = same_files(args.images, images)
    labels: dict[str, set[str]] = {}
    for name in images:
        shown = labels.setdefault(copies.get(name, name), set())
        shown.add(name.split('/')[0])
    skipped |= {copy: f'the same as {copies[copy]}' for copy in copies}
    print(write_labels(args, args.images, labels, classes, skipped))


if __name__ == '__main__':
    run(main)
