"""Lists: the classes each image shows, the images there are, the classes.

Three notations of the same label list; the suffix of the file's name decides:

- plain text, ``2007_000032 aeroplane person`` or ``2007_000032 0 14`` a line.
  Blanks separate, so neither images nor classes may hold one;
- ``.csv``, one image a row without a header, its name and each of its classes
  in a cell of their own;
- ``.json``, ``{"2007_000032": ["aeroplane", "person"]}``.

An entry without a class (the name alone, or ``[]``) is a normal image: it
shows none of the classes. Numbers count the foreground classes from 0. An
image is named by its path inside the image folder, with or without the file's
suffix.
"""

import csv
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from io import StringIO

from mmrca.checks import first_few

from .images import find_images, image_id, image_ids, image_name

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
        0..L-1, ascending; none for a normal image.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The list is empty or cannot be read, an entry has an
            unknown class, an image has a second entry, or a class's name is
            another class's number.
    """
    known = _class_numbers(classes)
    labels: dict[str, list[int]] = {}
    wrong = []
    advice = ', in a config data_root and ann_file'
    for place, image, words in _entries(path, advice):
        unknown = [str(word) for word in words if str(word) not in known]
        wrong += [f"{place}: image {image} has '{word}'" for word in unknown]
        if image in labels:
            raise ValueError(
                f'{path} {place}: image {image} is listed a second time; '
                'keep one entry.'
            )
        labels[image] = sorted({known.get(str(word), -1) for word in words})
    if wrong:
        raise ValueError(
            f'{path} has unknown classes, {first_few(wrong)}; the classes '
            f'are {", ".join(classes)} or their numbers 0 to '
            f'{len(classes) - 1}.'
        )
    return labels


def read_images(
    path: str | os.PathLike, folder: str | os.PathLike, suffix: str = '.png'
) -> dict[str, str]:
    """Find the files of the images that a list names.

    The list is a label list in any notation, or a text with a name on each
    line. The folder tells names with blanks from names that classes follow:
    if it has a file for a whole line, all lines are names.

    Args:
        path: The list.
        folder: Where each image has a file, such as its mask.
        suffix: Of these files.

    Returns:
        For each image's ID, in the order of the list, its file inside
        ``folder``.

    Raises:
        FileNotFoundError: The list, the folder or a file is missing.
        ValueError: The list is empty or cannot be read, or names an image
            twice.
    """
    names = [image for _, image, _ in _entries(path)]
    if not os.fspath(path).endswith(('.csv', '.json')):
        lines = [line.strip() for line in _read(path).splitlines()]
        lines = [image_name(line, str(path)) for line in lines if line]
        blank = [line for line in lines if len(line.split()) > 1]
        whole, why_not = find_images(folder, _with_ids(blank), suffix)
        # A file that only looks like the line is told by its reason.
        if whole or any('has' in reason for reason in why_not.values()):
            names = lines
    found, reasons = find_images(folder, _with_ids(names), suffix)
    files = {n: found.get(n) or found.get(image_id(n), '') for n in names}
    missing = [name for name, file in files.items() if not file]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of the {len(names)} images of {path} have no '
            f'{suffix} file, first {missing[0]}: {reasons[missing[0]]}; add '
            'it, or shorten the list.'
        )
    if len(files) < len(names):
        (twice, _), *_ = Counter(names).most_common(1)
        raise ValueError(f'{path} names image {twice} twice; keep one entry.')
    try:
        ids = image_ids(files, suffix)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error
    return {ids[name]: file for name, file in files.items()}


def read_classes(path: str | os.PathLike) -> list[str]:
    """Read the names of the foreground classes, one a line.

    Args:
        path: A text; blanks around a name and empty lines do not count.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be read or as :func:`check_classes`.
    """
    lines = [line.strip() for line in _read(path).splitlines()]
    names = [line for line in lines if line]
    check_classes(names, path)
    return names


def check_classes(names: Sequence[str], source: str | os.PathLike) -> None:
    """Refuse names that cannot be the foreground classes.

    Args:
        names: Of the classes.
        source: Where they come from, for the error.

    Raises:
        ValueError: The list is empty, one is 'background', or two look alike.
    """
    if not names:
        raise ValueError(f'{source} has no classes; name them, one a line.')
    seen: dict[str, str] = {}
    for name in names:
        look = unicodedata.normalize('NFKC', name).casefold()
        if look == 'background':
            raise ValueError(
                f"{source}: '{name}' cannot be a class; leave it out."
            )
        other = seen.setdefault(look, name)
        if other is not name:
            raise ValueError(
                f'{source}: classes {other!r} and {name!r} are one name, or '
                'differ only in capitals or look-alike characters; make them '
                'one.'
            )


def _with_ids(names: Sequence[str]) -> set[str]:
    return {*names, *map(image_id, names)}


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


def _read(path: str | os.PathLike, advice: str = '') -> str:
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f'{path} does not exist: check the path{advice}.'
        )
    try:
        # utf-8-sig: spreadsheets and editors like to put a mark in front.
        with open(path, encoding='utf-8-sig', newline='') as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise ValueError(
            f'{path} cannot be read: {error}; it must be UTF-8.'
        ) from error


def _entries(path: str | os.PathLike, advice: str = '') -> list[_Entry]:
    text = _read(path, advice)
    path = os.fspath(path)
    readers = {'.json': _json_entries, '.csv': _csv_entries}
    read = readers.get(os.path.splitext(path)[1], _text_entries)
    entries = []
    try:
        for place, word, classes in read(text, path):
            name = image_name(word, f'{path} {place}')
            entries.append((place, name, classes))
    except (json.JSONDecodeError, csv.Error) as error:
        raise ValueError(f'list {path} cannot be read: {error}.') from error
    if not entries:
        raise ValueError(
            f'list {path} is empty: write one image a line, its name and its '
            'classes.'
        )
    return entries


def _text_entries(text: str, path: str) -> Iterator[_Entry]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            image, *words = line.split()
            yield f'line {number}', image, words


def _csv_entries(text: str, path: str) -> Iterator[_Entry]:
    reader = csv.reader(StringIO(text, newline=''), strict=True)
    for row in reader:
        image, *classes = (cell.strip() for cell in row or [''])
        if image or any(classes):
            classes = [cell for cell in classes if cell]
            yield f'line {reader.line_num}', image, classes


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
