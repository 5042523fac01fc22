"""A table from a spreadsheet: image-level labels from its rows.

Usage:
    python tools/dataset_converters/table.py photos.csv data/mine/images \
        data/mine/labels/train.csv --val data/mine/labels/val.csv

The table is a CSV file with commas, semicolons or tabs. Its first column
names the image, with or without suffix; any of these may follow:

- one row an image: a class in each further column, or several in one cell,
  separated by comma, semicolon or ``|``;
- one row a pair: an image comes in as many rows as it shows classes;
- one column a class, with the class's name in the header and 1, x, yes or
  true where the image shows it; 0, no, false or nothing where not.

A first row that names no image, and no class of the other rows, is taken as
the header. If the table has
other columns, too, say which to read: ``--columns photo tags``.
"""

import argparse
import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from list_writer import (
    add_arguments,
    choose_classes,
    write_labels,
)

from mmrca.cli import existing_file, run
from mmrca.datasets.images import IMAGE_SUFFIXES, find_images

# What a cell of a column for each class may hold.
YES, NO = {'1', 'x', 'yes', 'true'}, {'', '0', 'no', 'false'}


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Make a label list from a CSV table.'
    )
    parser.add_argument('table', help='CSV file, in UTF-8')
    parser.add_argument('images', type=Path, help='folder of the images')
    add_arguments(parser)
    parser.add_argument(
        '--columns',
        nargs='+',
        metavar='NAME',
        help='columns to read, by their header, the one of the image first '
        '[all, from left to right]',
    )
    return parser.parse_args(argv)


def read_rows(path: str) -> list[list[str]]:
    """Read the rows that are not empty, cells without blanks around them.

    Raises:
        ValueError: The table is empty or not UTF-8.
    """
    try:
        text = Path(path).read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8; save it as 'CSV UTF-8' in the spreadsheet"
        ) from error
    first = re.sub(r'"[^"]*"', '', text.partition('\n')[0])
    delimiter = max(';\t,', key=first.count)
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter)
    rows = [[cell.strip() for cell in row] for row in reader]
    rows = [row for row in rows if any(row)]
    if not rows:
        raise ValueError(f'{path} is empty')
    return rows


def pick_columns(
    rows: list[list[str]], columns: Sequence[str], path: str
) -> list[list[str]]:
    """Keep the columns of these names, in this order.

    Raises:
        ValueError: The header, the first row, has not exactly one of each.
    """
    header = rows[0]
    for name in columns:
        if header.count(name) != 1:
            raise ValueError(
                f"{path} has {header.count(name)} columns '{name}'; its "
                f'header is {", ".join(header)}'
            )
    places = [header.index(name) for name in columns]
    return [[row[p] if p < len(row) else '' for p in places] for row in rows]


def has_header(rows: list[list[str]], images: Path) -> bool:
    """Tell a header from an image, which may be a missing one."""
    first, *others = rows
    if first[0].lower().endswith(IMAGE_SUFFIXES):
        return False
    later = {cell for row in others for cell in row[1:] if cell}
    found, _ = find_images(images, first[:1])
    return later.isdisjoint(first[1:]) and not found


def find_classes(
    header: list[str] | None, rows: list[list[str]]
) -> dict[str, list[str]]:
    """Find the classes that each image shows.

    Args:
        header: Names of the columns, None if the table has none.
        rows: An image and what stands in the other columns.

    Raises:
        ValueError: A row has no image.
    """
    marks = {cell.lower() for row in rows for cell in row[1:]}
    ticked = header is not None and len(header) > 2 and marks <= YES | NO
    labels: dict[str, list[str]] = {}
    for image, *cells in rows:
        if not image:
            raise ValueError(
                f'a row has no image before {" ".join(cells)!r}; name it, or '
                'remove the row'
            )
        shown = labels.setdefault(image.replace('\\', '/'), [])
        if ticked:
            names = zip(header[1:], cells, strict=False)
            shown += [name for name, cell in names if cell.lower() in YES]
        else:
            words = (
                word for cell in cells for word in re.split('[,;|]', cell)
            )
            shown += [word.strip() for word in words if word.strip()]
    return labels


def main(argv: Sequence[str] | None = None) -> None:
    """Convert."""
    args = parse_args(argv)
    rows = read_rows(existing_file(args.table, 'table'))
    if args.columns:
        rows = pick_columns(rows, args.columns, args.table)
    header = None
    if args.columns or has_header(rows, args.images):
        header = rows.pop(0)
        print(f'header: {", ".join(header)}')
    labels = find_classes(header, rows)
    used = {name for shown in labels.values() for name in shown}
    classes = choose_classes(args, sorted(used))
    print(write_labels(args, args.images, labels, classes, {}))
    twice = sum(len(shown) - len(set(shown)) for shown in labels.values())
    if twice:
        print(f'{twice} labels stood in the table twice')


if __name__ == '__main__':
    run(main)
