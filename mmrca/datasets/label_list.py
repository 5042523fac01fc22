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
from collections.abc import Iterable, Iterator, Sequence

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')

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


def find_images(
    folder: str | os.PathLike, names: Iterable[str], suffix: str | None = None
) -> dict[str, str]:
    """Find the files of images that are named with or without suffix.

    Each folder is listed once; a stat for each image takes minutes on
    network disks.

    Args:
        folder: Folder of the images.
        names: Paths inside it, such as ``cats/001`` or ``cats/001.JPG``.
        suffix: Of the files; without one, any of ``IMAGE_SUFFIXES`` in small
            or capital letters.

    Returns:
        For each name that was found the file's path inside the folder.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: A name fits several files.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f'image folder {folder} does not exist: check data_root and '
            'data_prefix, or the path given.'
        )
    listings: dict[str, dict[str, list[str]]] = {}
    found = {}
    for name in names:
        below, base = posixpath.split(name)
        if below not in listings:
            listings[below] = _listing(os.path.join(folder, below), suffix)
        files = listings[below].get(base, [])
        if len(files) > 1:
            raise ValueError(
                f'image {name} may be {" or ".join(files)} in {folder}; '
                'write the suffix in the list, or set img_suffix.'
            )
        if files:
            found[name] = posixpath.join(below, files[0])
    return found


def image_ids(
    files: dict[str, str], suffix: str | None = None
) -> dict[str, str]:
    """Give each image the name that its mask and its label have.

    Args:
        files: As :func:`find_images` returns them.
        suffix: As given there.

    Returns:
        For each name of ``files`` the file's path without suffix.

    Raises:
        ValueError: Two images differ in the suffix only.
    """
    ids = {name: _stem(file, suffix) for name, file in files.items()}
    owner: dict[str, str] = {}
    for name, image_id in ids.items():
        other = owner.setdefault(image_id, name)
        if other != name:
            raise ValueError(
                f"'{other}' and '{name}' are one image, or two that would "
                f'share the mask and the label {image_id}.png; keep one of '
                'them, or give it another name.'
            )
    return ids


def _stem(file: str, suffix: str | None) -> str:
    if suffix is None:
        return posixpath.splitext(file)[0]
    return file.removesuffix(suffix)


def _listing(folder: str, suffix: str | None) -> dict[str, list[str]]:
    """Map what a list may call a file to the files it may mean."""
    files = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    if suffix is None:
        files = [f for f in files if f.lower().endswith(IMAGE_SUFFIXES)]
    else:
        files = [f for f in files if f.endswith(suffix)]
    listing: dict[str, list[str]] = {}
    for file in files:
        listing.setdefault(_stem(file, suffix), []).append(file)
    return listing | {file: [file] for file in files}


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
