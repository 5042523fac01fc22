"""What the dataset converters share: checking and writing label lists.

A converter finds out which classes each image shows; :func:`write_labels`
does the rest. Beside a list ``train.csv`` it writes ``train_ids.txt`` (the
images alone, as MMSegmentation's own data set wants them), where something
was left out ``train_skipped.txt`` (what, and why), and ``classes.txt``.
"""

import csv
import io
import json
import math
import os
import shutil
import tempfile
import unicodedata
from argparse import ArgumentParser, Namespace
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from mmrca.checks import first_few
from mmrca.datasets.images import find_images, image_ids, image_name
from mmrca.datasets.label_list import (
    check_classes,
    read_classes,
    read_labels,
)
from mmrca.progress import NOTE

_NO_CLASS = 'no class'
_HELD_BACK = 10  # every tenth image with --val
_ALIKE = 0.8  # a letter of four, two of ten
_NORMAL = -1  # in place of a class's number

_Labels = dict[str, list[int]]
_Found = Mapping[str, Collection[str]]


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
        help='hold back a tenth of the images, spread over the classes, and '
        'write these to a second list',
    )
    parser.add_argument(
        '--skip-missing',
        action='store_true',
        help='leave out images whose file is not there',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace lists of that name'
    )


def add_normal_flag(parser: ArgumentParser) -> None:
    """Add ``--normal`` to a converter whose normal images have no mark."""
    parser.add_argument(
        '--normal',
        action='append_const',
        const='',
        help='images without any object are normal: they show no class',
    )


def add_normal_words(parser: ArgumentParser, what: str) -> None:
    """Add ``--normal WORD`` to a converter whose normal images have one.

    Args:
        parser: The converter's.
        what: What the word is, for the help.
    """
    parser.add_argument(
        '--normal',
        action='append',
        metavar='WORD',
        help=f'{what} of normal images, which show no class; repeatable',
    )


def read_json(
    path: str, object_hook: Callable[[dict], Any] | None = None
) -> Any:
    """Read a JSON file.

    Args:
        path: The file, in UTF-8.
        object_hook: As in :func:`json.loads`.

    Raises:
        ValueError: It cannot be read as JSON.
    """
    try:
        text = Path(path).read_text(encoding='utf-8-sig')
        return json.loads(text, object_hook=object_hook)
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path} cannot be read as JSON: {error}') from error


def read_xml(path: str | Path, tag: str) -> ElementTree.Element:
    """Read the root of an XML file.

    Args:
        path: The file.
        tag: The root's.

    Raises:
        ValueError: It cannot be read as XML, or its root is another.
    """
    try:
        root = ElementTree.parse(path).getroot()
    # An unknown encoding is a LookupError or a ValueError.
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise ValueError(f'{path} cannot be read as XML: {error}') from error
    if root.tag != tag:
        raise ValueError(f'{path} must be of <{tag}>, not <{root.tag}>')
    return root


def choose_classes(
    args: Namespace, own: Sequence[str], origin: Path | str
) -> list[str]:
    """Settle the classes and their order, and that nothing is overwritten.

    Args:
        args: With what :func:`add_arguments` added.
        own: The source's own classes, taken if neither ``--classes`` nor a
            ``classes.txt`` beside OUT says others; so a second list keeps
            the numbers of the first.
        origin: The source, for errors.

    Raises:
        FileNotFoundError: The file of ``--classes`` is missing.
        ValueError: There are no classes, one cannot be used, OUT exists
            or has an unknown suffix, or ``classes.txt`` differs from
            ``--classes``.
    """
    _check_out(args)
    own = [name for name in own if name not in (args.normal or ())]
    beside = args.out.parent / 'classes.txt'
    source = args.classes or (beside if beside.is_file() else None)
    classes = read_classes(source) if source else list(own)
    agree = not beside.is_file() or classes == read_classes(beside)
    if not (agree or args.overwrite):
        raise ValueError(
            f'{beside} holds other classes than {source}: write to another '
            'folder, or --overwrite'
        )
    if not classes:
        raise ValueError(
            f'{origin} has no classes; name them in a file, one a line, and '
            'give it as --classes'
        )
    both = [name for name in args.normal or () if name in classes]
    if both:
        raise ValueError(
            f"--normal marks '{both[0]}', which is a class in "
            f'{source or origin}; leave --normal out, or remove the class '
            'there.'
        )
    check_classes([*classes, *(args.normal or ())], source or origin)
    return classes


