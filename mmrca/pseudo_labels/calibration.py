"""What the training images and their labels, but no masks, settle once.

Shape shorthand: L classes of the model, N images.
"""

import hashlib
import json
import math
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from torch import Tensor, nn

from mmrca.ops.metrics import best_f1
from mmrca.ops.threshold import choose_threshold, colour_threshold
from mmrca.progress import progress
from mmrca.pseudo_labels.cams import enlarge_cams, infer_cams
from mmrca.pseudo_labels.inputs import (
    ImageFault,
    collect_inputs,
    data_infos,
    load_image,
)
from mmrca.pseudo_labels.manifest import write_json
from mmrca.pseudo_labels.settings import Settings
from mmrca.registry import DATASETS

_SAMPLE = 1000  # images that say as much as all of them


class Calibration(NamedTuple):
    """Thresholds chosen without masks.

    Attributes:
        background: A constant background threshold, None if the images'
            colours tell nothing.
        classes: float32 [L], the score from which on a class is predicted;
            infinity for a class that no image shows.
        images: How many images it is made of.
    """

    background: float | None
    classes: Tensor
    images: int


def calibrate(
    config: Config,
    checkpoint: str,
    model: nn.Module,
    settings: Settings,
    dataset: BaseDataset | None = None,
) -> Calibration:
    """Choose thresholds by the training images, or look them up.

    At most 1000 images, evenly spread over the list, are looked at. The
    background's threshold is :func:`choose_threshold`'s, a class's that of
    the best F1. Both are kept in ``CHECKPOINT.calibration.json``.

    Args:
        config: With ``train_dataloader``.
        checkpoint: Of the classifier.
        model: Made of it.
        settings: How its CAMs are made.
        dataset: The training images, if they are at hand. Without, what is
            kept beside the checkpoint is taken whatever images it is of.

    Raises:
        ValueError: If no training image can be used.
    """
    path = Path(f'{checkpoint}.calibration.json')
    content = Path(checkpoint).read_bytes()
    made_with = {
        'checkpoint_sha256': hashlib.sha256(content).hexdigest(),
        'scales': list(settings.scales),
        'flip': settings.flip,
        'normalization': settings.normalization,
        'max_side': settings.max_side,
    }
    known = _read(path, made_with, dataset)
    if known:
        return known
    dataset = dataset or DATASETS.build(config.train_dataloader.dataset)
    found = _look(dataset, model, settings)
    names = dataset.metainfo['classes'][1:]
    made_with['images'] = _digest(dataset)
    try:
        write_json(path, {'made_with': made_with, **_as_json(found, names)})
    except OSError as error:
        print(f'the calibration cannot be kept: {error}', flush=True)
    return found


def _look(
    dataset: BaseDataset, model: nn.Module, settings: Settings
) -> Calibration:
    step = -(-len(dataset) // _SAMPLE)
    inputs, _ = collect_inputs(data_infos(dataset)[::step])
    backgrounds, scores, labels = [], [], []
    for item in progress(inputs, 'calibration'):
        try:
            image = load_image(item, settings.max_side)
        except ImageFault:  # named when it is labelled
            continue
        (cams,) = infer_cams(
            model, [image], [item.classes], settings.scales, settings.flip
        )
        maps = enlarge_cams(cams, image.shape[:2], settings.normalization)
        backgrounds.append(colour_threshold(torch.from_numpy(image), maps))
        scores.append(cams.scores)
        labels.append(torch.zeros_like(cams.scores))
        labels[-1][list(item.classes)] = 1
    if not scores:
        raise ValueError('none of the training images can be read')
    thresholds, _ = best_f1(torch.stack(scores), torch.stack(labels))
    told = not all(map(math.isnan, backgrounds))
    return Calibration(
        choose_threshold(backgrounds) if told else None,
        thresholds.float(),
        len(scores),
    )


def _as_json(found: Calibration, names: list[str]) -> dict:
    classes = [t if math.isfinite(t) else None for t in found.classes.tolist()]
    return {
        'images': found.images,
        'background': found.background,
        'classes': dict(zip(names, classes, strict=True)),
    }


def _digest(dataset: BaseDataset) -> str:
    """Tell data sets apart by their images and labels."""
    names = [
        (info['img_id'], list(info['gt_label']))
        for info in data_infos(dataset)
    ]
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()


def _read(
    path: Path, made_with: dict, dataset: BaseDataset | None
) -> Calibration | None:
    try:
        known = json.loads(path.read_text())
        of = known['made_with'].pop('images')
        if known['made_with'] != made_with:
            return None
        if dataset is not None and of != _digest(dataset):
            return None
        classes = [
            math.inf if t is None else t for t in known['classes'].values()
        ]
        return Calibration(
            known['background'], torch.tensor(classes), known['images']
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
