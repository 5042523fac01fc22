"""PASCAL VOC 2012: image-level labels from the XML annotations.

Usage:
    python tools/dataset_converters/voc.py data/VOCdevkit/VOC2012 \
        train_aug.txt data/VOCdevkit/VOC2012/labels/trainaug_cls.txt

The list of images may be one of VOC's own (ImageSets/Segmentation/train.txt),
DeepLab's list of the 10,582 images with SBD's (``/JPEGImages/ID.jpg
/SegmentationClassAug/ID.png``), or begin its lines with the image's name in
any other way. VOC has an XML file for the images of SBD, too.

Objects that VOC marks as difficult count as any other: they are in the
picture. How many labels rest on them alone is printed. Images without any
object are left out, counted and listed; ``--normal`` keeps them as images of
none of the classes.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from list_writer import (
    add_arguments,
    add_normal_flag,
    choose_classes,
    read_names,
    read_xml,
    write_labels,
)

from mmrca.cli import existing_file, run
from mmrca.progress import progress

CLASSES = (
    'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat',
    'chair', 'cow', 'diningtable', 'dog', 'horse', 'motorbike', 'person',
    'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor',
)  # fmt: skip


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
    listed = read_names(existing_file(args.list, 'list'))
    names = [PurePosixPath(name).stem for name in listed]
    folder = args.root / 'Annotations'
    missing = [n for n in names if not (folder / f'{n}.xml').is_file()]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of {len(names)} images of {args.list} have no '
            f'{folder}/ID.xml, first {missing[0]}'
        )
    labels = {
        name: read_objects(folder / f'{name}.xml')
        for name in progress(names, 'annotations')
    }
    print(write_labels(args, args.root / 'JPEGImages', labels, classes, {}))
    difficult = sum(sum(found.values()) for found in labels.values())
    print(f'{difficult} labels rest on objects marked as difficult alone')


if __name__ == '__main__':
    run(main)
