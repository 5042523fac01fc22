"""What pseudo-labels are made from: images, labels, masks, saliency maps.

Every file's header is read before the long work starts, so that a missing or
misfitting file is known before it.

Shape shorthand: H x W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset
from mmseg.datasets.transforms import LoadAnnotations

from mmrca.datasets.images import ImageError, image_size, open_picture


@dataclass(frozen=True)
class LabelInput:
    """One image and what belongs to it.

    Attributes:
        img_id: Its name without suffix.
        path: The image file.
        classes: Its class numbers, 0-based; None if nobody knows them.
        size: H and W as the loader gives them (EXIF orientation applied).
        info: The data set's entry.
        mask: The file of the true mask, None if there is none.
        saliency: The file of the saliency map, None if not asked for.
    """

    img_id: str
    path: str
    classes: Sequence[int] | None
    size: tuple[int, int]
    info: dict
    mask: str | None
    saliency: Path | None


def collect_inputs(
    infos: Sequence[dict], saliency_dir: str | None = None
) -> tuple[list[LabelInput], dict[str, str]]:
    """Check the files of images before the long work.

    Args:
        infos: Entries of :class:`mmrca.datasets.ImageLevelDataset`.
        saliency_dir: Folder with a saliency map ``ID.png`` for every image.

    Returns:
        The images that can be used, and what is at fault with the others,
        by ``img_id``: the file is no image, a saliency map is missing or not
        8-bit grey or of another size than the image.

    Raises:
        FileNotFoundError: If the folder of saliency maps is missing.
        ValueError: If two images have the same name.
    """
    _check_unique([info['img_id'] for info in infos])
    if saliency_dir is not None and not Path(saliency_dir).is_dir():
        raise FileNotFoundError(
            f'saliency folder {saliency_dir} does not exist; set '
            'pseudo_label.background.dir'
        )
    inputs, faults = [], {}
    for info in infos:
        try:
            inputs.append(_collect(info, saliency_dir))
        except ImageError as fault:
            faults[info['img_id']] = str(fault)
    return inputs, faults


def data_infos(dataset: BaseDataset) -> list[dict]:
    """List the entries of a data set, or of several concatenated."""
    return [dataset.get_data_info(i) for i in range(len(dataset))]


def load_mask(item: LabelInput) -> np.ndarray:
    """Read the true mask as MMSegmentation does: uint8 [H, W].

    Raises:
        ImageError: If it cannot be read or is of another size.
    """
    info = {**item.info, 'seg_fields': []}
    try:
        found = LoadAnnotations()(info)['gt_seg_map']
    # What decoders raise has no common type.
    except Exception as error:
        raise ImageError(f'mask {item.mask} cannot be decoded') from error
    # MMSegmentation squeezes a mask that is one pixel high or wide.
    if 1 in item.size and found.size == max(item.size):
        found = found.reshape(item.size)
    _check_size('mask', item.mask, found.shape, item.size)
    return found


def load_saliency(item: LabelInput) -> np.ndarray:
    """Read the saliency map: float32 [H, W] in 0..1.

    Raises:
        ImageError: If it cannot be decoded to its end.
    """
    picture = open_picture(item.saliency, 'saliency map')
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


def _collect(info: dict, saliency_dir: str | None) -> LabelInput:
    path, mask = info['img_path'], info.get('seg_map_path')
    size = image_size(path)
    if mask is not None and not Path(mask).is_file():
        mask = None
    saliency = None
    if saliency_dir is not None:
        saliency = Path(saliency_dir, f'{info["img_id"]}.png')
        if not saliency.is_file():
            raise ImageError(f'saliency map {saliency} is missing')
        picture = open_picture(saliency, 'saliency map')
        _check_size('saliency map', saliency, picture.size[::-1], size)
        if picture.mode != 'L':
            raise ImageError(f'saliency map {saliency} must be 8-bit grey')
    return LabelInput(
        info['img_id'], path, info['gt_label'], size, info, mask, saliency
    )


def _check_size(
    what: str, path: str | Path | None, found: tuple, wanted: tuple
) -> None:
    if found != wanted:
        raise ImageError(
            f'{what} {path} is {found[1]} x {found[0]} pixels, its image '
            f'{wanted[1]} x {wanted[0]}'
        )
