"""Label lists: which classes each image shows, and where the images are.

Three notations of the same list; the suffix of the file's name decides:

- plain text, ``2007_000032 aeroplane person`` or ``2007_000032 0 14`` a line.
  Blanks separate, so neither images nor classes may hold one;
- ``.csv``, one image a row without a header, its name and each of its classes
  in a cell of their own;
- ``.json``, ``{"2007_000032": ["aeroplane", "person"]}``.

Numbers count the foreground classes from 0. An image is named by its path
inside the image folder, with or without the file's suffix.
"""

import csv
import json
import os
import posixpath
from collections.abc import Iterator, Sequence

_Entry = tuple[str, str, list]  # where it stands, image, classes


def read_labels(
    path: str | os.PathLike, classes: Sequence[str]
) -> dict[str, list[int]]:
    """Read a label list.

    Args:
        path: The list.
        classes: Names of the L foreground classes.

    Returns:
        For each image, in the order of the list, its class numbers in
        0..L-1, ascending.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The list is empty or not readable, or an entry has an
            unknown class, no class, or an image for a second time; or a
            class's name is another class's number.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f'label list {path} does not exist: check data_root and ann_file.'
        )
    known = _class_numbers(classes)
    labels: dict[str, list[int]] = {}
    try:
        for place, image, words in _entries(os.fspath(path)):
            where = f'{path} {place}: image {image}'
            _check_name(image, where)
            if image in labels:
                raise ValueError(
                    f'{where} is listed a second time; keep one entry.'
                )
            labels[image] = _numbers(words, known, classes, where)
    except (UnicodeDecodeError, json.JSONDecodeError, csv.Error) as error:
        raise ValueError(
            f'label list {path} cannot be read: {error}; it must be UTF-8.'
        ) from error
    if not labels:
        raise ValueError(
            f'label list {path} is empty: write one image a line, its name '
            'and its classes.'
        )
    return labels


def _class_numbers(classes: Sequence[str]) -> dict[str, int]:
    numbers = {str(c): c for c in range(len(classes))}
    names = {name: c for c, name in enumerate(classes)}
    for name, c in names.items():
        if numbers.get(name, c) != c:
            raise ValueError(
                f"class {c} is called '{name}', which is also the number of "
                f"class '{classes[int(name)]}'; give it another name."
            )
    return numbers | names


def _numbers(
    words: list, known: dict[str, int], classes: Sequence[str], where: str
) -> list[int]:
    if not words:
        raise ValueError(
            f'{where} has no class; add its classes or remove the entry.'
        )
    for word in words:
        if str(word) not in known:
            raise ValueError(
                f"{where} has the unknown class '{word}'; the classes are "
                f'{", ".join(classes)} or their numbers 0 to '
                f'{len(classes) - 1}.'
            )
    return sorted({known[str(word)] for word in words})


def _check_name(image: str, where: str) -> None:
    """Refuse names that would lead labels out of their folder."""
    plain = posixpath.normpath(image) == image
    if not plain or image.startswith(('/', '../')) or image in ('.', '..'):
        raise ValueError(
            f'{where}: the name must be a path inside the image folder, '
            "without '.' and '..'."
        )


def _entries(path: str) -> Iterator[_Entry]:
    # utf-8-sig: spreadsheets and editors like to put a mark in front.
    with open(path, encoding='utf-8-sig', newline='') as file:
        if path.endswith('.json'):
            yield from _json_entries(file.read(), path)
        elif path.endswith('.csv'):
            reader = csv.reader(file, strict=True)
            for row in reader:
                cells = [cell.strip() for cell in row]
                if any(cells):
                    classes = [cell for cell in cells[1:] if cell]
                    yield f'line {reader.line_num}', cells[0], classes
        else:
            for number, line in enumerate(file, 1):
                if line.strip():
                    image, *words = line.split()
                    yield f'line {number}', image, words


def _json_entries(text: str, path: str) -> Iterator[_Entry]:
    content = json.loads(text, object_pairs_hook=_Pairs)
    if not isinstance(content, _Pairs):
        raise ValueError(
            f'label list {path} must be a JSON object, from each image to '
            'the list of its classes.'
        )
    for number, (image, words) in enumerate(content, 1):
        if type(words) is not list:
            raise ValueError(
                f'{path} entry {number}: image {image} must have a list of '
                f'classes, such as ["cat"], not {json.dumps(words)}.'
            )
        yield f'entry {number}', image, words


class _Pairs(list):
    """A JSON object that keeps a key's second occurrence."""