def _check_out(args: Namespace) -> None:
    lists = [args.out, args.val] if args.val else [args.out]
    for path in lists:
        if path.name == 'classes.txt':
            raise ValueError(f'{path} will name the classes; write elsewhere')
        if path.suffix not in ('.csv', '.json', '.txt'):
            raise ValueError(f'{path} must end in .csv, .json or .txt')
        if path.exists() and not args.overwrite:
            raise ValueError(
                f'{path} exists: give another name, or --overwrite'
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


def write_labels(
    args: Namespace,
    folder: Path,
    labels: _Found,
    classes: list[str],
    skipped: Mapping[str, str],
) -> str:
    """Check what a converter found, write it and read it back.

    All files appear at once when they are complete, or none does.

    Args:
        args: With what :func:`add_arguments` and ``--normal`` added.
        folder: Folder of the images.
        labels: The classes of each image, in the order to write them. An
            image whose only class is a word of ``--normal`` is normal; so is
            one without a class if ``''`` is such a word. Others without a
            class are left out and counted.
        classes: From :func:`choose_classes`.
        skipped: What the converter itself left out, and why.

    Returns:
        A summary of a few lines: images of each class, what was left out.

    Raises:
        FileNotFoundError: Images are missing.
        ValueError: A class is unknown, an image is normal and shows a class,
            nothing is left to write, or a name cannot be written in this
            kind of list.
    """
    labels, unlabelled = _take_normal(labels, args.normal or ())
    _check_known(labels, classes)
    words = {
        name: image_name(name, f'image folder {folder}') for name in labels
    }
    found, reasons = find_images(folder, words.values())
    files = {n: found[word] for n, word in words.items() if word in found}
    missing = {n: reasons[w] for n, w in words.items() if w in reasons}
    empty = [n for n, f in files.items() if not (folder / f).stat().st_size]
    skipped = {
        **skipped,
        **dict.fromkeys(unlabelled, _NO_CLASS),
        **missing,
        **dict.fromkeys(empty, 'an empty file'),
    }
    _check_unicode([*files.values(), *skipped], folder)
    kept = [name for name in labels if name not in skipped]
    if missing and not (kept and args.skip_missing):
        gone = [f'{name} ({why})' for name, why in missing.items()]
        raise FileNotFoundError(
            f'{len(missing)} of {len(labels)} images are missing: '
            f'{first_few(gone)}; add them, or leave them out by --skip-missing'
        )
    if not any(labels[name] for name in kept):
        raise ValueError(f'no image in {folder} has a class: nothing to write')
    ids = image_ids({name: files[name] for name in kept})
    number = {name: c for c, name in enumerate(classes)}
    entries = {
        ids[name]: sorted({number[c] for c in labels[name]}) for name in kept
    }
    lists = _split(entries, args)
    _write(lists, classes, _skipped_file(args), skipped)
    return _summary(lists, classes, _skipped_file(args), skipped)


def _check_unicode(files: Collection[str], folder: Path) -> None:
    odd = [f for f in files if any('\ud800' <= c <= '\udfff' for c in f)]
    if odd:
        raise ValueError(
            f'{folder}: the file name {odd[0]!a} is not UTF-8; rename the file'
        )


def _take_normal(
    labels: _Found, words: Collection[str]
) -> tuple[dict[str, set[str]], list[str]]:
    """Empty the classes of normal images; part those without a class."""
    marks, marked = set(words), set()
    classes, unlabelled = {}, []
    for name, found in labels.items():
        shown, normal = set(found) - marks, marks & set(found or [''])
        if shown and normal:
            raise ValueError(
                f"image {name} is normal ('{min(normal)}') and shows "
                f"'{min(shown)}'; correct one of them"
            )
        if shown or normal:
            classes[name] = shown
        else:
            unlabelled.append(name)
        marked |= normal
    for word in marks - marked - {''}:
        raise ValueError(
            f"--normal: no image is marked by '{word}'; correct the word"
        )
    return classes, unlabelled


def _skipped_file(args: Namespace) -> Path:
    return args.out.with_name(f'{args.out.stem}_skipped.txt')


def _check_known(labels: _Found, classes: Sequence[str]) -> None:
    used = Counter(c for found in labels.values() for c in found)
    unknown = [
        f'{c} ({n}{_perhaps(c, classes)})'
        for c, n in used.items()
        if c not in classes
    ]
    if unknown:
        raise ValueError(
            f'unknown classes with the numbers of their images: '
            f'{", ".join(sorted(unknown))}; the classes are '
            f'{", ".join(classes)}; correct the input, or name all classes '
            'in a file, one a line, and give it as --classes'
        )


def _perhaps(name: str, classes: Sequence[str]) -> str:
    meant = [f"'{other}'" for other in classes if _alike(name, other)]
    return f', perhaps {" or ".join(meant)}' if meant else ''


def _split(entries: _Labels, args: Namespace) -> dict[Path, _Labels]:
    if not args.val:
        return {args.out: entries}
    held = held_back(entries)
    if not held:
        raise ValueError(
            f'--val holds back every tenth image of each class; there are '
            f'{len(entries)} images, too few for that; leave --val out'
        )
    val = {image: entries[image] for image in entries if image in held}
    train = {i: entries[i] for i in entries if i not in held}
    return {args.out: train, args.val: val}


def held_back(entries: _Labels) -> set[str]:
    """Choose a tenth of the images, spread over the classes.

    Iterative stratification (Sechidis et al., 2011) without chance: classes
    take turns, the rarest first, normal images as one of them. A class holds
    back a tenth of its images, those that rarer classes have already held
    back included, evenly spread over the list. What rounding leaves over is
    the next class's. Of each class at least one image stays.

    Args:
        entries: The class numbers of each image.

    Returns:
        The images that are held back.
    """
    members = defaultdict(list)
    for image, classes in entries.items():
        for c in classes or [_NORMAL]:
            members[c].append(image)
    staying = {c: len(images) for c, images in members.items()}
    held: set[str] = set()
    decided: set[str] = set()
    left_over = 0.0
    for c, images in sorted(members.items(), key=lambda m: (len(m[1]), m[0])):
        open_ones = [i for i in images if i not in decided]
        wanted = len(images) / _HELD_BACK - (len(images) - staying[c])
        wanted += left_over
        count = min(max(math.floor(wanted + 0.5), 0), len(open_ones))
        taken = 0
        for n in range(count):
            start = (2 * n + 1) * len(open_ones) // (2 * count)
            taken += _hold_back_one(open_ones[start:], entries, staying, held)
        left_over = wanted - taken
        decided.update(images)
    return held


def _hold_back_one(
    images: Sequence[str],
    entries: _Labels,
    staying: dict[int, int],
    held: set[str],
) -> bool:
    """Hold back the first image whose classes all keep another one."""
    for image in images:
        classes = entries[image] or [_NORMAL]
        if image not in held and all(staying[c] > 1 for c in classes):
            held.add(image)
            for c in classes:
                staying[c] -= 1
            return True
    return False


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
        if not all(same) or read_classes(whole / 'classes.txt') != classes:
            raise ValueError(
                f'{skipped_file.parent}: the lists do not read back as they '
                'were written; is there a line break in the name of an image '
                'or a class?'
            )
        for path in texts:
            os.replace(whole / path.name, path)
    except ValueError as error:  # it names the file that was read back
        text = str(error).replace(str(whole), str(parent))
        raise ValueError(text) from error
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
            f'{path}: names with a blank: {len(blank)}, such as '
            f"'{blank[0]}'; write a .csv or .json list"
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
    lines = []
    for (path, entries), count in zip(lists.items(), counts, strict=True):
        normal = sum(not cs for cs in entries.values())
        lines.append(
            f'wrote {path}: images: {len(entries)}, labels: {count.total()}'
            + (f', normal images: {normal}' if normal else '')
        )
    width = max(map(len, ['class', *classes]))
    columns = ''.join(f'{path.stem:>12}' for path in lists)
    lines.append(f'{"class":<{width}}{columns}')
    for c, name in enumerate(classes):
        cells = ''.join(f'{count[c]:>12}' for count in counts)
        lines.append(f'{name:<{width}}{cells}')
    lines += _doubts(classes, counts[0])
    if skipped:
        lines.append(f'skipped {len(skipped)}, listed in {skipped_file}:')
    for reason, number in Counter(skipped.values()).items():
        names = [name for name, why in skipped.items() if why == reason]
        hint = (
            ' (--normal keeps images of none of the classes)'
            if reason == _NO_CLASS
            else ''
        )
        lines.append(f'  {number} {reason}: {first_few(names)}{hint}')
    return '\n'.join(lines)


def _doubts(classes: Sequence[str], count: Counter[int]) -> list[str]:
    """Name classes that a slip of the pen may have made."""
    single = [name for c, name in enumerate(classes) if count[c] == 1]
    absent = [name for c, name in enumerate(classes) if not count[c]]
    near = [
        ' and '.join(
            f"'{classes[c]}' ({count[c]})"
            for c in sorted(pair, key=lambda c: count[c])
        )
        for pair in combinations(range(len(classes)), 2)
        if _alike(*(classes[c] for c in pair))
    ]
    found = {
        'no training image shows': absent,
        'only one image shows': single,
        'almost the same name (and images), perhaps one class': near,
    }
    lines = [
        f'{NOTE}{what}: {", ".join(who)}' for what, who in found.items() if who
    ]
    if near:
        lines[-1] += (
            '; if so, correct the input, delete classes.txt and convert again '
            'with --overwrite'
        )
    return lines


def _alike(one: str, other: str) -> bool:
    """Tell whether a slip of the pen may part two names, but no number."""
    one, other = sorted(map(_plain, (one, other)))
    numbers = [''.join(filter(str.isdigit, name)) for name in (one, other)]
    if numbers[0] != numbers[1]:
        return False
    near = get_close_matches(one, [other], cutoff=_ALIKE)
    return bool(near) or sorted(one) == sorted(other)


def _plain(name: str) -> str:
    letters = unicodedata.normalize('NFKD', name).casefold()
    return ''.join(c for c in letters if c.isalnum())
