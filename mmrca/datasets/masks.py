"""Masks and labels as files: what a PNG of class numbers may hold.

Shape shorthand: H x W pixels, L classes.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mmrca.ops import IGNORE_INDEX

from .images import ImageError, open_picture


def read_class_map(
    path: str | Path, what: str, num_classes: int | None = None
) -> np.ndarray:
    """Read a PNG of class numbers: uint8 [H, W].

    Args:
        path: The file.
        what: ``'label'`` or ``'mask'``, for the error.
        num_classes: L + 1, with the background; any number below 255 if not
            given.

    Raises:
        ImageError: It cannot be read, is not 8-bit grey or palette, or holds
            a value that is neither a class nor 255.
    """
    picture = open_picture(path, what)
    if picture.mode not in ('L', 'P'):
        raise ImageError(
            f'{what} {path} must hold class numbers, as 8-bit grey or with a '
            f'palette; it is {picture.mode}'
        )
    values = np.array(picture)
    if num_classes is not None:
        wrong = values[(values >= num_classes) & (values != IGNORE_INDEX)]
        if wrong.size:
            raise ImageError(
                f'{what} {path} holds {wrong[0]}, which is not one of the '
                f'classes 0 to {num_classes - 1} and not {IGNORE_INDEX} '
                '(ignored)'
            )
    return values


def check_shown(
    values: Iterable[int], what: str, may_be_empty: bool = False
) -> None:
    """Raise unless a class is among the values of all masks or labels.

    Args:
        values: Those that occur.
        what: Whose they are, for the error: ``'mask in FOLDER'``.
        may_be_empty: Whether they may all be of normal images. Then only 255
            tells a mistake: drawing tools like to write a class as 255.

    Raises:
        ValueError: No class is among them.
    """
    found = set(values)
    ignored = IGNORE_INDEX in found
    if found - {0, IGNORE_INDEX} or (may_be_empty and not ignored):
        return
    raise ValueError(
        f'no {what} shows a class: there is only 0, the background'
        + (f', and {IGNORE_INDEX}, which is ignored' if ignored else '')
        + '; write class 1 as the value 1.'
    )


def check_size(
    what: str,
    path: str | Path,
    found: tuple,
    wanted: tuple,
    other: str = 'its image',
) -> None:
    """Raise ImageError unless a class map has the H and W of another."""
    if tuple(found) != tuple(wanted):
        raise ImageError(
            f'{what} {path} is {found[1]} x {found[0]} pixels, {other} '
            f'{wanted[1]} x {wanted[0]}'
        )
