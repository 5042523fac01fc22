"""Which labels a person should look at first: ``OUT_review.csv``.

The order depends on no mask. Where there are masks, a column says how good a
label is, to check the order by.

Shape shorthand: N images, L classes.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

import torch
from torch import Tensor

from mmrca.atomic_write import atomic_write
from mmrca.ops import IGNORE_INDEX
from mmrca.ops.doubt import (
    percentiles,
    shortfall,
    tag_doubt,
)
from mmrca.pseudo_labels.inputs import LabelInput
from mmrca.pseudo_labels.writer import Facts

# What is named as a reason; the order does not depend on it.
_DOUBTED = 0.5
_MUCH = 0.2


class Judged(NamedTuple):
    """A label and all that tells how sure it is.

    Attributes:
        item: Its image.
        tags: Class numbers, 0-based: the image's, or those predicted.
        pixels: int64 [256], the label's pixels by value.
        facts: What its making showed, None if it was not kept.
        iou: Mean IoU over the classes in it in 0..1, None without a mask.
    """

    item: LabelInput
    tags: Sequence[int]
    pixels: Tensor
    facts: Facts | None
    iou: float | None


class Row(TypedDict):
    """A label of the review.

    Lists of classes are joined by ``'; '``. ``doubt`` is the highest of four
    percentiles among the labels, of ``tag_doubt``, that of the class that is
    doubted most, ``missing``,
    ``unlabelled`` and ``foreground``, the share of the pixels that show a
    class: a label is looked at early if one of them is unusual.
    """

    rank: int
    image: str
    doubt: float
    why: str
    tags: str
    doubted_tags: str
    missing_tags: str
    suggested_tags: str
    tag_doubt: float | None
    missing: float
    foreground: float
    unlabelled: float
    margin: float | None
    disagreement: float | None
    iou_with_masks: float | None
    photo: str
    mask: str


def review(labels: Sequence[Judged], classes: Sequence[str]) -> list[Row]:
    """Put labels in order, the most doubtful first.

    Args:
        labels: Those that there are.
        classes: The L foreground classes.
    """
    if not labels:
        return []
    tags = torch.zeros(len(labels), len(classes), dtype=torch.bool)
    for row, label in zip(tags, labels, strict=True):
        row[list(label.tags)] = True
    scores = tags.double()  # without scores no tag is doubted
    for row, label in zip(scores, labels, strict=True):
        if label.facts:
            row.copy_(torch.tensor(label.facts['scores']))
    pixels = torch.stack([label.pixels for label in labels]).double()
    shares = pixels / pixels.sum(1, keepdim=True)
    doubts = tag_doubt(scores, tags)
    of_tags = doubts.amax(1)
    missing = shortfall(shares[:, 1 : len(classes) + 1], tags)
    rows = [
        _row(label, tags[n], float(of_tags[n]), doubts[n], missing[n],
             shares[n], classes)
        for n, label in enumerate(labels)
    ]  # fmt: skip
    odd = torch.stack(
        [
            percentiles(of_tags),
            percentiles(missing.sum(1)),
            percentiles(shares[:, IGNORE_INDEX]),
            percentiles(shares[:, 1:IGNORE_INDEX].sum(1)),
        ]
    )
    highest, mean = odd.amax(0).tolist(), odd.mean(0).tolist()
    order = sorted(
        range(len(rows)),
        key=lambda n: (-highest[n], -mean[n], rows[n]['image']),
    )
    for row, doubt in zip(rows, highest, strict=True):
        row['doubt'] = doubt
    rows = [rows[n] for n in order]
    for number, row in enumerate(rows, 1):
        row['rank'] = number
    return rows


def _row(
    label: Judged,
    tags: Tensor,
    of_tags: float,
    doubts: Tensor,
    missing: Tensor,
    shares: Tensor,
    classes: Sequence[str],
) -> Row:
    def names(mask: Tensor) -> str:
        return '; '.join(classes[c] for c in mask.nonzero()[:, 0].tolist())

    facts = label.facts
    row: Row = {
        'rank': 0,
        'image': label.item.img_id,
        'doubt': 0.0,
        'why': '',
        'tags': names(tags),
        'doubted_tags': names(tags & (doubts > _DOUBTED)),
        'missing_tags': names(missing > _DOUBTED),
        'suggested_tags': names(~tags & (doubts > _DOUBTED)),
        'tag_doubt': of_tags if facts else None,
        'missing': float(missing.sum()),
        'foreground': float(shares[1:IGNORE_INDEX].sum()),
        'unlabelled': float(shares[IGNORE_INDEX]),
        'margin': facts['margin'] if facts else None,
        'disagreement': facts['disagreement'] if facts else None,
        'iou_with_masks': label.iou,
        'photo': str(Path(label.item.path).absolute()),
        'mask': str(label.item.mask.absolute()) if label.item.mask else '',
    }
    row['why'] = _why(row)
    return row


def _why(row: Row) -> str:
    """Say in words what is odd about a label."""
    reasons = {
        f'tag doubted: {row["doubted_tags"]}': row['doubted_tags'],
        f'perhaps also: {row["suggested_tags"]}': row['suggested_tags'],
        f'hardly in the label: {row["missing_tags"]}': row['missing_tags'],
        f'{row["unlabelled"]:.0%} unlabelled': row['unlabelled'] > _MUCH,
        f'{row["foreground"]:.0%} foreground': row['foreground'] > _DOUBTED,
        'close calls': row['margin'] is not None and row['margin'] < _MUCH,
        'refinement changed much': (row['disagreement'] or 0) > _DOUBTED,
    }
    return ', '.join(reason for reason, holds in reasons.items() if holds)


def write_review(path: Path, rows: Sequence[Row]) -> None:
    """Write a review as CSV, numbers with four digits."""
    with (
        atomic_write(path) as part,
        # A file name may hold bytes that are no text.
        part.open(
            'w', newline='', encoding='utf-8', errors='surrogateescape'
        ) as file,
    ):
        writer = csv.DictWriter(file, list(Row.__annotations__))
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {
                    key: round(value, 4) if isinstance(value, float) else value
                    for key, value in row.items()
                }
            )


def read_review(path: Path) -> list[Row]:
    """Read a review again.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is none.
    """
    with path.open(
        newline='', encoding='utf-8', errors='surrogateescape'
    ) as file:
        rows: list = list(csv.DictReader(file))
    numbers = [
        key
        for key, kind in Row.__annotations__.items()
        if kind in (float, int, float | None)
    ]
    try:
        for row in rows:
            for key in numbers:
                row[key] = float(row[key]) if row[key] else None
    except (KeyError, ValueError) as error:
        raise ValueError(f'{path} is not a review: {error}') from error
    return rows
