"""A table from a spreadsheet: image-level labels from its rows.

Usage:
    python tools/dataset_converters/table.py photos.csv data/mine/images \
        data/mine/labels/train.csv --val data/mine/labels/val.csv

The table is a CSV file with commas, semicolons or tabs. Its first column
names the image, with or without suffix; any of these may follow:

- one row an image: a class in each further column, or several in one cell,
  separated by comma, semicolon or ``|``;
- one row a pair: an image comes in as many rows as it shows classes;
- one column a class, with the class's name in the header and 1, x, yes, true
  or a count where the image shows it; 0, -, no, false or nothing where not.

A first row that names no image, and no class of the other rows, is taken as
the header. If the table has other columns, say which to read:
``--columns photo tags``. Numbers, dates and words such as ``true`` are never
class names.

Images of none of the classes stay with ``--normal WORD``, where WORD stands
in place of a class or over a column of marks. ``--normal ''`` keeps every
image without a class.
"""

import argparse
import csv
import io
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from list_writer import (
    add_arguments,
    add_normal_words,
    choose_classes,
    write_labels,
)

from mmrca.checks import first_few
from mmrca.cli import existing_file, run
from mmrca.datasets.images import IMAGE_SUFFIXES, find_images

# What a cell of a column for each class may hold, beside counts: also what
# spreadsheets in other languages write for true and false.
YES = {
    *('1', '+', '✓', '✔', 'x', 'y', 'yes', 'true', 'j', 'ja', 'wahr'),
    *('o', 'oui', 'vrai', 's', 'si', 'sí', 'sì', 'sim'),
    *('verdadero', 'verdadeiro', 'vero', 'waar', 'sant', 'prawda'),
    *('doğru', 'истина', 'да', '是', '真'),
}
NO = {
    *('', '0', '-', '✗', '✘', 'n', 'no', 'false', 'nein', 'falsch'),
    *('non', 'faux', 'não', 'falso', 'nee', 'onwaar', 'nej', 'falskt'),
    *('fałsz', 'nie', 'yanliş', 'ложь', 'нет', '否', '假'),
}
# May mean 'no' or 'unknown'.
UNKNOWN = {'nan', 'na', 'n/a', '#n/a', 'null', 'none', 'nil'}
# Headers of columns that hold class names or their numbers.
GENERIC = {'class', 'classes', 'label', 'labels', 'tag', 'tags', 'category'}

PICK = 'pick the columns of image and classes by --columns'

_Rows = dict[int, list[str]]  # by their number in the spreadsheet


class Cell(NamedTuple):
    """What stands somewhere right of an image."""

    image: str
    column: str  # its header, or its number
    where: str
    text: str


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Make a label list from a CSV table.'
    )
    parser.add_argument('table', help='CSV file, in UTF-8 or UTF-16')
    parser.add_argument('images', type=Path, help='folder of the images')
    add_arguments(parser)
    add_normal_words(parser, "class word, or '' for no class,")
    parser.add_argument(
        '--columns',
        nargs='+',
        metavar='NAME',
        help='columns to read, by their header, the one of the image first '
        '[all, from left to right]',
    )
    return parser.parse_args(argv)


def read_rows(path: str) -> _Rows:
    """Read the rows that are not empty, cells without blanks around them.

    Raises:
        ValueError: The table is empty or cannot be read as CSV.
    """
    text = _read_text(path)
    excel = re.match(r'"?sep=(.)"?[\r\n]+', text, re.IGNORECASE)
    if excel:
        text = text[excel.end() :]
    first = re.sub(r'"[^"]*"', '', re.split('[\r\n]', text, maxsplit=1)[0])
    delimiter = excel[1] if excel else max(';\t,', key=first.count)
    lines = io.StringIO(text, newline='')
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        rows = {
            number: [cell.strip() for cell in row]
            for number, row in enumerate(reader, 1)
            if any(cell.strip() for cell in row)
        }
    except csv.Error as error:
        raise ValueError(
            f'{path} line {reader.line_num} cannot be read as CSV: {error}'
        ) from error
    if not rows:
        raise ValueError(f'{path} is empty')
    return rows


