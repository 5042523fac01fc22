"""COCO 2014 or 2017: image-level labels from an instances file.

Usage:
    python tools/dataset_converters/coco.py \
        data/coco/annotations/instances_train2014.json \
        data/coco/train2014 data/coco/labels/train2014_cls.txt

The 80 classes are numbered without the gaps of COCO's category ids, in their
order. Crowd regions count as objects do: they show the class. How many labels
rest on them alone is printed. Images without any annotation are left out,
counted and listed; ``--normal`` keeps them as images of none of the classes.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from list_writer import (
    add_arguments,
    add_normal_flag,
    choose_classes,
    read_json,
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
    add_normal_flag(parser)
    return parser.parse_args(argv)


def read_instances(path: str) -> dict:
    """Read the file without the outlines, which are most of it.

    Raises:
        ValueError: It is not an instances file.
    """

    def forget_outline(entry: dict) -> dict:
        entry.pop('segmentation', None)
        return entry

    content = read_json(path, forget_outline)
    for key in ('images', 'annotations', 'categories'):
        if not isinstance(content, dict) or type(content.get(key)) is not list:
            raise ValueError(
                f"{path} has no list '{key}'; give an instances_*.json of COCO"
            )
    return content


def read_fields(path: str, key: str, entries: list, *fields: str) -> Iterator:
    """Yield some fields of each entry of a list, strings without blanks.

    Args:
        path: The file, for errors.
        key: Of the list, for errors.
        entries: The list.
        fields: Ids are integers or strings, other fields strings.

    Raises:
        ValueError: An entry has not one of the fields.
    """
    for number, entry in enumerate(entries, 1):
        for field in fields:
            value = entry.get(field) if isinstance(entry, dict) else None
            text = isinstance(value, str) and value.strip()
            if not (text or (field.endswith('id') and type(value) is int)):
                raise ValueError(
                    f"{path}: entry {number} of '{key}' must have a "
                    f"'{field}', not {value!r}; give an instances_*.json of "
                    'COCO'
                )
        yield [str(entry[f]).strip() for f in fields]


def by_id(path: str, key: str, entries: list, field: str) -> dict[str, str]:
    """Map the ids of a list's entries to their names.

    Args:
        path: The file, for errors.
        key: Of the list, for errors.
        entries: The list.
        field: Of the name.

    Raises:
        ValueError: An entry has no id or name, or two have the same.
    """
    names: dict[str, str] = {}
    seen = set()
    for number, name in read_fields(path, key, entries, 'id', field):
        if number in names or name in seen:
            raise ValueError(
                f"{path}: two entries of '{key}' have the id {number} or the "
                f"{field} '{name}'; keep one of them"
            )
        names[number] = name
        seen.add(name)
    return names


def find_classes(
    content: dict, classes: Mapping[str, str], path: str
) -> dict[str, dict[str, bool]]:
    """Find the classes that each image shows.

    Args:
        content: From :func:`read_instances`.
        classes: The categories' names by their ids.
        path: The file, for errors.

    Returns:
        For each image, by file name, and each of its classes whether crowd
        regions alone show it.

    Raises:
        ValueError: An image or a category is missing or there twice.
    """
    images = by_id(path, 'images', content['images'], 'file_name')
    found: dict[str, dict[str, bool]] = {name: {} for name in images.values()}
    entries = content['annotations']
    pairs = read_fields(
        path, 'annotations', entries, 'image_id', 'category_id'
    )
    for number, (image, category) in enumerate(pairs, 1):
        if image not in images or category not in classes:
            raise ValueError(
                f"{path}: entry {number} of 'annotations' is of image {image} "
                f'and category {category}, but the file does not list both; '
                'correct it'
            )
        shown, name = found[images[image]], classes[category]
        crowd = entries[number - 1].get('iscrowd', 0) == 1
        shown[name] = shown.get(name, True) and crowd
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Convert."""
    args = parse_args(argv)
    path = existing_file(args.instances, 'instances file')
    content = read_instances(path)
    categories = by_id(path, 'categories', content['categories'], 'name')
    # In the order of the numbers, which are strings here.
    ids = sorted(categories, key=lambda number: (len(number), number))
    classes = choose_classes(args, [categories[i] for i in ids], path)
    found = find_classes(content, categories, path)
    print(write_labels(args, args.images, found, classes, {}))
    crowds = sum(sum(shown.values()) for shown in found.values())
    print(f'labels that rest on crowd regions alone: {crowds}')


if __name__ == '__main__':
    run(main)
