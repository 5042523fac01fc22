"""Measure a folder of label PNGs against true masks.

    python tools/eval_pseudo_labels.py PRED_DIR GT_DIR --split FILE

Works on any method's labels: 0 is the background, 255 unlabelled. Where
nothing is unlabelled both mIoUs are MMSegmentation's.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prettytable import PrettyTable

from mmrca.atomic_write import write_json
from mmrca.cli import run
from mmrca.datasets.label_list import read_classes, read_images
from mmrca.ops import IGNORE_INDEX
from mmrca.progress import progress

if TYPE_CHECKING:
    from torch import Tensor

    from mmrca.evaluation.label_quality import LabelCounts

COLUMNS = dict(
    IoU_labelled='IoU labelled',
    IoU_strict='IoU strict',
    precision='precision',
    recall='recall',
)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Measure a folder of label PNGs against true masks.'
    )
    parser.add_argument('pred_dir', type=Path, help='folder of the labels')
    parser.add_argument('gt_dir', type=Path, help='folder of the masks')
    parser.add_argument(
        '--split',
        required=True,
        metavar='FILE',
        help='the images: a label list, or a name on each line',
    )
    parser.add_argument(
        '--classes',
        metavar='FILE',
        help='names of the classes without the background, one a line '
        '[their numbers]',
    )
    parser.add_argument('--json', metavar='OUT', help='file for the metrics')
    return parser.parse_args(argv)


def show(percent: float | None) -> str:
    """Write a percentage with two digits."""
    return 'nan' if percent is None else f'{percent:.2f}'


def count(pred_dir: Path, gt_dir: Path, split: str) -> LabelCounts:
    """Count the pixels of the labels of a split against its masks.

    Raises:
        FileNotFoundError: If a folder or a file is missing.
        ValueError: If a file is not a class map, or of another size than its
            mask, or no mask shows a class.
    """
    labels, masks = (read_images(split, d) for d in (pred_dir, gt_dir))
    from mmrca.evaluation.label_quality import LabelCounts, count_file

    counts = LabelCounts(IGNORE_INDEX)
    for name, file in progress(labels.items(), 'labels', len(labels)):
        count_file(counts, pred_dir / file, gt_dir / masks[name])
    counts.check_masks()
    return counts


def trim(confusion: Tensor, num_classes: int | None) -> Tensor:
    """Leave out the classes that do not exist.

    Args:
        confusion: [255, 256].
        num_classes: C with the background; by default up to the highest
            number that occurs.

    Returns:
        [C, C+1].

    Raises:
        ValueError: If a number of C or more occurs.
    """
    import torch

    used = confusion.sum(1) + confusion[:, :-1].sum(0)
    highest = int(used.nonzero().max()) if used.any() else 0
    size = num_classes or highest + 1
    if highest >= size:
        raise ValueError(
            f'the labels or masks hold {highest}, but there are {size} '
            'classes with the background'
        )
    return torch.cat([confusion[:size, :size], confusion[:size, -1:]], dim=1)


def report(metrics: dict) -> str:
    """Lay out the metrics."""
    table = PrettyTable()
    table.add_column('Class', list(metrics['IoU_strict']))
    for key, title in COLUMNS.items():
        table.add_column(title, [show(v) for v in metrics[key].values()])
    text = (
        f'{table}\n{metrics["images"]} images, in percent:\n'
        f'  mIoU over labelled pixels      {show(metrics["mIoU_labelled"])}\n'
        f'  mIoU, unlabelled pixels wrong  {show(metrics["mIoU_strict"])}\n'
        f'  coverage                       {show(metrics["coverage"])}'
    )
    normals = metrics['normals']
    if normals['images']:
        text += (
            f'\n{normals["images"]} masks show no class; labels with pixels '
            f'of one: {show(normals["with_foreground"])}, share of such '
            f'pixels: {show(normals["foreground"])}'
        )
    return text


def main(argv: Sequence[str] | None = None) -> None:
    """Measure."""
    args = parse_args(argv)
    classes = args.classes and ['background', *read_classes(args.classes)]
    counts = count(args.pred_dir, args.gt_dir, args.split)
    from mmrca.evaluation.label_quality import evaluate

    confusion = trim(counts.confusion, classes and len(classes))
    classes = classes or [str(number) for number in range(len(confusion))]
    metrics = {
        'images': counts.images,
        **evaluate(confusion, classes),
        'normals': counts.normals(),
    }
    if args.json:
        write_json(args.json, metrics)
    print(report(metrics))


if __name__ == '__main__':
    run(main)
