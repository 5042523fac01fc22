"""Labels and tags that people have corrected: used as they are.

Shape shorthand: H x W pixels.
"""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmrca.atomic_write import atomic_write
from mmrca.checks import first_few
from mmrca.datasets.images import ImageError, image_id, open_picture
from mmrca.datasets.label_list import read_labels
from mmrca.datasets.masks import check_size, read_class_map
from mmrca.ops import IGNORE_INDEX
from mmrca.pseudo_labels.inputs import ImageInfo, LabelInput
from mmrca.pseudo_labels.pipeline import Job
from mmrca.pseudo_labels.writer import IGNORE_COLOUR, write_label


def read_correction(
    path: Path, size: tuple[int, int], palette: Sequence[Sequence[int]]
) -> np.ndarray:
    """Read a label that somebody drew.

    Args:
        path: A PNG of class numbers, or painted in the labels' colours, as
            most paint programs save it.
        size: H and W of its image.
        palette: RGB colours in 0..255, one per class with the background
            first.

    Returns:
        uint8 [H, W], class numbers or 255.

    Raises:
        ImageError: It cannot be read, has another size, or a value or colour
            of no class.
    """
    picture = open_picture(path, 'correction')
    if picture.mode in ('L', 'P'):
        labels = read_class_map(path, 'correction', len(palette))
    else:
        labels = _by_colour(path, np.array(picture.convert('RGB')), palette)
    check_size('correction', path, labels.shape, size)
    return labels


def _by_colour(
    path: Path, pixels: np.ndarray, palette: Sequence[Sequence[int]]
) -> np.ndarray:
    labels = np.zeros(pixels.shape[:2], np.uint8)
    known = np.zeros(labels.shape, bool)
    colours = [*enumerate(palette), (IGNORE_INDEX, IGNORE_COLOUR)]
    for value, colour in colours:
        here = (pixels == np.array(colour)).all(axis=2)
        labels[here], known[here] = value, True
    if not known.all():
        y, x = np.argwhere(~known)[0].tolist()
        raise ImageError(
            f'correction {path} has the colour {pixels[y, x].tolist()} in '
            f'column {x}, row {y}, which is of no class; paint without soft '
            'edges, in the colours of the labels'
        )
    return labels


def find_corrections(
    folder: Path,
    inputs: Sequence[LabelInput],
    palette: Sequence[Sequence[int]],
) -> dict[Path, LabelInput]:
    """Find and check the corrections of images.

    Args:
        folder: Of PNGs, named as the labels.
        inputs: The images.
        palette: As :func:`read_correction`.

    Returns:
        The image of each PNG.

    Raises:
        FileNotFoundError: The folder has no PNG of any of the images.
        ImageError: One cannot be used.
    """
    items = {f'{item.img_id}.png': item for item in inputs}
    files = {
        path: path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob('*.png'))
    }
    others = [name for name in files.values() if name not in items]
    if len(others) == len(files):
        raise FileNotFoundError(
            f'{folder} has no PNG of any of the {len(inputs)} images, such as '
            f'{next(iter(items), "ID.png")}'
        )
    if others:
        print(
            f'{folder}: {len(others)} PNGs are of no image of this run: '
            f'{first_few(others)}',
            flush=True,
        )
    found = {p: items[name] for p, name in files.items() if name in items}
    for path, item in found.items():
        read_correction(path, item.size, palette)
    return found


def put_in_place(job: Job, corrections: Mapping[Path, LabelInput]) -> None:
    """Write corrections as labels without a stamp, which are then kept.

    Args:
        job: Names files and colours.
        corrections: From :func:`find_corrections`.
    """
    for path, item in corrections.items():
        labels = read_correction(path, item.size, job.palette)
        target = job.label_file(item)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_label(target, labels, job.palette)


def with_tags(
    infos: Sequence[ImageInfo], path: Path, classes: Sequence[str]
) -> list[ImageInfo]:
    """Give photos the classes that a list names.

    Args:
        infos: Of the photos.
        path: A label list; photos that it does not name stay as they are.
        classes: Names of the foreground classes.

    Raises:
        FileNotFoundError: The list names a photo that is not there.
        ValueError: The list cannot be read, or has an unknown class.
    """
    tags = {image_id(n): c for n, c in read_labels(path, classes).items()}
    unknown = tags.keys() - {info['img_id'] for info in infos}
    if unknown:
        raise FileNotFoundError(
            f'{path} names {len(unknown)} images that are not among the '
            f'photos: {first_few(sorted(unknown))}'
        )
    return [
        {**info, 'gt_label': tags.get(info['img_id'], info['gt_label'])}
        for info in infos
    ]


def tags_after(job: Job, item: LabelInput, edited: bool) -> list[int]:
    """Say what an image shows, by its tags and, if edited, its label.

    An edited label without 255 says it all; beside 255 the tags may be right,
    too.

    Args:
        job: That made the labels.
        item: The image.
        edited: Whether somebody drew its label.
    """
    if not edited:
        known = item.classes
        return list(job.predicted(item) if known is None else known)
    values = np.unique(read_class_map(job.label_file(item), 'label')).tolist()
    shown = {value - 1 for value in values} - {-1, IGNORE_INDEX - 1}
    if IGNORE_INDEX in values:
        shown |= set(item.classes or ())
    return sorted(shown)


def write_tags(
    path: Path, tags: Mapping[str, Sequence[int]], classes: Sequence[str]
) -> None:
    """Write a label list as CSV.

    Args:
        path: The list.
        tags: Class numbers by image.
        classes: Names of the foreground classes.
    """
    with (
        atomic_write(path) as part,
        # A file name may hold bytes that are no text.
        part.open(
            'w', newline='', encoding='utf-8', errors='surrogateescape'
        ) as file,
    ):
        writer = csv.writer(file)
        for name, shown in tags.items():
            writer.writerow([name, *(classes[c] for c in shown)])


def check_tags_file(
    path: Path, written: str | None, given: Path | None
) -> None:
    """Refuse to overwrite a list that somebody has corrected.

    Args:
        path: The list that an earlier run wrote, if it is there.
        written: Its digest then, if it is known.
        given: The list that this run takes tags from.

    Raises:
        ValueError: It was changed since, and this run does not take it.
    """
    if written is None or not path.exists():
        return
    is_given = given is not None and given.exists() and given.samefile(path)
    if file_text_digest(path) != written and not is_given:
        raise ValueError(
            f'{path} was changed since it was written; label by it with '
            f'--list {path}, or move it'
        )


def file_text_digest(path: Path) -> str:
    """Shorten a list to 16 characters that change with its entries."""
    text = b'\n'.join(path.read_bytes().split())
    return hashlib.sha256(text).hexdigest()[:16]
