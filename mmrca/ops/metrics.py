"""How good pseudo-labels are: confusion counts, IoU, coverage.

Shape shorthand: C classes, background included.

A pseudo-label may leave pixels unlabelled (the ignore index). The two IoUs
differ in how they count these: :func:`labelled_iou` skips them,
:func:`strict_iou` takes each for a wrong one. Report both, with
:func:`coverage`: the first alone rises when hard pixels are left out.

Counts of several images add up: sum the confusion matrices, then take the
IoU. Every result is a fraction in 0..1; percent is left to the caller.
"""

import math

import torch
from torch import Tensor

from . import IGNORE_INDEX


def confusion_matrix(pred: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """Count pixels by true class and by prediction.

    Args:
        pred: Integers of any shape: 0..C-1, or 255 where unlabelled.
        target: The truth, of the same shape and values. Pixels that are
            255 here count nowhere.
        num_classes: C, with the background.

    Returns:
        int64 [C, C+1]: row = true class, column = predicted class, last
        column = unlabelled in the prediction.

    Raises:
        ValueError: The shapes differ, or a value is neither a class nor 255.
    """
    if pred.shape != target.shape:
        raise ValueError(
            f'prediction of shape {tuple(pred.shape)} and truth of shape '
            f'{tuple(target.shape)} must have the same shape'
        )
    _check_values('prediction', pred, num_classes)
    _check_values('truth', target, num_classes)
    pred, target = pred.long(), target.long()
    valid = target != IGNORE_INDEX
    column = torch.where(pred == IGNORE_INDEX, num_classes, pred)
    cell = (target * (num_classes + 1) + column)[valid]
    counts = torch.bincount(cell, minlength=num_classes * (num_classes + 1))
    return counts.view(num_classes, num_classes + 1)


def strict_iou(confusion: Tensor) -> Tensor:
    """IoU per class where an unlabelled pixel is a wrong one.

    An unlabelled pixel misses its true class, so it counts in that class's
    union.

    Args:
        confusion: [C, C+1], from :func:`confusion_matrix`.

    Returns:
        float64 [C] in 0..1; nan for a class that neither the truth nor the
        prediction has.
    """
    decided = confusion[:, :-1]
    hits = decided.diagonal().double()
    return hits / (confusion.sum(1) + decided.sum(0) - hits)


def labelled_iou(confusion: Tensor) -> Tensor:
    """IoU per class over the pixels the prediction decides.

    Args:
        confusion: [C, C+1], from :func:`confusion_matrix`.

    Returns:
        float64 [C] in 0..1; nan for a class that neither the truth nor the
        prediction has among those pixels.
    """
    decided = confusion.clone()
    decided[:, -1] = 0
    return strict_iou(decided)


def precision(confusion: Tensor) -> Tensor:
    """Share of the pixels predicted as a class that belong to it.

    Args:
        confusion: [C, C+1], from :func:`confusion_matrix`.

    Returns:
        float64 [C] in 0..1; nan for a class that is never predicted.
    """
    decided = confusion[:, :-1]
    return decided.diagonal().double() / decided.sum(0)


def recall(confusion: Tensor) -> Tensor:
    """Share of a class's pixels that are predicted as it.

    An unlabelled pixel is not.

    Args:
        confusion: [C, C+1], from :func:`confusion_matrix`.

    Returns:
        float64 [C] in 0..1; nan for a class that the truth does not have.
    """
    return confusion.diagonal().double() / confusion.sum(1)


def coverage(confusion: Tensor) -> float:
    """Share of the pixels with a true class that the prediction decides.

    Args:
        confusion: [C, C+1], from :func:`confusion_matrix`.

    Returns:
        A fraction in 0..1; nan if no pixel has a true class.
    """
    decided = confusion[:, :-1].sum().double()
    return (decided / confusion.sum()).item()


def best_f1(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Choose for each class the score from which on it is best predicted.

    Args:
        scores: [N, L] in 0..1, of N images.
        labels: [N, L], 1 where an image shows a class, else 0.

    Returns:
        The thresholds [L], halfway between the last score that is predicted
        and the next, and the F1 of predicting with them, [L] in 0..1. Of
        equally good ones the threshold of the fewest predictions counts. A
        class that no image shows has a threshold of infinity and an F1 of
        nan.

    Raises:
        ValueError: There are no images, or the shapes differ.
    """
    if scores.shape != labels.shape or scores.dim() != 2 or not len(scores):
        raise ValueError(
            f'scores {list(scores.shape)} and labels {list(labels.shape)} '
            'must be [images, classes] with at least one image'
        )
    ranked, order = scores.double().sort(dim=0, descending=True)
    hits = labels.gather(0, order).double().cumsum(dim=0)
    count = torch.arange(1, len(scores) + 1, device=scores.device)[:, None]
    f1 = 2 * hits / (count + hits[-1])
    following = torch.cat([ranked[1:], torch.zeros_like(ranked[:1])])
    # Equal scores cannot be told apart.
    f1 = torch.where(ranked > following, f1, -1)
    f1[-1] = 2 * hits[-1] / (len(scores) + hits[-1])
    best, place = f1.max(dim=0)
    middle = ((ranked + following) / 2).gather(0, place[None])[0]
    shown = hits[-1] > 0
    middle = torch.where(shown, middle, math.inf)
    return middle, torch.where(shown, best, math.nan)


def _check_values(what: str, labels: Tensor, num_classes: int) -> None:
    if labels.is_floating_point():
        raise ValueError(f'{what} must hold integers, not {labels.dtype}')
    allowed = (labels >= 0) & (labels < num_classes) | (labels == IGNORE_INDEX)
    if not allowed.all():
        raise ValueError(
            f'{what} holds the value {labels[~allowed][0].item()}; it must be '
            f'in 0..{num_classes - 1} or {IGNORE_INDEX}'
        )
