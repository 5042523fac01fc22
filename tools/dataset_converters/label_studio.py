"""Label Studio: image-level labels from the choices of a JSON export.

Usage:
    python tools/dataset_converters/label_studio.py export.json \
        data/mine/images data/mine/labels/train.csv

A task's ``/data/upload/3/1a2b3c4d-cat.jpg`` is the file ``1a2b3c4d-cat.jpg``
or ``cat.jpg``, whichever is there. Tasks without an annotation are left out,
counted and listed. So are annotations without a choice, which ``--normal ''``
keeps as images of none of the classes; ``--normal good`` says that the choice
``good`` means that.
"""

import argparse
import posixpath
import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from list_writer import (
    add_arguments,
    add_normal_words,
    choose_classes,
    read_json,
    write_labels,
)

from mmrca.cli import existing_file, run
from mmrca.datasets.images import find_images


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Make a label list from Label Studio's JSON."
    )
    parser.add_argument('export', help='JSON file, not JSON-MIN')
    parser.add_argument('images', type=Path, help='folder of the images')
    add_arguments(parser)
    add_normal_words(parser, "choice, or '' for no choice,")
    return parser.parse_args(argv)


def read_tasks(path: str) -> dict[str, list[str] | None]:
    """Read the choices of each task.

    Returns:
        For each image, as the export names it, its choices; None if nobody
        has annotated it.

    Raises:
        ValueError: The file is another export, or annotations of an image or
            the questions that they answer differ.
    """
    tasks = read_json(path)
    choices: dict[str, list[str] | None] = {}
    questions: set[str] = set()
    for number, task in enumerate(tasks if type(tasks) is list else [{}], 1):
        try:
            image = task['data']['image'].strip()
            given = [
                _choices(annotation['result'], questions)
                for annotation in task['annotations']
                if not annotation.get('was_cancelled')
            ]
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}: task {number} must have 'data' with an 'image' and "
                "'annotations' with a 'result'; export JSON, not JSON-MIN"
            ) from error
        if image in choices or any(one != given[0] for one in given):
            raise ValueError(
                f'{path}: task {number}, {image}, has annotations that '
                'differ, or comes twice; keep one of them'
            )
        choices[image] = given[0] if given else None
    if len(questions) != 1:
        raise ValueError(
            f'{path} answers {len(questions)} questions '
            f'({", ".join(sorted(questions))}); it must have choices of one'
        )
    return choices


def _choices(results: list[dict], questions: set[str]) -> list[str]:
    answers = [entry for entry in results if entry['type'] == 'choices']
    questions |= {entry['from_name'].strip() for entry in answers}
    given = [entry['value']['choices'] for entry in answers]
    if not all(type(words) is list for words in given):
        raise TypeError('choices must be a list')
    return sorted({word.strip() for words in given for word in words})


def find_files(folder: Path, words: Collection[str]) -> dict[str, str]:
    """Find the files of images by the end of their addresses.

    Args:
        folder: Folder of the images.
        words: The images as the export names them: addresses or paths.

    Returns:
        For each word the file, or the address's last part.

    Raises:
        ValueError: A word may be several files.
    """
    ends = {word: _ends(word) for word in words}
    found, _ = find_images(folder, {e for some in ends.values() for e in some})
    names = {}
    for word, some in ends.items():
        files = sorted({found[end] for end in some if end in found})
        if len(files) > 1:
            raise ValueError(
                f'image {word} may be {" or ".join(files)} in {folder}; '
                'remove or rename one'
            )
        names[word] = files[0] if files else some[-1]
    twice = [n for n, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise ValueError(f'two tasks have the image {twice[0]}; keep one')
    return names


def _ends(word: str) -> list[str]:
    """List what an address may be called in the image folder."""
    address = urlsplit(word)
    path = parse_qs(address.query).get('d', [unquote(address.path)])[0]
    parts = [part for part in path.split('/') if part] or [word]
    ends = ['/'.join(parts[start:]) for start in range(len(parts))]
    plain = re.sub('^[0-9a-f]{8}-', '', parts[-1])
    return list(dict.fromkeys([plain, *ends]))


def main(argv: Sequence[str] | None = None) -> None:
    """Convert."""
    args = parse_args(argv)
    tasks = read_tasks(existing_file(args.export, 'export'))
    names = find_files(args.images, tasks)
    found = {names[w]: some for w, some in tasks.items() if some is not None}
    skipped = {w: 'not annotated' for w, some in tasks.items() if some is None}
    used = {name for some in found.values() for name in some}
    classes = choose_classes(args, sorted(used), args.export)
    print(write_labels(args, args.images, found, classes, skipped))
    bare = sum(
        posixpath.basename(unquote(word)) != posixpath.basename(name)
        for word, name in names.items()
    )
    if bare:
        print(f'images found without the prefix of an upload: {bare}')


if __name__ == '__main__':
    run(main)
