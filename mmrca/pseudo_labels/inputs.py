"""What pseudo-labels are made from, checked before the long work.

Shape shorthand: H x W pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict

from mmengine.dataset import BaseDataset

from mmrca.datasets.images import ImageError, image_size


class ImageInfo(TypedDict):
    """What an entry of a data set says of an image, of its many keys.

    ``gt_label`` is None where the image's classes are not known.
    """

    img_id: str
    img_path: str
    gt_label: Sequence[int] | None
    seg_map_path: NotRequired[str]


@dataclass(frozen=True)
class LabelInput:
    """One image and what belongs to it.

    Attributes:
        img_id: Its name without suffix.
        path: The image file.
        classes: Its class numbers, 0-based; None if they are not known.
        size: H and W as the image is loaded.
        mask: The file of the true mask, None without.
    """

    img_id: str
    path: str
    classes: Sequence[int] | None
    size: tuple[int, int]
    mask: Path | None = None


def collect_inputs(
    infos: Sequence[ImageInfo],
    checks: Sequence[Callable[[str, tuple[int, int]], None]] = (),
) -> tuple[list[LabelInput], dict[str, str]]:
    """Check every image before the long work.

    Args:
        infos: Entries of :class:`mmrca.datasets.ImageLevelDataset`.
        checks: Called with ID and size of every image, such as a cue's;
            they raise ImageError.

    Returns:
        The images that can be used, and the errors of the others by ID.

    Raises:
        ValueError: If two images have the same ID.
    """
    inputs: list[LabelInput] = []
    errors: dict[str, str] = {}
    seen: set[str] = set()
    for info in infos:
        img_id, path = info['img_id'], info['img_path']
        if img_id in seen:
            raise ValueError(
                f'two images are called {img_id}; their labels would have '
                'the same file name.'
            )
        seen.add(img_id)
        try:
            size = image_size(path)
            for check in checks:
                check(img_id, size)
        except ImageError as error:
            errors[img_id] = str(error)
            continue
        file = info.get('seg_map_path')
        mask = Path(file) if file and Path(file).is_file() else None
        inputs.append(LabelInput(img_id, path, info['gt_label'], size, mask))
    return inputs, errors


def data_infos(dataset: BaseDataset) -> list[ImageInfo]:
    """List the entries of a data set, or of several concatenated."""
    return [dataset.get_data_info(i) for i in range(len(dataset))]
