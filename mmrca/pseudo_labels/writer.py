"""Pseudo-labels on disk: palette PNGs that are whole or not there."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict
from zlib import crc32

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mmrca.atomic_write import atomic_write
from mmrca.datasets.images import ImageError, open_picture
from mmrca.ops import IGNORE_INDEX

_STAMP = 'mmrca'
_PIXELS = 'mmrca_pixels'
_FACTS = 'mmrca_facts'
IGNORE_COLOUR = (224, 224, 192)  # the cream of PASCAL VOC's masks


class Facts(TypedDict):
    """What only the making of a label shows, to tell how sure it is.

    ``scores`` are the classifier's, of all classes; ``margin`` is the mean
    lead of the best score of a pixel, ``disagreement`` how much the
    refinement changed (:mod:`mmrca.ops.doubt`). All in 0..1.
    """

    scores: list[float]
    margin: float
    disagreement: float


def write_label(
    path: str | Path,
    labels: np.ndarray,
    palette: Sequence[Sequence[int]],
    stamp: str = '',
    facts: Facts | None = None,
) -> None:
    """Write labels as a palette PNG.

    The file appears under its name only when it is complete, so a killed
    program leaves no half-written label behind.

    Args:
        path: The PNG to write; an existing one is replaced.
        labels: uint8 [H, W], indices into ``palette`` or 255.
        palette: RGB colours in 0..255, at most 255 of them, one per class
            with the background first. Index 255 gets a colour of its own.
        stamp: Says what the label was made with, for :func:`read_stamp`.
        facts: Kept with it, for :func:`read_facts`.

    Raises:
        ValueError: If ``labels`` is not uint8 [H, W] or holds an index
            without a colour, or the palette is too long.
    """
    if labels.dtype != np.uint8 or labels.ndim != 2:
        raise ValueError(
            f'{path}: labels must be uint8 [H, W], not {labels.dtype} '
            f'{list(labels.shape)}'
        )
    unknown = labels[(labels >= len(palette)) & (labels != IGNORE_INDEX)]
    if unknown.size:
        raise ValueError(
            f'{path}: label {unknown[0]} has no colour in a palette of '
            f'{len(palette)}'
        )
    picture = Image.fromarray(labels)
    picture.putpalette(_colours(palette))
    info = PngInfo()
    if stamp:
        # Some editors keep texts: the stamp is of these pixels only.
        info.add_text(_STAMP, stamp)
        info.add_text(_PIXELS, _checksum(labels))
    if facts is not None:
        info.add_text(_FACTS, json.dumps(facts))
    with atomic_write(path) as part:
        picture.save(part, format='PNG', pnginfo=info)


def read_stamp(path: str | Path) -> str | None:
    """Read what a label was made with.

    Returns:
        None if the file is missing or truncated, '' if it is an image
        without our stamp, or with that of other pixels, such as a label that
        an editor saved.
    """
    try:
        picture = open_picture(path, 'label')
    except ImageError:
        return None
    pixels = picture.info.get(_PIXELS)
    if pixels is not None and pixels != _checksum(np.asarray(picture)):
        return ''
    return picture.info.get(_STAMP, '')


def _checksum(labels: np.ndarray) -> str:
    return f'{crc32(labels.tobytes()):08x}'


def read_facts(path: str | Path) -> Facts | None:
    """Read what the making of a label showed.

    Returns:
        None if the label has none, such as one that an editor saved, or
        others than :func:`write_label` writes.
    """
    if not read_stamp(path):
        return None
    try:
        facts = json.loads(open_picture(path, 'label').info[_FACTS])
        numbers = [*facts['scores'], facts['margin'], facts['disagreement']]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return facts if all(isinstance(n, float | int) for n in numbers) else None


def palette_of(metainfo: dict) -> Sequence[Sequence[int]]:
    """Look up a data set's colours, PASCAL VOC's if it has none.

    Raises:
        ValueError: A colour is not a triple.
    """
    palette = metainfo.get('palette') or voc_palette(len(metainfo['classes']))
    if any(np.shape(colour) != (3,) for colour in palette):
        raise ValueError(
            f'metainfo.palette {palette} must hold [R, G, B] for each class.'
        )
    return palette


def voc_palette(count: int) -> list[list[int]]:
    """Give PASCAL VOC's colours for so many classes, black first.

    Each channel takes every third bit of the class number, the lowest
    first, from its own highest bit downwards.
    """
    palette = []
    for number in range(count):
        colour = [0, 0, 0]
        for bit in range(8):
            colour[bit % 3] |= (number >> bit & 1) << (7 - bit // 3)
        palette.append(colour)
    return palette


def _colours(palette: Sequence[Sequence[int]]) -> bytes:
    if len(palette) > IGNORE_INDEX:
        raise ValueError(
            f'a palette holds at most {IGNORE_INDEX} colours, not '
            f'{len(palette)}'
        )
    table = np.zeros((IGNORE_INDEX + 1, 3), dtype=np.uint8)
    if len(palette):
        table[: len(palette)] = palette
    table[IGNORE_INDEX] = IGNORE_COLOUR
    return table.tobytes()
