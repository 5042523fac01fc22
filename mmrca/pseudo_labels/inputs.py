"""What pseudo-labels are made from: images, labels, masks, saliency maps.

Every file's header is read before the long work starts, so that a missing or
misfitting file does not end it halfway.

Shape shorthand: H x W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mmcv
import numpy as np
from mmengine.dataset import BaseDataset
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

_ORIENTATION = 0x0112  # the EXIF tag; from 5 on, the sides are swapped
_NAMED = 3  # files an error names


@dataclass(frozen=True)
class LabelInput:
    """One image and what belongs to it.

    Attributes:
        img_id: Its name without suffix.
        path: The image file.
        classes: Its class numbers, 0-based.
        size: H and W as the loader gives them (EXIF orientation applied).
        info: The data set's entry.
        mask: The file of the true mask, None if there is none.
        saliency: The file of the saliency map, None if not asked for.
    """

    img_id: str
    path: str
    classes: Sequence[int]
    size: tuple[int, int]
    info: dict
    mask: str | None
    saliency: Path | None


def collect_inputs(
    dataset: BaseDataset, saliency_dir: str | None = None
) -> list[LabelInput]:
    """List a data set's images and check their files.

    Args:
        dataset: :class:`mmrca.datasets.ImageLevelDataset`, or several
            concatenated.
        saliency_dir: Folder with a saliency map ``ID.png`` for every image.

    Raises:
        FileNotFoundError: If saliency maps are missing.
        ValueError: If two images have the same name, a file is no image, a
            mask or saliency map is of another size than its image, or a
            saliency map is not 8-bit grey.
    """
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    _check_unique([info['img_id'] for info in infos])
    if saliency_dir is not None:
        _check_saliency(infos, saliency_dir)
    return [_collect(info, saliency_dir) for info in infos]


def load_image(item: LabelInput) -> np.ndarray:
    """Read the image as MMSegmentation does: uint8 [H, W, 3], BGR.

    Raises:
        ValueError: If it cannot be decoded.
    """
    image = mmcv.imread(item.path)
    if image is None:
        raise ValueError(f'image {item.path} cannot be decoded')
    return image


def load_mask(item: LabelInput) -> np.ndarray:
    """Read the true mask as MMSegmentation does: uint8 [H, W]."""
    info = {**item.info, 'seg_fields': []}
    # MMSegmentation squeezes a mask that is one pixel high or wide.
    return LoadAnnotations()(info)['gt_seg_map'].reshape(item.size)


def load_saliency(item: LabelInput) -> np.ndarray:
    """Read the saliency map: float32 [H, W] in 0..1."""
    with Image.open(item.saliency) as picture:
        return np.asarray(picture, dtype=np.float32) / 255


def _check_unique(names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(
                f'two images are called {name}; their labels would have the '
                'same file name'
            )
        seen.add(name)


def _check_saliency(infos: list[dict], folder: str) -> None:
    if not Path(folder).is_dir():
        raise FileNotFoundError(
            f'saliency folder {folder} does not exist; set '
            'pseudo_label.background.dir'
        )
    names = [info['img_id'] for info in infos]
    missing = [n for n in names if not Path(folder, f'{n}.png').is_file()]
    if missing:
        raise FileNotFoundError(
            f'{folder} lacks the saliency maps ID.png of {len(missing)} of '
            f'{len(names)} images, such as {", ".join(missing[:_NAMED])}'
        )


def _collect(info: dict, saliency_dir: str | None) -> LabelInput:
    path, mask = info['img_path'], info.get('seg_map_path')
    size, _ = _header(path)
    if mask is not None and not Path(mask).is_file():
        mask = None
    if mask is not None:
        _check_size('mask', mask, _header(mask)[0], size)
    saliency = None
    if saliency_dir is not None:
        saliency = Path(saliency_dir, f'{info["img_id"]}.png')
        found, mode = _header(saliency)
        _check_size('saliency map', saliency, found, size)
        if mode != 'L':
            raise ValueError(f'saliency map {saliency} must be 8-bit grey')
    return LabelInput(
        info['img_id'], path, info['gt_label'], size, info, mask, saliency
    )


def _check_size(
    what: str, path: str | Path, found: tuple, wanted: tuple
) -> None:
    if found != wanted:
        raise ValueError(
            f'{what} {path} is {found[1]} x {found[0]} pixels, its image '
            f'{wanted[1]} x {wanted[0]}'
        )


def _header(path: str | Path) -> tuple[tuple[int, int], str]:
    """Read height and width, and the mode, of an image file."""
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            turned = picture.getexif().get(_ORIENTATION, 1) >= 5
            size = (width, height) if turned else (height, width)
            return size, picture.mode
    except OSError as error:
        raise ValueError(f'{path} cannot be read as an image') from error
