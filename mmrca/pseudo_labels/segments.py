"""Segments of any tool that vote on labels.

Shape shorthand: C classes of the image, H x W pixels, M masks.
"""

from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import mmcv
import numpy as np
import torch
from torch import Tensor

from mmrca.datasets.images import ImageError, open_picture
from mmrca.ops.segments import segment_means
from mmrca.registry import REFINEMENTS

_MODES = ('L', 'P', 'I', 'I;16')
_MASKS = 'masks'


@REFINEMENTS.register_module(name='segments')
class Segments:
    """:func:`mmrca.ops.segments.segment_means` by segments from files.

    A segment knows no class: superpixels, or the masks of a model such as
    SAM. Its pixels take their mean scores, so that it takes a class where its
    pixels agree enough.

    Args:
        dir: Folder with a file for each image, of the image's size. ``ID.png``
            has the number of its segment at each pixel, as 8-bit or 16-bit
            grey or with a palette, and 0 where there is none. ``ID.npz`` has
            an array ``masks``, boolean [M, H, W]; they may overlap.

    Raises:
        FileNotFoundError: If the folder is missing.
    """

    needs_id = True

    def __init__(self, dir: str) -> None:
        self.dir = Path(dir)
        if not self.dir.is_dir():
            raise FileNotFoundError(
                f'segment folder {dir} does not exist; set '
                'pseudo_label.refinement.dir.'
            )

    def check(self, img_id: str, size: tuple[int, int]) -> None:
        """Raise ImageError unless an image has segments of its size [H, W]."""
        path = self._path(img_id)
        found = _masks_shape(path) if path.suffix == '.npz' else _size(path)
        if found[-2:] != size:
            raise ImageError(
                f'segments {path} are {found[-1]} x {found[-2]} pixels, their '
                f'image {size[1]} x {size[0]}'
            )

    def __call__(
        self,
        image: np.ndarray,
        scores: Tensor,
        classes: Sequence[int],
        *,
        img_id: str,
    ) -> Tensor:
        """Let segments vote on scores [C+1, H, W].

        Raises:
            ImageError: If the file cannot be read.
        """
        path, size = self._path(img_id), image.shape[:2]
        if path.suffix == '.npz':
            segment, pixel = _read_masks(path, size)
        else:
            segment, pixel = _read_numbers(path, size)
        flat = segment_means(scores.flatten(1), segment, pixel)
        return flat.view_as(scores)

    def _path(self, img_id: str) -> Path:
        for suffix in ('.png', '.npz'):
            path = self.dir / f'{img_id}{suffix}'
            if path.is_file():
                return path
        raise ImageError(
            f'segments {self.dir / img_id}.png (or .npz) are missing'
        )


def _size(path: Path) -> tuple[int, ...]:
    picture = open_picture(path, 'segments')
    if picture.mode not in _MODES:
        raise ImageError(
            f'segments {path} must be a grey picture of numbers, or one with '
            f'a palette, not {picture.mode}'
        )
    return picture.size[::-1]


def _masks_shape(path: Path) -> tuple[int, ...]:
    """Look at the header of ``masks`` only: the rest may be any size."""
    try:
        with ZipFile(path) as archive, archive.open(f'{_MASKS}.npy') as file:
            np.lib.format.read_magic(file)
            shape, _, kind = np.lib.format.read_array_header_1_0(file)
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise ImageError(
            f'segments {path} have no readable array {_MASKS!r}'
        ) from error
    if len(shape) != 3 or kind != np.bool_:
        raise ImageError(
            f'segments {path} must have {_MASKS!r} as boolean [M, H, W], not '
            f'{kind} {list(shape)}'
        )
    return shape


def _read_numbers(path: Path, size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Read pairs of segment and pixel, shrunk to a size [H, W]."""
    numbers = _shrink(np.array(open_picture(path, 'segments')), size)
    pixel = np.flatnonzero(numbers)
    _, segment = np.unique(numbers.flat[pixel], return_inverse=True)
    return torch.from_numpy(segment), torch.from_numpy(pixel)


def _read_masks(path: Path, size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    _masks_shape(path)
    try:
        masks = np.load(path, allow_pickle=False)[_MASKS]
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise ImageError(f'segments {path} cannot be read') from error
    if masks.shape[1:] != size:
        small = [_shrink(mask, size) for mask in masks]
        masks = np.reshape(small, (len(masks), *size))
    segment, pixel = masks.reshape(len(masks), -1).nonzero()
    return torch.from_numpy(segment), torch.from_numpy(pixel)


def _shrink(values: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Bring numbers [H, W] to the size of an image that was shrunk."""
    return mmcv.imresize(
        values.astype(np.float32), size[::-1], interpolation='nearest'
    ).astype(np.int64)
