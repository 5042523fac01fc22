"""Image files: their names, their IDs, and what is in them.

Shape shorthand: H x W pixels.
"""

import os
import posixpath
from collections.abc import Iterable
from pathlib import Path

import cv2
import mmcv
import numpy as np
from PIL import Image

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')

_ORIENTATION = 0x0112  # the EXIF tag; from 5 on, the sides are swapped
# What Pillow raises at a broken file, or one that would fill the memory.
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


class ImageError(ValueError):
    """An image, or a file that belongs to it, that cannot be used."""


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


def load_image(path: str | Path, max_side: int | None = None) -> np.ndarray:
    """Read an image as MMSegmentation does: uint8 [H, W, 3], BGR.

    Args:
        path: Its file.
        max_side: As :func:`shrink`.

    Raises:
        ImageError: If it cannot be decoded to its end.
    """
    try:
        # OpenCV fills what is missing of a cut-off image with grey.
        with Image.open(path) as picture:
            picture.load()
        image = mmcv.imread(path)
    except (*UNREADABLE, cv2.error) as error:
        raise ImageError(f'image {path} cannot be decoded: {error}') from error
    if image is None:
        raise ImageError(f'image {path} cannot be decoded')
    return image if max_side is None else shrink(image, max_side)


def shrink(image: np.ndarray, max_side: int) -> np.ndarray:
    """Shrink an image whose longer side is longer than so many pixels.

    Args:
        image: [H, W] or [H, W, 3].
        max_side: Pixels.
    """
    height, width = image.shape[:2]
    factor = max_side / max(height, width)
    if factor >= 1:
        return image
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return mmcv.imresize(image, size)


def read_header(path: str | Path) -> tuple[tuple[int, int], str]:
    """Read height and width, and the mode, of an image file."""
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            turned = picture.getexif().get(_ORIENTATION, 1) >= 5
            size = (width, height) if turned else (height, width)
            return size, picture.mode
    except UNREADABLE as error:
        raise ImageError(f'{path} cannot be read as an image') from error
