"""Checks of what a training is about to learn from."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from mmcv.transforms import LoadAnnotations
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner
from mmseg.evaluation import IoUMetric
from torch.utils.data import Dataset

from mmrca.datasets.images import image_size
from mmrca.datasets.masks import check_shown, check_size, read_class_map
from mmrca.datasets.pack_image_labels import PackImageLabels
from mmrca.progress import progress
from mmrca.pseudo_labels.inputs import data_infos
from mmrca.pseudo_labels.manifest import read_manifest


def check_training_data(dataset: Dataset) -> None:
    """Check images and labels of a classifier or a segmenter.

    Args:
        dataset: Of ``train_dataloader``, in wrappers or not.

    Raises:
        ValueError: Nothing could be learned, or a label is wrong.
        FileNotFoundError: A file is missing.
    """
    for part in _parts(dataset):
        infos = data_infos(part)
        classes = part.metainfo['classes']
        if _has_step(part, PackImageLabels):
            _check_classifier([info['gt_label'] for info in infos], classes)
        else:
            folder = part.data_prefix.get('seg_map_path')
            if not folder:
                raise ValueError(
                    'train_dataloader.dataset has no labels: set '
                    'data_prefix.seg_map_path.'
                )
            _check_manifest(Path(folder), classes)
            _check_segmenter(infos, classes)


def check_evaluator(loop: BaseLoop, part: str) -> None:
    """Refuse a metric that needs masks where none are loaded.

    Args:
        loop: Of validation or test.
        part: ``'val'`` or ``'test'``, for the error.

    Raises:
        ValueError: The pipeline loads no masks.
    """
    metrics = [m for m in loop.evaluator.metrics if isinstance(m, IoUMetric)]
    needs = [metric for metric in metrics if not metric.format_only]
    for dataset in _parts(loop.dataloader.dataset) if needs else ():
        if not _has_step(dataset, LoadAnnotations):
            raise ValueError(
                f'{part}_evaluator is an {type(needs[0]).__name__}, which '
                f'needs masks, and {part}_dataloader.dataset loads none: add '
                'LoadAnnotations to its pipeline and set '
                'data_prefix.seg_map_path, or use mmrca.CAMMetric'
            )


def _steps(transforms: Sequence) -> Iterator:
    """Also look into the views of test-time augmentation."""
    for step in transforms:
        yield step
        for view in getattr(step, 'subroutines', ()):
            yield from _steps(view.transforms)


def describe(runner: Runner) -> None:
    """Log how long a training is, and what it is validated on."""
    loader = runner.train_dataloader
    images, size = len(loader.dataset), loader.batch_size
    length = f'{runner.max_iters} iterations of {size} images'
    if isinstance(runner.train_loop, EpochBasedTrainLoop):
        length = f'{runner.max_epochs} epochs, {length}'
    processes = get_world_size()
    if processes > 1:
        length += f' on each of {processes} processes'
    _log(f'Training: {images} images, {length}.')
    if runner.val_loop is None:
        _log('Validation: none.')
        return
    dataset = runner.val_dataloader.dataset
    masks = all(_has_step(d, LoadAnnotations) for d in _parts(dataset))
    against = 'their masks' if masks else 'image-level labels, without masks'
    _log(f'Validation: {len(dataset)} images, against {against}.')


def _log(text: str) -> None:
    print_log(text, 'current')


def _has_step(dataset: Dataset, kind: type) -> bool:
    steps = _steps(dataset.pipeline.transforms)
    return any(isinstance(step, kind) for step in steps)


def _parts(dataset: Dataset) -> Iterator[Dataset]:
    """Take data sets out of mmengine's wrappers."""
    for inner in getattr(dataset, 'datasets', ()):
        yield from _parts(inner)
    if hasattr(dataset, 'dataset'):
        yield from _parts(dataset.dataset)
    elif not hasattr(dataset, 'datasets'):
        yield dataset


def _check_classifier(
    labels: Sequence[Sequence[int]], classes: Sequence[str]
) -> None:
    counts = Counter(c for shown in labels for c in shown)
    everywhere = [c for c in counts if counts[c] == len(labels)]
    if not counts:
        raise ValueError(
            'no training image shows a class, so there is nothing to learn; '
            'add images with classes to train_dataloader.dataset.ann_file.'
        )
    if len(everywhere) == len(counts):
        raise ValueError(
            f'every training image shows {classes[everywhere[0] + 1]}, so '
            'nothing tells what it looks like; add images without it to '
            'train_dataloader.dataset.ann_file, normal images by their name '
            'alone.'
        )
    absent = [name for c, name in enumerate(classes[1:]) if c not in counts]
    if absent:
        _log(
            f'No training image shows {", ".join(absent)}: it is not learned, '
            'and validation images that show it count as mistakes.'
        )
    if everywhere:
        names = ', '.join(classes[c + 1] for c in everywhere)
        _log(
            f'Every training image shows {names}: nothing tells what it '
            'looks like; add images without it.'
        )


def _check_segmenter(infos: Sequence[dict], classes: Sequence[str]) -> None:
    paths = [
        info[key]
        for info in infos
        for key in ('img_path', 'seg_map_path')
        if info.get(key)
    ]
    missing = [path for path in paths if not Path(path).is_file()]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of the {len(paths)} images and labels of '
            f'train_dataloader.dataset are missing, such as {missing[0]}; '
            'check the folders, LABEL_DIR if the config reads it, and '
            'img_suffix'
        )
    values: set[int] = set()
    for info in progress(infos, 'checking labels'):
        path = info['seg_map_path']
        label = read_class_map(path, 'label', len(classes))
        check_size('label', path, label.shape, image_size(info['img_path']))
        values.update(np.unique(label).tolist())
    check_shown(values, f'label in {Path(path).parent}')


def _check_manifest(folder: Path, classes: Sequence[str]) -> None:
    """Compare the classes that labels were made for, if they say so."""
    try:
        recipe = read_manifest(folder).get('recipe', {})
    except ValueError:  # of another program
        return
    found = recipe.get('classes')
    if found and found != list(classes):
        raise ValueError(
            f'the labels in {folder} were made for the classes '
            f'{", ".join(found)}; the config has {", ".join(classes)}. '
            'Make the labels again, or restore the order of the classes.'
        )
