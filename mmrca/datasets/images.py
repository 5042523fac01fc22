"""Image files: their names, their IDs, and what is in them.

An image's name is its path inside the image folder, with or without suffix;
its ID is that path without suffix. Only a known image suffix is one:
``cam.001.jpg`` has the ID ``cam.001``. Names are compared in Unicode's
composed form (NFC), and the file's own spelling counts.

Shape shorthand: H x W pixels.
"""

import os
import posixpath
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')

_JPEG = b'\xff\xd8'  # how such a file starts


class ImageError(ValueError):
    """An image, or a file that belongs to it, that cannot be used."""


def _undecodable(what: str, path: str | Path, error: Exception) -> ImageError:
    reason = ' '.join(str(error).split())
    return ImageError(f'{what} {path} cannot be decoded: {reason}')


def image_name(word: str, where: str) -> str:
    """Turn a list's word into an image's name: ``./a/b`` into ``a/b``.

    Args:
        word: As it stands in the list.
        where: List and line, for the error.

    Raises:
        ValueError: It leads out of the image folder, or is empty.
    """
    parts = [part for part in word.split('/') if part not in ('', '.')]
    if word.startswith('/') or '..' in parts or not parts:
        raise ValueError(
            f"{where}: the name '{word}' must be a path inside the image "
            "folder, without '..'."
        )
    return '/'.join(parts)


def image_id(file: str, suffix: str | None = None) -> str:
    """Turn an image's file or name into its ID.

    Args:
        file: Path inside the image folder.
        suffix: Of the files; without one, any of ``IMAGE_SUFFIXES``.
    """
    if suffix is not None:
        return file.removesuffix(suffix)
    return posixpath.splitext(file)[0] if _is_image(file, None) else file


def list_images(
    folder: str | os.PathLike,
) -> tuple[list[str], dict[str, str]]:
    """List the images of a folder and its subfolders.

    Args:
        folder: The folder. Links to other folders are followed.

    Returns:
        The images' paths inside the folder, sorted, and for each other file
        why it is left out.

    Raises:
        FileNotFoundError: There is no such folder.
    """
    images, left_out = [], {}
    for file in _walk(folder):
        suffix = posixpath.splitext(file)[1]
        if any(p.startswith(('.', '__MACOSX')) for p in file.split('/')):
            left_out[file] = 'a hidden file or folder'
        elif _is_image(file, None):
            images.append(file)
        else:
            kind = f'{suffix} files' if suffix else 'files without suffix'
            left_out[file] = f'{kind} are not read as images'
    return images, left_out


def find_images(
    folder: str | os.PathLike, names: Iterable[str], suffix: str | None = None
) -> tuple[dict[str, str], dict[str, str]]:
    """Find the files of images that are named with or without suffix.

    The folder is listed once; a stat for each image takes minutes on network
    disks.

    Args:
        folder: Folder of the images.
        names: Paths inside it, such as ``cats/001`` or ``cats/001.JPG``.
        suffix: Of the files; without one, any of ``IMAGE_SUFFIXES`` in small
            or capital letters.

    Returns:
        For each name that was found the file's path inside the folder, and
        for each other name why it was not.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: A name fits several files.
    """
    there = list(_walk(folder))
    by_file: dict[str, list[str]] = {}
    by_id: dict[str, list[str]] = {}
    for file in there:
        if _is_image(file, suffix):
            by_file.setdefault(_nfc(file), []).append(file)
            by_id.setdefault(_nfc(image_id(file, suffix)), []).append(file)
    found, missing = {}, []
    for name in names:
        files = by_file.get(_nfc(name)) or by_id.get(_nfc(name)) or []
        exact = [f for f in files if name in (f, image_id(f, suffix))]
        files = exact or files
        if len(files) > 1:
            raise ValueError(
                f'image {name} may be {" or ".join(files)} in {folder}; '
                'write the suffix in the list, or set img_suffix.'
            )
        if files:
            found[name] = files[0]
        else:
            missing.append(name)
    return found, _why_missing(folder, missing, there, suffix)


def image_ids(
    files: dict[str, str], suffix: str | None = None
) -> dict[str, str]:
    """Give each image its ID, by which its mask and its label are named.

    Args:
        files: As :func:`find_images` returns them.
        suffix: As given there.

    Returns:
        For each name of ``files`` the file's path without suffix.

    Raises:
        ValueError: Two names are one image, or differ in the suffix only.
    """
    ids = {name: image_id(file, suffix) for name, file in files.items()}
    owner: dict[str, str] = {}
    for name, its_id in ids.items():
        other = owner.setdefault(its_id, name)
        if other != name:
            raise ValueError(
                f"'{other}' and '{name}' are one image, or two that would "
                f'share the mask and the label {its_id}.png; keep one of '
                'them, or give it another name.'
            )
    return ids


