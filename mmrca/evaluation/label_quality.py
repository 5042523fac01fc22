"""How good pseudo-labels are, and the CAMs that they were made of.

Counts are taken image by image, as sparse records that are kept in a journal
beside the labels: so a run that goes on where another stopped ends with the
figures of all its images.

Shape shorthand: L classes of the data set, C classes of an image, H x W
pixels, T thresholds.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from mmrca.ops.cam import histogram_confusion, threshold_histogram
from mmrca.ops.metrics import (
    confusion_matrix,
    coverage,
    labelled_iou,
    precision,
    recall,
    strict_iou,
)
from mmrca.ops.pseudo_label import IGNORE_INDEX, fuse
from mmrca.pseudo_labels.labels import Label

THRESHOLDS = 100
_JOURNAL = 'figures*.jsonl'
_CURVES = ('cam', 'refined')


def measure(
    labels: Tensor,
    label: Label,
    classes: Sequence[int],
    mask: Tensor | None,
    num_classes: int,
) -> dict:
    """Count the pixels of one image.

    Args:
        labels: uint8 [H, W], the pseudo-label.
        label: What it was made of, maybe at a smaller size.
        classes: The C class numbers, 0-based.
        mask: The true mask [H, W], 255 where ignored; None if there is none.
        num_classes: L + 1, with the background.

    Returns:
        Sparse counts by name, as JSON.

    Raises:
        ValueError: If the mask holds a value that is no class.
    """
    pixels = labels.flatten().bincount(minlength=IGNORE_INDEX + 1)
    counts = {'pixels': pixels}
    if mask is not None:
        counts['labels'] = confusion_matrix(labels, mask, num_classes)
        small = _shrink(mask, label.cams)
        maps = {'cam': torch.cat([label.cue[None], label.cams])}
        if label.refined is not None:
            maps['refined'] = label.refined
        for name, scores in maps.items():
            scores = scores.cpu()
            plain = fuse(scores[1:], scores[0], classes, margin=0)
            counts[name] = confusion_matrix(plain, small, num_classes)
            counts[f'{name}_curve'] = _histogram(
                scores[1:], classes, small, num_classes - 1
            )
    return {name: _sparse(count) for name, count in counts.items()}


def _shrink(mask: Tensor, maps: Tensor) -> Tensor:
    if maps.shape[-2:] == mask.shape:
        return mask
    return interpolate(mask[None, None], maps.shape[-2:], mode='nearest')[0, 0]


def _histogram(
    maps: Tensor, classes: Sequence[int], mask: Tensor, num_classes: int
) -> Tensor:
    if len(maps):
        score, winner = maps.max(dim=0)
        winner = torch.tensor(classes)[winner]
    else:
        score = torch.zeros(mask.shape)
        winner = torch.zeros(mask.shape, dtype=torch.int64)
    return threshold_histogram(score, winner, mask, num_classes, THRESHOLDS)


def _sparse(counts: Tensor) -> list[list[int]]:
    flat = counts.flatten()
    cells = flat.nonzero()[:, 0]
    return [cells.tolist(), flat[cells].tolist()]


class Journal:
    """The records of a folder's labels, one JSON line each.

    Args:
        folder: Of the labels.
        rank: This process; each writes a file of its own.
    """

    def __init__(self, folder: Path, rank: int = 0) -> None:
        self.folder = folder
        self.path = folder / f'figures{rank}.jsonl'

    def add(self, record: dict) -> None:
        """Append a record, which names its ``image``.

        The line starts with its end, as the one before may be cut off.
        """
        with self.path.open('a') as file:
            file.write('\n' + json.dumps(record, separators=(',', ':')))

    def read(self) -> dict[str, dict]:
        """Read the records of all processes, by image; cut-off ones are not.

        Of several records of an image the one of the newest file, and in it
        the last, counts.
        """
        records = {}
        files = sorted(
            self.folder.glob(_JOURNAL), key=lambda path: path.stat().st_mtime
        )
        for path in files:
            for line in path.read_text().splitlines():
                try:
                    record = json.loads(line)
                    records[record['image']] = record
                except (ValueError, KeyError, TypeError):
                    continue
        return records

    def clear(self) -> None:
        """Forget the records of all processes."""
        for path in self.folder.glob(_JOURNAL):
            path.unlink()


class Tally:
    """Counts over the labels of a data set.

    Args:
        records: Of its images, from :func:`measure`.
        num_classes: L + 1, with the background.

    Attributes:
        images: Images counted.
        evaluated: Of these, the ones that have a mask.
        counts: int64 sums by name: ``pixels`` [256]; against the masks
            ``labels``, ``cam`` and ``refined`` [L+1, L+2] and, at T constant
            thresholds, ``cam_curve`` and ``refined_curve`` [T, L+1, L+2].
            Names that no record has are missing.
    """

    def __init__(self, records: Sequence[dict], num_classes: int) -> None:
        square = (num_classes, num_classes + 1)
        cube = (THRESHOLDS + 1, num_classes, num_classes - 1)
        shapes: dict[str, tuple[int, ...]] = {'pixels': (IGNORE_INDEX + 1,)}
        shapes |= dict.fromkeys(('labels', *_CURVES), square)
        shapes |= {f'{name}_curve': cube for name in _CURVES}
        self.images = len(records)
        self.evaluated = sum('labels' in record for record in records)
        self.counts: dict[str, Tensor] = {}
        for name, shape in shapes.items():
            parts = [r[name] for r in records if name in r]
            if parts:
                self.counts[name] = _sum(parts, shape)
        for name in (f'{name}_curve' for name in _CURVES):
            if name in self.counts:
                self.counts[name] = histogram_confusion(self.counts[name])


def _sum(parts: Sequence[list[list[int]]], shape: tuple[int, ...]) -> Tensor:
    total = torch.zeros(shape, dtype=torch.int64)
    flat = total.view(-1)
    for cells, counts in parts:
        flat.index_add_(0, torch.tensor(cells), torch.tensor(counts))
    return total


def summarize(tally: Tally, classes: Sequence[str]) -> dict:
    """Turn counts into figures, all of them in percent.

    Args:
        tally: The counts.
        classes: The data set's classes, ``'background'`` first.

    Returns:
        ``images``; ``share`` of the pixels per class and ``unlabelled``; and
        ``against_masks``, None without masks: ``images``, and for ``labels``,
        ``cam`` and ``refined`` (None without refinement) what
        :func:`evaluate` returns. The latter two leave no pixel open; they
        have ``best_with_masks`` too: the ``threshold`` of a constant
        background that the masks would choose, with its ``mIoU``.
    """
    pixels = tally.counts['pixels']
    share = _percent(pixels.double() / pixels.sum())
    figures: dict = {
        'images': tally.images,
        'share': dict(zip(classes, share, strict=False)),
        'against_masks': None,
    }
    figures['share']['unlabelled'] = share[IGNORE_INDEX]
    if tally.evaluated:
        stages: dict = {'images': tally.evaluated}
        stages['labels'] = evaluate(tally.counts['labels'], classes)
        for name in _CURVES:
            stages[name] = _stage(tally, name, classes)
        figures['against_masks'] = stages
    return figures


def _stage(tally: Tally, name: str, classes: Sequence[str]) -> dict | None:
    if name not in tally.counts:
        return None
    curve = mean_ious(tally.counts[f'{name}_curve'])
    best = {
        'threshold': int(curve.argmax()) / THRESHOLDS,
        'mIoU': _percent(curve.max()),
    }
    figures = evaluate(tally.counts[name], classes)
    return {**figures, 'best_with_masks': best}


def mean_ious(curve: Tensor) -> Tensor:
    """Compute the mIoU at each threshold: [T, L+1, L+2] -> [T] in 0..1."""
    return torch.stack([strict_iou(c).nanmean() for c in curve])


def evaluate(confusion: Tensor, classes: Sequence[str]) -> dict:
    """Turn pixel counts of labels into figures, all of them in percent.

    Args:
        confusion: [L+1, L+2], labels against the masks.
        classes: The L+1 classes, ``'background'`` first.

    Returns:
        ``mIoU_labelled``, ``mIoU_strict``, ``coverage`` and, per class,
        ``IoU_labelled``, ``IoU_strict``, ``precision`` and ``recall``. A
        class without an IoU is None and in no mean.
    """
    labelled, strict = labelled_iou(confusion), strict_iou(confusion)
    return {
        'mIoU_labelled': _percent(labelled.nanmean()),
        'mIoU_strict': _percent(strict.nanmean()),
        'coverage': 100 * coverage(confusion),
        'IoU_labelled': _per_class(classes, labelled),
        'IoU_strict': _per_class(classes, strict),
        'precision': _per_class(classes, precision(confusion)),
        'recall': _per_class(classes, recall(confusion)),
    }


def _per_class(classes: Sequence[str], iou: Tensor) -> dict:
    return dict(zip(classes, _percent(iou), strict=True))


def _percent(fraction: Tensor) -> Any:
    """Turn fractions into (nested) floats of percent, nan into None."""
    if fraction.dim():
        return [_percent(value) for value in fraction]
    return None if fraction.isnan() else 100 * fraction.double().item()
