"""Measure a folder of label PNGs against true masks.

    python tools/eval_pseudo_labels.py PRED_DIR GT_DIR --split FILE

Works on any method's labels: 0 is the background, 255 unlabelled. Where
nothing is unlabelled both mIoUs are MMSegmentation's.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from mmrca.datasets.list_writer import read_names
from prettytable import PrettyTable
from torch import Tensor

from mmrca.atomic_write import write_json
from mmrca.cli import existing_file, run
from mmrca.evaluation.label_quality import LabelCounts, count_file, evaluate
from mmrca.ops.pseudo_label import IGNORE_INDEX
from mmrca.progress import progress

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
        help='the images, the first word of each line',
    )
    parser.add_argument(
        '--classes',
        metavar='FILE',
        help='names of the classes without the background, one a line '
        '[their numbers]',
    )
    parser.add_argument('--json', metavar='OUT', help='file for the metrics')
    return parser.parse_args(argv)


def class_names(path: str | None) -> list[str] | None:
    """Read the names of the classes, with the background."""
    if path is None:
        return None
    text = Path(existing_file(path, 'class list')).read_text(encoding='utf-8')
    return ['background', *(n.strip() for n in text.splitlines() if n.strip())]


def show(percent: float | None) -> str:
    """Write a percentage with two digits."""
    return 'nan' if percent is None else f'{percent:.2f}'


def count(pred_dir: Path, gt_dir: Path, names: Sequence[str]) -> LabelCounts:
    """Count the pixels of the labels of a split against its masks.

    Raises:
        FileNotFoundError: If a folder or a file is missing.
        ValueError: If a file is not a class map, or of another size than its
            mask, or no mask shows a class.
    """
    for folder in (pred_dir, gt_dir):
        if not folder.is_dir():
            raise FileNotFoundError(f'folder {folder} does not exist')
        missing = [n for n in names if not (folder / f'{n}.png').is_file()]
        if missing:
            raise FileNotFoundError(
                f'{len(missing)} of the {len(names)} PNGs of the split are '
                f'not in {folder}, first {missing[0]}.png; complete it or '
                'shorten the split'
            )
    counts = LabelCounts(IGNORE_INDEX)
    for name in progress(names, 'labels'):
        count_file(counts, pred_dir / f'{name}.png', gt_dir / f'{name}.png')
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
    names = read_names(existing_file(args.split, 'split'))
    classes = class_names(args.classes)
    counts = count(args.pred_dir, args.gt_dir, names)
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