def _is_image(file: str, suffix: str | None) -> bool:
    if suffix is None:
        return file.lower().endswith(IMAGE_SUFFIXES)
    return file.endswith(suffix)


def _nfc(name: str) -> str:
    return unicodedata.normalize('NFC', name)


def _walk(
    folder: str | os.PathLike, below: str = '', above: tuple[str, ...] = ()
) -> Iterator[str]:
    """List the files of a folder by their paths inside it, sorted."""
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f'folder {folder} does not exist: check the path.'
        )
    real = os.path.realpath(os.path.join(folder, below))
    if real in above:  # a link to a folder that it lies in
        return
    with os.scandir(real) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    for entry in entries:
        path = posixpath.join(below, entry.name)
        if entry.is_dir():
            yield from _walk(folder, path, (*above, real))
        else:
            yield path


def _why_missing(
    folder: str | os.PathLike,
    names: list[str],
    files: list[str],
    suffix: str | None,
) -> dict[str, str]:
    alike = {}
    for file in files if names else ():
        alike[_loose(posixpath.splitext(file)[0])] = file
        alike[_loose(file)] = file
    reasons = {}
    for name in names:
        file = alike.get(_loose(name), '')
        if not file:
            reasons[name] = f'not in {folder}'
        elif _is_image(file, suffix):
            reasons[name] = f'{folder} has {file!a}, the list {name!a}'
        else:
            wanted = suffix or ', '.join(IMAGE_SUFFIXES)
            reasons[name] = f'{folder} has {file}, images end in {wanted}'
    return reasons


def _loose(name: str) -> str:
    """Make names equal that people take for the same."""
    plain = unicodedata.normalize('NFKC', name).casefold().replace('\\', '/')
    seen = (c for c in plain if unicodedata.category(c) != 'Cf')
    return ' '.join(''.join(seen).split())


def load_image(path: str | Path, max_side: int | None = None) -> np.ndarray:
    """Read an image as MMSegmentation does: uint8 [H, W, 3], BGR.

    Args:
        path: Its file.
        max_side: As :func:`shrink`.

    Raises:
        ImageError: It cannot be decoded to its end, or has so many pixels
            that it may be a decompression bomb.
    """
    try:
        content = _read(path)
        if content.startswith(_JPEG):
            # OpenCV fills what is missing of a truncated JPEG with grey.
            with Image.open(BytesIO(content)) as picture:
                picture.load()
        import mmcv  # with torch, which takes seconds

        image = mmcv.imfrombytes(content)
        if image is None:
            raise ValueError('it is another kind of file, or broken')
    # What decoders raise has no common type.
    except Exception as error:
        raise _undecodable('image', path, error) from error
    return image if max_side is None else shrink(image, max_side)


def image_size(path: str | Path) -> tuple[int, int]:
    """Read H and W as :func:`load_image` gives them.

    Decoders disagree about which orientation tags count, so the header is not
    enough. Of a JPEG an eighth is decoded, which shows the longer side.

    Raises:
        ImageError: It cannot be decoded.
    """
    try:
        content = _read(path)
        if content.startswith(_JPEG):
            with Image.open(BytesIO(content)) as picture:
                short, long = sorted(picture.size)
            flat = np.frombuffer(content, np.uint8)
            small = cv2.imdecode(flat, cv2.IMREAD_REDUCED_COLOR_8)
            height, width = (0, 0) if small is None else small.shape[:2]
            if height != width:
                return (short, long) if height < width else (long, short)
    except Exception as error:
        raise _undecodable('image', path, error) from error
    height, width = load_image(path).shape[:2]
    return height, width


def _read(path: str | Path) -> bytes:
    """Read a file; refuse one that would fill the memory when decoded."""
    content = Path(path).read_bytes()
    if not content:
        raise ValueError('the file is empty')
    with suppress(UnidentifiedImageError):  # OpenCV may know it
        Image.open(BytesIO(content)).close()
    return content


def open_picture(path: str | Path, what: str) -> Image.Image:
    """Read a picture with its mode, such as a mask.

    Args:
        path: The file.
        what: What it is, for the error.

    Raises:
        ImageError: It cannot be decoded to its end.
    """
    try:
        with Image.open(path) as picture:
            picture.load()
            return picture
    except Exception as error:
        raise _undecodable(what, path, error) from error


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
    import mmcv

    return mmcv.imresize(image, size)
