"""What the dataset converters share: checking and writing label lists.

A converter finds out which classes each image shows; :func:`write_labels`
does the rest. Beside a list ``train.csv`` it writes ``train_ids.txt`` (the
images alone, as MMSegmentation's own data set wants them), where something
was left out ``train_skipped.txt`` (what, and why), and ``classes.txt``.
"""

import csv
import io
import json
import os
import shutil
import tempfile
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from mmrca.datasets.images import find_images, image_ids
from mmrca.datasets.label_list import read_labels

NO_CLASS = 'no class'
_HELD_BACK = 10  # every tenth image with --val
_NAMED = 3  # images a sentence names

_Labels = dict[str, list[int]]


def add_arguments(parser: ArgumentParser) -> None:
    """Add OUT and the options that every converter has."""
    parser.add_argument(
        'out',
        type=Path,
        metavar='OUT',
        help='list to write: .csv or .json with names, .txt with numbers',
    )
    parser.add_argument(
        '--classes',
        type=Path,
        metavar='FILE',
        help='class names, one a line, in the order of their numbers '
        '[classes.txt beside OUT, if it is there]',
    )
    parser.add_argument(
        '--val',
        type=Path,
        metavar='LIST',
        help='hold back every tenth image and write these to a second list',
    )
    parser.add_argument(
        '--skip-missing',
        action='store_true',
        help='leave out images whose file is not there',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace lists of that name'
    )


def read_names(path: str) -> list[str]:
    """Read a list of images: the first word of each line.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: An image is listed twice, or none is.
    """
    text = Path(path).read_text(encoding='utf-8-sig')
    names = [line.split()[0] for line in text.splitlines() if line.strip()]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice or not names:
        what = f'has {len(twice)} images twice: {_some(twice)}'
        raise ValueError(f'list {path} {what if twice else "is empty"}')
    return names


def choose_classes(args: Namespace, own: Sequence[str]) -> list[str]:
    """Settle the classes and their order, and that nothing is overwritten.

    Args:
        args: With what :func:`add_arguments` added.
        own: The source's own classes, taken if neither ``--classes`` nor a
            ``classes.txt`` beside OUT says others; so a second list keeps
            the numbers of the first.

    Raises:
        FileNotFoundError: The file of ``--classes`` is missing.
        ValueError: There are no classes, one is no good, OUT is there
            already or of an unknown kind, or ``classes.txt`` says otherwise
            than ``--classes``.
    """
    _check_out(args)
    beside = args.out.parent / 'classes.txt'
    source = args.classes or (beside if beside.is_file() else None)
    classes = _read_classes(source) if source else list(own)
    agree = not beside.is_file() or classes == _read_classes(beside)
    if not (agree or args.overwrite):
        raise ValueError(
            f'{beside} holds other classes than {source}: write to another '
            'folder, or --overwrite'
        )
    _check_classes(classes, source or 'the input')
    return classes


def _read_classes(path: Path) -> list[str]:
    text = path.read_text(encoding='utf-8-sig')
    return [line.strip() for line in text.splitlines() if line.strip()]


def _check_out(args: Namespace) -> None:
    lists = [args.out, args.val] if args.val else [args.out]
    for path in lists:
        if path.name == 'classes.txt':
            raise ValueError(f'{path} will name the classes; write elsewhere')
        if path.suffix not in ('.csv', '.json', '.txt'):
            raise ValueError(f'{path} must end in .csv, .json or .txt')
        if path.exists() and not args.overwrite:
            raise ValueError(
                f'{path} is there already: give another name, or --overwrite'
            )
    if args.val and (args.val.parent, args.val.stem) == (
        args.out.parent,
        args.out.stem,
    ):
        raise ValueError(f'--val {args.val} needs another name than OUT')
    if args.val and args.val.parent != args.out.parent:
        raise ValueError(
            f'{args.out} and {args.val} must be in one folder, as they share '
            'classes.txt'
        )


def _check_classes(classes: Sequence[str], source: Path | str) -> None:
    if not classes:
        raise ValueError(
            f'{source} has no classes; name them in a file, one a line, and '
            'give it as --classes'
        )
    seen: dict[str, str] = {}
    for name in classes:
        if name.lower() == 'background':
            raise ValueError(
                f"{source}: '{name}' is no class of its own; leave it out"
            )
        other = seen.setdefault(name.lower(), name)
        if other is not name:
            raise ValueError(
                f"{source}: classes '{other}' and '{name}' are the same but "
                'for capitals; make them one'
            )


def write_labels(
    args: Namespace,
    folder: Path,
    labels: Mapping[str, Collection[str]],
    classes: list[str],
    skipped: Mapping[str, str],
) -> str:
    """Check what a converter found, write it and read it back.

    All files appear at once when they are complete, or none does.

    Args:
        args: With what :func:`add_arguments` added.
        folder: Folder of the images.
        labels: The classes of each image, in the order to write them;
            images without any are left out and counted.
        classes: From :func:`choose_classes`.
        skipped: What the converter itself left out, and why.

    Returns:
        A summary of a few lines: images of each class, what was left out.

    Raises:
        FileNotFoundError: Images are missing.
        ValueError: A class is unknown, nothing is left to write, or a name
            cannot be written in this kind of list.
    """
    _check_known(labels, classes)
    skipped = dict(skipped)
    skipped |= {name: NO_CLASS for name, found in labels.items() if not found}
    files, missing = find_images(folder, labels)
    skipped |= missing
    skipped |= {
        name: 'an empty file'
        for name, file in files.items()
        if (folder / file).stat().st_size == 0
    }
    kept = [name for name in labels if name not in skipped]
    if missing and not (kept and args.skip_missing):
        raise FileNotFoundError(
            f'{len(missing)} of {len(labels)} images are not in {folder}: '
            f'{_some(list(missing))}; add them, or leave them out by '
            '--skip-missing'
        )
    if not kept:
        raise ValueError(f'no image in {folder} has a class: nothing to write')
    ids = image_ids({name: files[name] for name in kept})
    number = {name: c for c, name in enumerate(classes)}
    entries = {
        ids[name]: sorted({number[c] for c in labels[name]}) for name in kept
    }
    lists = _split(entries, args)
    _write(lists, classes, _skipped_file(args), skipped)
    return _summary(lists, classes, _skipped_file(args), skipped)


