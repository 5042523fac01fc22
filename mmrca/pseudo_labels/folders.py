"""Two folders of label PNGs, one against the other.

Shape shorthand: H x W pixels.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmrca.ops.metrics import confusion_matrix
from mmrca.ops.pseudo_label import IGNORE_INDEX
from mmrca.progress import progress


def compare_folders(pred_dir: Path, gt_dir: Path, names: list[str]) -> Tensor:
    """Count the pixels of a split's labels against its masks.

    Args:
        pred_dir: Folder of ``NAME.png``, in 0..254 or 255 for unlabelled.
        gt_dir: The same with the true masks, 255 for ignored.
        names: The split.

    Returns:
        int64 [255, 256], as :func:`mmrca.ops.metrics.confusion_matrix` with
        as many classes as there can be.

    Raises:
        FileNotFoundError: A folder or a file is missing.
        ValueError: A file is no label map, or of another size than its mask.
    """
    for folder in (pred_dir, gt_dir):
        _check_folder(folder, names)
    counts = torch.zeros(IGNORE_INDEX, IGNORE_INDEX + 1, dtype=torch.int64)
    for name in progress(names, 'labels'):
        pred, mask = (
            read_labels(d / f'{name}.png') for d in (pred_dir, gt_dir)
        )
        try:
            counts += confusion_matrix(pred, mask, IGNORE_INDEX)
        except ValueError as error:
            raise ValueError(f'{pred_dir}/{name}.png: {error}') from error
    return counts


def _check_folder(folder: Path, names: Sequence[str]) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(f'folder {folder} does not exist')
    missing = [n for n in names if not (folder / f'{n}.png').is_file()]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of the {len(names)} PNGs of the split are not in '
            f'{folder}, first {missing[0]}.png; complete it or shorten the '
            'split'
        )


def read_labels(path: Path) -> Tensor:
    """Read a PNG of class numbers: uint8 [H, W].

    Raises:
        ValueError: It cannot be read, or is no 8-bit grey or palette image.
    """
    try:
        with Image.open(path) as picture:
            mode, labels = picture.mode, np.array(picture)
    except (OSError, SyntaxError) as error:
        raise ValueError(f'{path} cannot be read: {error}') from error
    if mode not in ('L', 'P'):
        raise ValueError(
            f'{path} must be 8-bit grey or with a palette, not {mode}'
        )
    return torch.from_numpy(labels)


def trim(counts: Tensor, num_classes: int | None) -> Tensor:
    """Leave out the classes that there are not.

    Args:
        counts: From :func:`compare_folders`.
        num_classes: C with the background; by default up to the highest
            number that occurs.

    Returns:
        [C, C+1].

    Raises:
        ValueError: A higher number than C allows occurs.
    """
    used = counts.sum(1) + counts[:, :-1].sum(0)
    highest = int(used.nonzero().max()) if used.any() else 0
    size = num_classes or highest + 1
    if highest >= size:
        raise ValueError(
            f'the labels or masks hold {highest}, but there are {size} '
            'classes with the background'
        )
    return torch.cat([counts[:size, :size], counts[:size, -1:]], dim=1)