def _read_text(path: str) -> str:
    data = Path(path).read_bytes()
    utf16 = data.startswith((b'\xff\xfe', b'\xfe\xff'))  # Excel's
    try:
        text = data.decode('utf-16' if utf16 else 'utf-8-sig')
    except UnicodeDecodeError:
        text = '\0'
    if '\0' in text:
        raise ValueError(
            f"{path} is not UTF-8; save it as 'CSV UTF-8' in the spreadsheet"
        )
    if text.lstrip().startswith(('{', '[', '<')):
        raise ValueError(
            f'{path} is not a table but JSON or XML; use the converter of '
            'its format, or export CSV'
        )
    return text


def pick_columns(rows: _Rows, columns: Sequence[str], path: str) -> _Rows:
    """Keep the columns of these names, in this order.

    Raises:
        ValueError: The header, the first row, has not exactly one of each.
    """
    header = rows[min(rows)]
    for name in columns:
        if header.count(name) != 1:
            raise ValueError(
                f"{path} has {header.count(name)} columns '{name}'; its "
                f'header is {", ".join(header)}'
            )
    places = [header.index(name) for name in columns]
    return {
        number: [row[p] if p < len(row) else '' for p in places]
        for number, row in rows.items()
    }


def has_header(rows: _Rows, images: Path) -> bool:
    """Tell a header from an image, which may be a missing one."""
    first, *others = rows.values()
    if first[0].lower().endswith(IMAGE_SUFFIXES):
        return False
    later = {cell for row in others for cell in row[1:] if cell}
    found, _ = find_images(images, first[:1])
    return later.isdisjoint(first[1:]) and not found


def read_cells(path: str, header: list[str], rows: _Rows) -> list[Cell]:
    """List the cells right of the images, one or more a row.

    Args:
        path: The table's file.
        header: Names of the columns, empty if the table has none.
        rows: Without the header.

    Raises:
        ValueError: A row has no image.
    """
    cells = []
    nameless = [
        f"row {number} before '{' '.join(texts)}'"
        for number, (image, *texts) in rows.items()
        if not image
    ]
    if nameless:
        raise ValueError(
            f'{path} has no image in {first_few(nameless)}; name it, or '
            'remove the row'
        )
    for number, (image, *texts) in rows.items():
        for c, text in enumerate(texts or [''], 1):
            column = (header[c] if c < len(header) else '') or str(c + 1)
            where = f"{path} row {number}, column '{column}':"
            cells.append(Cell(image.replace('\\', '/'), column, where, text))
    return cells


def holds_marks(
    cells: Sequence[Cell], header: list[str], normal: Collection[str]
) -> bool:
    """Tell marks, in a column for each class, from names of classes.

    Args:
        cells: From :func:`read_cells`.
        header: Names of the columns, empty if the table has none.
        normal: Words that mark a normal image.

    Raises:
        ValueError: There are both, or something else.
    """
    names, marks = [], []
    for cell in cells:
        if cell.text.startswith(('{', '[')):
            raise ValueError(
                f'{cell.where} holds JSON; export JSON from Label Studio and '
                'give it to label_studio.py'
            )
        words = set(_split(cell.text)) - set(normal)
        if words:
            (names if all(map(_is_name, words)) else marks).append(cell)
    if marks and not header:
        raise ValueError(
            f"{marks[0].where} '{marks[0].text}' is not a class name; write "
            'class names, or a column for each class under its name'
        )
    if names and marks:
        raise ValueError(
            f"{names[0].where} '{names[0].text}' is a word, but "
            f"{marks[0].where} '{marks[0].text}' is not; correct one of "
            f'them, or {PICK}'
        )
    return bool(marks)


def _split(text: str) -> list[str]:
    return [w.strip() for w in re.split('[,;|]', text) if w.strip()]


def _is_name(word: str) -> bool:
    known = word.casefold() in YES | NO | UNKNOWN
    return any(map(str.isalpha, word)) and not known


def _count(text: str) -> int | None:
    number = re.fullmatch(r'([0-9]+)([.,]0*)?', text)
    return int(number[1]) if number else None


