"""PASCAL VOC 2012: image-level labels from the XML annotations.

Usage:
    python tools/dataset_converters/voc.py data/VOCdevkit/VOC2012 \
        train_aug.txt data/VOCdevkit/VOC2012/labels/trainaug_cls.txt

The list of images may be one of VOC's own (ImageSets/Segmentation/train.txt),
DeepLab's list of the 10,582 images with SBD's (``/JPEGImages/ID.jpg
/SegmentationClassAug/ID.png``), or begin its lines with the image's name in
any other way. VOC also has XML files for the images of SBD.

Objects that VOC marks as difficult count as any other: they are in the
picture. How many labels rest on them alone is printed. Images without any
object are left out, counted and listed; ``--normal`` keeps them as images of
none of the classes.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from list_writer import (
    add_arguments,
    add_normal_flag,
    choose_classes,
    read_xml,
    write_labels,
)

from mmrca.cli import existing_file, run
from mmrca.datasets.images import find_images
from mmrca.datasets.label_list import read_images
from mmrca.progress import progress

CLASSES = (
    'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat',
    'chair', 'cow', 'diningtable', 'dog', 'horse', 'motorbike', 'person',
    'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor',
)  # fmt: skip

# A line of DeepLab's list.
DEEPLAB = re.compile(r'/?JPEGImages/(.+?)\.jpg(?:\s|$)')


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Make a label list from VOC XML annotations.'
    )
    parser.add_argument(
        'root', type=Path, help='folder with Annotations and JPEGImages'
    )
    parser.add_argument('list', help='list of the images to take')
    add_arguments(parser)
    add_normal_flag(parser)
    return parser.parse_args(argv)


def find_annotations(path: str, folder: Path) -> dict[str, str]:
    """Find the XML files of the images of a list.

    Args:
        path: The list.
        folder: Of the XML files.

    Returns:
        For each image's ID its file inside the folder.

    Raises:
        FileNotFoundError: The list, the folder or a file is missing.
        ValueError: The list is empty, cannot be read or names an image twice.
    """
    file = Path(existing_file(path, 'list'))
    lines = file.read_text(encoding='utf-8', errors='replace').splitlines()
    deeplab = {line: DEEPLAB.match(line) for line in lines if line.strip()}
    if not any(deeplab.values()):
        return read_images(path, folder, '.xml')
    names = [match[1] if match else line for line, match in deeplab.items()]
    found, reasons = find_images(folder, names, '.xml')
    for name, why in reasons.items():
        raise FileNotFoundError(f'{path}: image {name} has no XML file: {why}')
    return found


def read_objects(path: Path) -> dict[str, bool]:
    """Read the classes of one XML file.

    Returns:
        For each class whether all its objects are difficult.

    Raises:
        ValueError: The file is not VOC XML.
    """
    found: dict[str, bool] = {}
    for entry in read_xml(path, 'annotation').findall('object'):
        name = (entry.findtext('name') or '').strip()
        if not name:
            raise ValueError(f'{path} has an object without a name')
        difficult = (entry.findtext('difficult') or '').strip() == '1'
        found[name] = found.get(name, True) and difficult
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Convert."""
    args = parse_args(argv)
    classes = choose_classes(args, CLASSES, args.root)
    folder = args.root / 'Annotations'
    files = find_annotations(args.list, folder)
    labels = {
        name: read_objects(folder / file)
        for name, file in progress(files.items(), 'annotations', len(files))
    }
    print(write_labels(args, args.root / 'JPEGImages', labels, classes, {}))
    difficult = sum(sum(found.values()) for found in labels.values())
    print(f'labels that rest on difficult objects alone: {difficult}')


if __name__ == '__main__':
    run(main)
