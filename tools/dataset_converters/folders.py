"""A folder for each class: image-level labels from where an image lies.

Usage:
    python tools/dataset_converters/folders.py data/mine/images \
        data/mine/labels/train.csv --val data/mine/labels/val.csv

``IMAGES/cat/1.jpg`` shows the class ``cat``; folders inside ``cat`` belong to
it. An image whose very file lies in several class folders is taken once and
shows all of their classes. Hidden files, files of other kinds and images in
no class folder are left out, counted and listed. ``--normal good`` says that
the folder ``good`` holds images of none of the classes.
"""

import argparse
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from list_writer import (
    add_arguments,
    add_normal_words,
    choose_classes,
    write_labels,
)

from mmrca.cli import run
from mmrca.datasets.images import list_images


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Make a label list from a folder for each class.'
    )
    parser.add_argument(
        'images', type=Path, help='folder that holds the class folders'
    )
    add_arguments(parser)
    add_normal_words(parser, 'folder')
    return parser.parse_args(argv)


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
    found, skipped = list_images(args.images)
    images = [name for name in found if '/' in name]
    loose = [name for name in found if '/' not in name]
    skipped |= dict.fromkeys(loose, 'in no class folder')
    names = sorted({name.split('/')[0] for name in images})
    for path in sorted(args.images.iterdir()):
        if path.is_dir() and path.name not in names:
            skipped[f'{path.name}/'] = 'a folder without images'
    if not names:
        left_out = '; '.join(f'{name}: {why}' for name, why in skipped.items())
        raise ValueError(
            f'{args.images} has no folder with images; put those of each '
            f'class into a folder (left out: {left_out[:200]})'
        )
    classes = choose_classes(args, names, args.images)
    copies = same_files(args.images, images)
    labels: dict[str, set[str]] = {}
    for name in images:
        shown = labels.setdefault(copies.get(name, name), set())
        shown.add(name.split('/')[0])
    skipped |= {copy: f'the same as {copies[copy]}' for copy in copies}
    print(write_labels(args, args.images, labels, classes, skipped))


if __name__ == '__main__':
    run(main)