def check_columns(
    path: str,
    header: list[str],
    cells: Sequence[Cell],
    marks: bool,
    picked: bool,
) -> None:
    """Refuse columns that may hold something else than classes.

    Args:
        path: The table's file.
        header: Names of the columns, empty if the table has none.
        cells: From :func:`read_cells`.
        marks: From :func:`holds_marks`.
        picked: Whether the user has named the columns.

    Raises:
        ValueError: Columns of words have different names, or one of numbers
            may hold sizes or the numbers of rows or classes.
    """
    kinds = {name.rstrip('0123456789 _.-') for name in header[1:]} - {''}
    if not (marks or picked) and len(kinds) > 1:
        raise ValueError(
            f'{path}: the columns {", ".join(header[1:])} may hold something '
            f'else than classes; {PICK}'
        )
    columns = [name for name in header[1:] if name and marks]
    for name in columns:
        counts = [_count(c.text) or 0 for c in cells if c.column == name]
        numbered = counts == [counts[0] + i for i in range(len(counts))]
        sizes = numbered or min(counts, default=0) > 0
        # A single column may hold the numbers of classes instead.
        odd = (sizes and not picked) or len(columns) == 1
        if max(counts, default=0) > 1 and odd:
            raise ValueError(
                f"{path}: column '{name}' with {max(counts)} may hold "
                'something else than counts of objects; write class names '
                f'or 1 and 0, or {PICK}'
            )


def find_classes(
    cells: Sequence[Cell], header: list[str], marks: bool
) -> dict[str, list[str]]:
    """Find the classes that each image shows.

    Args:
        cells: From :func:`read_cells`.
        header: Names of the columns, empty if the table has none.
        marks: From :func:`holds_marks`.

    Raises:
        ValueError: A mark is neither yes nor no, or its column has no name.
    """
    labels: dict[str, list[str]] = {}
    odd = [cell for cell in cells if marks and _says_yes(cell) is None]
    if odd:
        rest = f' (and {len(odd) - 1} more)' if odd[1:] else ''
        raise ValueError(
            f"{odd[0].where} '{odd[0].text}' is neither yes (1, x, true, a "
            f'count) nor no (0, -, false, empty){rest}; correct it, or {PICK}'
        )
    for cell in cells:
        shown = labels.setdefault(cell.image, [])
        if not marks:
            shown += _split(cell.text)
        elif _says_yes(cell):
            shown.append(_class_of(cell, header))
    return labels


def _says_yes(cell: Cell) -> bool | None:
    """Tell yes from no; None for another word."""
    word = cell.text.casefold()
    count = _count(word)
    if word in YES or count:
        return True
    return False if word in NO or count == 0 else None


def _class_of(cell: Cell, header: list[str]) -> str:
    name = cell.column
    if header.count(name) != 1 or name.casefold() in GENERIC:
        raise ValueError(
            f"{cell.where} '{cell.text}' is a mark or a number, but the "
            'header does not name a class; write class names, or the name of '
            'the class into the header'
        )
    return name


def main(argv: Sequence[str] | None = None) -> None:
    """Convert."""
    args = parse_args(argv)
    rows = read_rows(existing_file(args.table, 'table'))
    if args.columns:
        rows = pick_columns(rows, args.columns, args.table)
    header: list[str] = []
    if args.columns or has_header(rows, args.images):
        header = rows.pop(min(rows))
        print(f'header: {", ".join(header)}')
    cells = read_cells(args.table, header, rows)
    marks = holds_marks(cells, header, args.normal or ())
    check_columns(args.table, header, cells, marks, bool(args.columns))
    labels = find_classes(cells, header, marks)
    used = {name for shown in labels.values() for name in shown}
    own = list(filter(None, header[1:])) if marks else sorted(used)
    classes = choose_classes(args, own, args.table)
    print(write_labels(args, args.images, labels, classes, {}))
    twice = sum(len(shown) - len(set(shown)) for shown in labels.values())
    if twice:
        print(f'labels that stood in the table twice: {twice}')


if __name__ == '__main__':
    run(main)