def _skipped_file(args: Namespace) -> Path:
    return args.out.with_name(f'{args.out.stem}_skipped.txt')


def _check_known(
    labels: Mapping[str, Collection[str]], classes: Sequence[str]
) -> None:
    used = Counter(c for found in labels.values() for c in found)
    unknown = [f'{c} ({n})' for c, n in used.items() if c not in classes]
    if unknown:
        raise ValueError(
            f'unknown classes with the numbers of their images: '
            f'{", ".join(sorted(unknown))}; the classes are '
            f'{", ".join(classes)}; correct the input, or name all classes '
            'in a file, one a line, and give it as --classes'
        )


def _split(entries: _Labels, args: Namespace) -> dict[Path, _Labels]:
    if not args.val:
        return {args.out: entries}
    held = list(entries)[_HELD_BACK - 1 :: _HELD_BACK]
    if not held:
        raise ValueError(
            f'--val holds back every tenth image, there are {len(entries)}'
        )
    val = {image: entries.pop(image) for image in held}
    return {args.out: entries, args.val: val}


def _write(
    lists: dict[Path, _Labels],
    classes: list[str],
    skipped_file: Path,
    skipped: dict[str, str],
) -> None:
    texts = {skipped_file.with_name('classes.txt'): _lines(classes)}
    for path, entries in lists.items():
        texts[path] = _list_text(path, entries, classes)
        texts[path.with_name(f'{path.stem}_ids.txt')] = _lines(entries)
    if skipped:
        texts[skipped_file] = _lines(f'{n}\t{w}' for n, w in skipped.items())
    parent = skipped_file.parent
    parent.mkdir(parents=True, exist_ok=True)
    whole = Path(tempfile.mkdtemp(prefix='.labels.', dir=parent))
    try:
        for path, text in texts.items():
            (whole / path.name).write_text(text, encoding='utf-8')
        same = [
            read_labels(whole / path.name, classes) == entries
            for path, entries in lists.items()
        ]
        if not all(same) or _read_classes(whole / 'classes.txt') != classes:
            raise ValueError(
                f'{skipped_file.parent}: the lists do not read back as they '
                'were written; is there a line break in the name of an image '
                'or a class?'
            )
        for path in texts:
            os.replace(whole / path.name, path)
    finally:
        shutil.rmtree(whole)
    if not skipped:  # what an earlier list skipped
        skipped_file.unlink(missing_ok=True)


def _lines(items: Collection[str]) -> str:
    return ''.join(f'{item}\n' for item in items)


def _list_text(path: Path, entries: _Labels, classes: Sequence[str]) -> str:
    if path.suffix == '.txt':
        _check_blanks(path, entries)
        return _lines(
            ' '.join(map(str, (image, *numbers)))
            for image, numbers in entries.items()
        )
    named = {i: [classes[c] for c in cs] for i, cs in entries.items()}
    if path.suffix == '.csv':
        text = io.StringIO()
        rows = csv.writer(text, lineterminator='\n')
        rows.writerows([image, *names] for image, names in named.items())
        return text.getvalue()
    pairs = (
        f'{json.dumps(image, ensure_ascii=False)}: '
        f'{json.dumps(names, ensure_ascii=False)}'
        for image, names in named.items()
    )
    return '{\n' + ',\n'.join(pairs) + '\n}\n'


def _check_blanks(path: Path, entries: _Labels) -> None:
    blank = [image for image in entries if len(image.split()) > 1]
    if blank:
        raise ValueError(
            f'{path}: {len(blank)} images have a blank in their name, such '
            f"as '{blank[0]}'; write a .csv or .json list"
        )


def _summary(
    lists: dict[Path, _Labels],
    classes: Sequence[str],
    skipped_file: Path,
    skipped: dict[str, str],
) -> str:
    counts = [
        Counter(c for cs in e.values() for c in cs) for e in lists.values()
    ]
    lines = [
        f'wrote {path}: {len(entries)} images, {count.total()} labels'
        for (path, entries), count in zip(lists.items(), counts, strict=True)
    ]
    width = max(map(len, ['class', *classes]))
    columns = ''.join(f'{path.stem:>12}' for path in lists)
    lines.append(f'{"class":<{width}}{columns}')
    for c, name in enumerate(classes):
        cells = ''.join(f'{count[c]:>12}' for count in counts)
        lines.append(f'{name:<{width}}{cells}')
    absent = [name for c, name in enumerate(classes) if not counts[0][c]]
    if absent:
        lines.append(f'no image shows: {", ".join(absent)}')
    if skipped:
        lines.append(f'skipped {len(skipped)}, listed in {skipped_file}:')
    for reason, number in Counter(skipped.values()).items():
        names = [name for name, why in skipped.items() if why == reason]
        lines.append(f'  {number} {reason}: {_some(names)}')
    return '\n'.join(lines)


def _some(names: Sequence[str]) -> str:
    more = ', ...' if len(names) > _NAMED else ''
    return ', '.join(names[:_NAMED]) + more
