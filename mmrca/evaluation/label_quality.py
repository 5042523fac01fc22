"""How good pseudo-labels are, and the scores that they were made of.

Shape shorthand: L classes of the data set, C classes of an image, H x W
pixels, T thresholds.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from mmrca.datasets.images import ImageError
from mmrca.datasets.masks import check_shown, check_size, read_class_map
from mmrca.ops import IGNORE_INDEX
from mmrca.ops.cam import histogram_confusion, threshold_histogram
from mmrca.ops.metrics import (
    confusion_matrix,
    coverage,
    labelled_iou,
    precision,
    recall,
    strict_iou,
)
from mmrca.ops.pseudo_label import fuse

THRESHOLDS = 100
PerClass = dict[str, float | None]


class Quality(TypedDict):
    """Labels against masks, in percent; None for a class that has no value.

    ``labelled`` looks at labelled pixels only, ``strict`` counts unlabelled
    ones as wrong.
    """

    mIoU_labelled: float | None
    mIoU_strict: float | None
    coverage: float
    IoU_labelled: PerClass
    IoU_strict: PerClass
    precision: PerClass
    recall: PerClass


class Best(TypedDict):
    """The constant background threshold that the masks would choose."""

    threshold: float
    mIoU: float | None


class ScoreQuality(Quality):
    """Scores against masks.

    ``curve`` holds the mIoU at T constant background thresholds, 0, 1 / T,
    ..., (T - 1) / T.
    """

    best_with_masks: Best
    curve: list[float | None]


class Normals(TypedDict):
    """False alarms: what labels of images without any class show.

    The share of these images with a pixel of a class, and the share of such
    pixels in them, in percent.
    """

    images: int
    with_foreground: float | None
    foreground: float | None


class ImageCounts(NamedTuple):
    """The pixels of one label.

    Attributes:
        pixels: int64 [256], by value.
        iou: Mean strict IoU over the classes that label or mask have, in
            0..1; None without a mask.
    """

    pixels: Tensor
    iou: float | None


class LabelCounts:
    """Counts the pixels of labels, image by image.

    Args:
        num_classes: L + 1, with the background.

    Attributes:
        images: Labels counted.
        evaluated: Of these, the ones that have a mask.
        pixels: int64 [256], by value.
        confusion: int64 [L + 1, L + 2], labels against masks.
    """

    def __init__(self, num_classes: int) -> None:
        self.images = self.evaluated = 0
        self.pixels = torch.zeros(IGNORE_INDEX + 1, dtype=torch.int64)
        self.confusion = torch.zeros(
            num_classes, num_classes + 1, dtype=torch.int64
        )
        self._ignored = 0
        self._normals = self._alarms = 0
        self._normal_pixels = self._alarm_pixels = 0

    def add(
        self, label: Tensor, mask: Tensor | None, normal: bool | None = None
    ) -> ImageCounts:
        """Count one image.

        Args:
            label: uint8 [H, W].
            mask: The true mask [H, W], None without.
            normal: Whether the image shows no class; None to see from the
                mask.

        Returns:
            Of this image.

        Raises:
            ValueError: If the sizes differ, or a value is neither a class
                nor 255; the mask is then not counted.
        """
        self.images += 1
        pixels = label.flatten().bincount(minlength=IGNORE_INDEX + 1)
        self.pixels += pixels
        if normal is None and mask is not None:
            normal = not _foreground(mask)
        if normal:
            alarm = _foreground(label)
            self._normals += 1
            self._alarms += alarm > 0
            self._normal_pixels += label.numel()
            self._alarm_pixels += alarm
        iou = None
        if mask is not None:
            confusion = confusion_matrix(label, mask, len(self.confusion))
            self.confusion += confusion
            self._ignored += int((mask == IGNORE_INDEX).sum())
            self.evaluated += 1
            mean = strict_iou(confusion).nanmean()
            iou = None if mean.isnan() else float(mean)
        return ImageCounts(pixels, iou)

    def check_masks(self) -> None:
        """Raise unless a mask shows a class.

        Raises:
            ValueError: If the masks hold 0 and 255 only, as drawing tools
                write them.
        """
        values = self.confusion.sum(dim=1).nonzero()[:, 0].tolist()
        if self._ignored:
            values.append(IGNORE_INDEX)
        check_shown(values, 'mask', may_be_empty=True)

    def share(self, classes: Sequence[str]) -> PerClass:
        """Share of the pixels per class and ``unlabelled``, in percent."""
        share = _percent(self.pixels.double() / self.pixels.sum())
        found = dict(zip(classes, share, strict=False))
        return {**found, 'unlabelled': share[IGNORE_INDEX]}

    def normals(self) -> Normals:
        """Sum up the false alarms."""
        return {
            'images': self._normals,
            'with_foreground': _ratio(self._alarms, self._normals),
            'foreground': _ratio(self._alarm_pixels, self._normal_pixels),
        }


def count_file(
    counts: LabelCounts,
    label: Path,
    mask: Path | None,
    normal: bool | None = None,
) -> ImageCounts:
    """Count the pixels of a label PNG.

    Args:
        counts: Added to.
        label: File of class numbers, 255 where unlabelled.
        mask: The same with the truth, None without.
        normal: As for :meth:`LabelCounts.add`.

    Returns:
        Of this image.

    Raises:
        ImageError: If a file is missing, cannot be read, has another size
            or holds a value that is neither a class nor 255. A label whose
            mask is wrong is counted without it.
    """
    size = len(counts.confusion)
    pixels = torch.from_numpy(read_class_map(label, 'label', size))
    truth = None
    try:
        if mask is not None:
            truth = torch.from_numpy(read_class_map(mask, 'mask', size))
            check_size(
                'mask', mask, truth.shape, pixels.shape, f'label {label}'
            )
    except ImageError:
        counts.add(pixels, None, normal)
        raise
    return counts.add(pixels, truth, normal)


class ScoreCounts:
    """Counts how well scores tell classes and background apart.

    Args:
        num_classes: L + 1, with the background.
    """

    def __init__(self, num_classes: int) -> None:
        self.confusion = torch.zeros(
            num_classes, num_classes + 1, dtype=torch.int64
        )
        self.histogram = torch.zeros(
            THRESHOLDS + 1, num_classes, num_classes - 1, dtype=torch.int64
        )

    def add(
        self, scores: Tensor, classes: Sequence[int], mask: Tensor
    ) -> None:
        """Count one image.

        Args:
            scores: [C+1, h, w], background first, maybe at a smaller size
                than the mask.
            classes: The C class numbers, 0-based.
            mask: The true mask [H, W].
        """
        size = len(self.confusion)
        if scores.shape[1:] != mask.shape:
            mask = interpolate(mask[None, None], scores.shape[1:])[0, 0]
        labels = fuse(scores[1:], scores[0], classes, margin=0)
        self.confusion += confusion_matrix(labels, mask, size)
        if classes:
            score, best = scores[1:].max(dim=0)
            winner = torch.tensor(classes)[best]
        else:
            score = torch.zeros(mask.shape)
            winner = torch.zeros(mask.shape, dtype=torch.int64)
        self.histogram += threshold_histogram(
            score, winner, mask, size - 1, THRESHOLDS
        )

    def curve(self) -> Tensor:
        """The mIoU at each constant threshold: [T] in 0..1."""
        confusions = histogram_confusion(self.histogram)
        return torch.stack([strict_iou(c).nanmean() for c in confusions])

    def evaluate(self, classes: Sequence[str]) -> ScoreQuality:
        """Turn the counts into metrics.

        Args:
            classes: The L+1 classes, ``'background'`` first.
        """
        curve = self.curve()
        best: Best = {
            'threshold': int(curve.argmax()) / THRESHOLDS,
            'mIoU': _percent(curve.max()),
        }
        return {
            **evaluate(self.confusion, classes),
            'best_with_masks': best,
            'curve': _percent(curve),
        }


def evaluate(confusion: Tensor, classes: Sequence[str]) -> Quality:
    """Turn pixel counts of labels into metrics.

    Args:
        confusion: [L+1, L+2], labels against masks.
        classes: The L+1 classes, ``'background'`` first.
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


def _foreground(labels: Tensor) -> int:
    return int(((labels > 0) & (labels != IGNORE_INDEX)).sum())


def _per_class(classes: Sequence[str], iou: Tensor) -> PerClass:
    return dict(zip(classes, _percent(iou), strict=True))


def _ratio(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None


def _percent(fraction: Tensor) -> Any:
    """Turn fractions into (nested) floats of percent, nan into None."""
    if fraction.dim():
        return [_percent(value) for value in fraction]
    return None if fraction.isnan() else 100 * fraction.double().item()
