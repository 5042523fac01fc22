"""How good a data set's pseudo-labels are.

Shape shorthand: L classes of the data set, H x W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmrca.ops.cam import threshold_confusion
from mmrca.ops.metrics import (
    confusion_matrix,
    coverage,
    labelled_iou,
    precision,
    recall,
    strict_iou,
)
from mmrca.ops.pseudo_label import IGNORE_INDEX
from mmrca.pseudo_labels.inputs import LabelInput, load_mask

_THRESHOLDS = 100


@dataclass
class Tally:
    """Counts over the labels of a data set.

    Attributes:
        pixels: int64 [256], pixels per label value.
        confusion: [L+1, L+2], pseudo-labels against the masks.
        cam_confusion: The same of the CAMs alone.
        cam_curve: [T, L+1, L+2], the same at T constant thresholds.
        images: Images counted.
        evaluated: Images in ``confusion``, those that have a mask.
        cam_evaluated: Images in ``cam_confusion``: of these, the ones
            labelled in this run.
    """

    pixels: Tensor
    confusion: Tensor
    cam_confusion: Tensor
    cam_curve: Tensor
    images: int = 0
    evaluated: int = 0
    cam_evaluated: int = 0

    @classmethod
    def empty(cls, num_classes: int) -> 'Tally':
        """Start at 0; ``num_classes`` counts the background."""
        square = torch.zeros(num_classes, num_classes + 1, dtype=torch.int64)
        pixels = torch.zeros(IGNORE_INDEX + 1, dtype=torch.int64)
        curve = square.expand(_THRESHOLDS, -1, -1).clone()
        return cls(pixels, square, square.clone(), curve)

    def add(
        self,
        item: LabelInput,
        labels: Tensor,
        plain: Tensor | None = None,
        cams: Tensor | None = None,
    ) -> None:
        """Count one image.

        Args:
            item: The image; its mask is read if it has one.
            labels: uint8 [H, W], the pseudo-label.
            plain: uint8 [H, W], what the CAM alone says, if known.
            cams: [C, H, W] in 0..1 of the image's classes, if known.

        Raises:
            ValueError: If the mask holds a value that is no class.
        """
        self.images += 1
        self.pixels += labels.flatten().bincount(minlength=len(self.pixels))
        if item.mask is None:
            return
        num_classes = len(self.confusion)
        mask = torch.from_numpy(load_mask(item))
        try:
            self.confusion += confusion_matrix(labels, mask, num_classes)
        except ValueError as error:
            raise ValueError(f'mask {item.mask}: {error}') from error
        self.evaluated += 1
        if plain is not None and cams is not None:
            self.cam_confusion += confusion_matrix(plain, mask, num_classes)
            self._add_curve(item, cams, mask)
            self.cam_evaluated += 1

    def _add_curve(self, item: LabelInput, cams: Tensor, mask: Tensor) -> None:
        maps = cams.new_zeros(len(self.confusion) - 1, *cams.shape[1:])
        present = cams.new_zeros(len(maps))
        maps[item.classes], present[item.classes] = cams, 1
        self.cam_curve += threshold_confusion(
            maps.cpu(), present.cpu(), mask, _THRESHOLDS
        )


def summarize(tally: Tally, classes: Sequence[str]) -> dict:
    """Turn counts into figures, all of them in percent.

    Args:
        tally: The counts.
        classes: The data set's classes, ``'background'`` first.

    Returns:
        ``images``; ``share`` of the pixels per class and ``unlabelled``;
        ``evaluation`` of the labels (``images`` and what :func:`evaluate`
        returns) and ``cam``
        (``images``, ``mIoU``, ``IoU`` and, chosen with the masks,
        ``best_threshold`` of a constant background with its
        ``mIoU_best``), both None without masks. A class without an IoU is
        None and in no mean.
    """
    share = _percent(tally.pixels.double() / tally.pixels.sum())
    figures: dict = {
        'images': tally.images,
        'share': dict(zip(classes, share, strict=False)),
        'evaluation': None,
        'cam': None,
    }
    figures['share']['unlabelled'] = share[IGNORE_INDEX]
    if tally.evaluated:
        figures['evaluation'] = {
            'images': tally.evaluated,
            **evaluate(tally.confusion, classes),
        }
    if tally.cam_evaluated:
        iou = strict_iou(tally.cam_confusion)
        curve = torch.stack([strict_iou(c).nanmean() for c in tally.cam_curve])
        figures['cam'] = {
            'images': tally.cam_evaluated,
            'mIoU': _percent(iou.nanmean()),
            'IoU': _per_class(classes, iou),
            'mIoU_best': _percent(curve.max()),
            'best_threshold': int(curve.argmax()) / _THRESHOLDS,
        }
    return figures


def evaluate(confusion: Tensor, classes: Sequence[str]) -> dict:
    """Turn pixel counts of labels into figures, all of them in percent.

    Args:
        confusion: [L+1, L+2], labels against the masks.
        classes: The L+1 classes, ``'background'`` first.

    Returns:
        ``mIoU_labelled``, ``mIoU_strict``, ``coverage`` and, per class,
        ``IoU_labelled``, ``IoU_strict``, ``precision`` and ``recall``.
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
