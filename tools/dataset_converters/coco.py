"""COCO 2014 or 2017: image-level labels from an instances file.

Usage:
    python tools/dataset_converters/coco.py \
        data/coco/annotations/instances_train2014.json \
        data/coco/train2014 data/coco/labels/train2014_cls.txt

The 80 classes are numbered without the gaps of COCO's category ids, in their
order. Crowd regions count as objects do: they show the class. How many labels
rest on them alone is printed. Images without any class are left out, counted
and listed.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from list_writer import (
    add_arguments,
    choose_classes,
    write_labels,
)

from mmrca.cli import existing_file, run


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Make a label list from COCO instances.'
    )
    parser.add_argument('instances', help='instances_*.json')
    parser.add_argument('images', type=Path, help='folder of the images')
    add_arguments(parser)
    return parser.parse_args(argv)


def read_instances(path: str) -> dict:
    """Read the file without the outlines, which are most of it.

    Raises:
        ValueError: It is no instances file.
    """

    def forget_outline(entry: dict) -> dict:
        entry.pop('segmentation', None)
        return entry

    try:
        with open(path, encoding='utf-8') as file:
            content = json.load(file, object_hook=forget_outline)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f'{path} cannot be read as JSON: {error}') from error
    for key in ('images', 'annotations', 'categories'):
        if not isinstance(content, dict) or key not in content:
            raise ValueError(
                f"{path} has no '{key}'; give an instances_*.json of COCO"
            )
    return content


def find_classes(content: dict, path: str) -> dict[str, dict[str, bool]]:
    """Find the classes that each image shows.

    Args:
        content: From :func:`read_instances`.
        path: Its file, for errors.

    Returns:
        For each image, by file name, and each of its classes whether crowd
        regions alone show it.

    Raises:
        ValueError: Ids are there twice or missing.
    """
    names = {image['id']: image['file_name'] for image in content['images']}
    if len(set(names.values())) != len(content['images']):
        raise ValueError(f'{path} has an image twice')
    classes = {entry['id']: entry['name'] for entry in content['categories']}
    found: dict[str, dict[str, bool]] = {name: {} for name in names.values()}
    for entry in content['annotations']:
        if entry['image_id'] not in names:
            raise ValueError(
                f'{path}: annotation {entry["id"]} is of image '
                f'{entry["image_id"]}, which is not there'
            )
        if entry['category_id'] not in classes:
            raise ValueError(
                f'{path}: annotation {entry["id"]} is of category '
                f'{entry["category_id"]}, which is not there'
            )
        shown = found[names[entry['image_id']]]
        name = classes[entry['category_id']]
        crowd = entry.get('iscrowd', 0) == 1
        shown[name] = shown.get(name, True) and crowd
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Convert."""
    args = parse_args(argv)
    content = read_instances(existing_file(args.instances, 'instances file'))
    categories = sorted(content['categories'], key=lambda entry: entry['id'])
    classes = choose_classes(args, [entry['name'] for entry in categories])
    found = find_classes(content, args.instances)
    print(write_labels(args, args.images, found, classes, {}))
    crowds = sum(sum(shown.values()) for shown in found.values())
    print(f'{crowds} labels rest on crowd regions alone')


if __name__ == '__main__':
    run(main)
