"""What the prototypes look like, and how far they are apart.

Shape shorthand: L classes, K prototypes a class, D channels, h x w cells.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from report_page import picture_uri
from torch import Tensor

from mmrca.checkpoint import load_classifier
from mmrca.datasets.images import ImageError, load_image
from mmrca.inference import image_stages
from mmrca.models import RCA
from mmrca.progress import progress
from mmrca.pseudo_labels.review import Row
from mmrca.pseudo_labels.writer import read_stamp
from mmrca.registry import MODELS

# Some of mmpretrain's models read pickles.
_SAFE = (
    *('mmrca.models.', 'mmseg.models.', 'mmpretrain.models.backbones.'),
    *('mmengine.', 'mmcv.', 'torch.'),
)
_CROP = 64


def prototypes_of(
    record: dict, rows: Sequence[Row], folder: Path, limit: int
) -> dict | None:
    """Find the spots most like each prototype of a classifier.

    Args:
        record: Of the labels, with the model and its checkpoint.
        rows: The images.
        folder: Of the labels, whose stamps say the images' classes.
        limit: Images that are looked at.

    Returns:
        None if the model has no prototypes.

    Raises:
        ValueError: The checkpoint does not fit any more.
        OSError: The checkpoint is gone.
    """
    init_default_scope('mmseg')
    check_types(record['model'])
    names = record['classes']
    dataset = dict(dataset=dict(metainfo=dict(classes=names)))
    config = Config(dict(model=record['model'], train_dataloader=dataset))
    model = load_classifier(config, record['checkpoint'])
    if model.prototype_cam is not None:
        kind = 'prototype CAM'
        keys, valid = model.prototype_cam.prototypes, model.prototype_cam.valid
    elif model.memory is not None and model.memory.prototype_valid.any():
        kind = 'region memory'
        keys = model.memory.prototypes
        valid = model.memory.prototype_valid
    else:
        return None
    keys = F.normalize(keys.float(), dim=-1)
    found = nearest_spots(model, keys, valid, _sample(rows, folder, limit))
    return {
        'kind': kind,
        'images': min(limit, len(rows)),
        'rows': [
            _class_row(c, names[1:], keys.cpu(), valid.cpu(), found)
            for c in range(len(keys))
        ],
    }


def check_types(config: object, where: str = 'model') -> None:
    """Refuse parts that are no registered ones of the known packages.

    A record is data, and a type that is not registered is imported and
    called, whatever it is.

    Args:
        config: Of a model, or a part of it.
        where: Its name, for the error.

    Raises:
        ValueError: A type is something else.
    """
    if isinstance(config, list | tuple):
        config = dict(enumerate(config))
    if not isinstance(config, Mapping):
        return
    kind = config.get('type')
    if kind is not None and not _is_registered(str(kind)):
        raise ValueError(
            f'{where}.type is {kind!r}, which is no part of mmrca or the '
            'OpenMMLab packages, and none other is built for a report'
        )
    for key, value in config.items():
        check_types(value, f'{where}.{key}')


def _is_registered(kind: str) -> bool:
    scope, _, name = kind.rpartition('.')
    if scope not in ('', 'mmrca', 'mmseg', 'mmpretrain'):
        return False
    if scope:
        import_module(f'{scope}.registry')
    root = MODELS.parent
    for registry in root.children.values():
        registry.import_from_location()
    every = [r.module_dict for r in (root, *root.children.values())]
    found = [parts[name].__module__ for parts in every if name in parts]
    return bool(found) and all(one.startswith(_SAFE) for one in found)


def _sample(
    rows: Sequence[Row], folder: Path, limit: int
) -> list[tuple[str, list[int]]]:
    """Take images evenly from the list by name, with their classes."""
    rows = sorted(rows, key=lambda row: row['image'])
    step = max(1, -(-len(rows) // limit))
    chosen = []
    for row in rows[::step]:
        stamp = read_stamp(folder / f'{row["image"]}.png') or ''
        classes = [int(number) for number in stamp.split(' ')[1:]]
        if classes:
            chosen.append((row['photo'], classes))
    return chosen


@torch.no_grad()
def nearest_spots(
    model: RCA,
    keys: Tensor,
    valid: Tensor,
    images: Sequence[tuple[str, Sequence[int]]],
) -> dict[tuple[int, int], tuple[float, str, np.ndarray]]:
    """Find the cell most like each prototype, in images of its class.

    Args:
        model: In eval mode.
        keys: [L, K, D] of length 1.
        valid: Boolean [L, K].
        images: Files and their class numbers.

    Returns:
        For each class and prototype the cosine, the file and a crop, uint8
        RGB.
    """
    best: dict[tuple[int, int], tuple[float, str, np.ndarray]] = {}
    for file, classes in progress(images, 'prototypes', len(images)):
        try:
            image = load_image(file, model.test_cfg.max_side)
        except ImageError:
            continue
        stages = image_stages(model, [image])
        if model.prototype_cam is not None:
            cells = model.prototype_cam.features(stages)[0]
        else:
            cells = F.normalize(stages[-1][0].float(), dim=0)
        cosines = torch.einsum('lkd,dhw->lkhw', keys[list(classes)], cells)
        for c, own in zip(classes, cosines, strict=True):
            for k in valid[c].nonzero()[:, 0].tolist():
                value, place = own[k].flatten().max(0)
                if value > best.get((c, k), (-1.0,))[0]:
                    y, x = divmod(int(place), own.shape[2])
                    spot = (y + 0.5) / own.shape[1], (x + 0.5) / own.shape[2]
                    best[c, k] = float(value), file, crop(image, spot)
    return best


def crop(image: np.ndarray, spot: tuple[float, float]) -> np.ndarray:
    """Cut out a square third of an image around a spot.

    Args:
        image: uint8 [H, W, 3], BGR.
        spot: Its y and x as shares of the height and the width.

    Returns:
        uint8 RGB.
    """
    side = max(8, min(image.shape[:2]) // 3)
    y, x = (
        int(np.clip(share * length - side / 2, 0, max(0, length - side)))
        for share, length in zip(spot, image.shape[:2], strict=True)
    )
    return np.ascontiguousarray(image[y : y + side, x : x + side, ::-1])


def _class_row(
    number: int,
    names: Sequence[str],
    keys: Tensor,
    valid: Tensor,
    found: dict[tuple[int, int], tuple[float, str, np.ndarray]],
) -> dict:
    own = keys[number][valid[number]]
    others = [(n, keys[n][valid[n]]) for n in range(len(keys)) if n != number]
    near = [
        (float((own @ k.T).max()), n) for n, k in others if len(own) * len(k)
    ]
    cosine, nearest = max(near, default=(None, None))
    count = len(own)
    pairs = (own @ own.T).sum() - count
    crops = [
        found[number, k]
        for k in range(len(keys[number]))
        if (number, k) in found
    ]
    return {
        'name': names[number],
        'count': count,
        'within': float(pairs / (count * (count - 1))) if count > 1 else None,
        'nearest': None if nearest is None else names[nearest],
        'cosine': cosine,
        'crops': [
            {
                'uri': picture_uri(picture),
                'says': f'cosine {value:.2f}, {Path(file).name}',
            }
            for value, file, picture in crops
        ],
    }
