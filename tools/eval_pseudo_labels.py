"""Measure a folder of label PNGs against true masks.

    python tools/eval_pseudo_labels.py PRED_DIR GT_DIR --split FILE

Works on any method's labels: 0 is the background, 255 unlabelled. Where
nothing is unlabelled both mIoUs are MMSegmentation's.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from mmrca.datasets.list_writer import read_names
from prettytable import PrettyTable

from mmrca.cli import existing_file, run
from mmrca.evaluation.label_quality import evaluate
from mmrca.pseudo_labels.folders import compare_folders, trim

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
    parser.add_argument('--json', metavar='OUT', help='file for the figures')
    return parser.parse_args(argv)


def class_names(path: str | None) -> list[str] | None:
    """Read the names of the classes, with the background."""
    if path is None:
        return None
    text = Path(existing_file(path, 'class list')).read_text(encoding='utf-8')
    return ['background', *(n.strip() for n in text.splitlines() if n.strip())]


def show(percent: float | None) -> str:
    """Write a figure with two digits."""
    return 'nan' if percent is None else f'{percent:.2f}'


def report(figures: dict) -> str:
    """Lay out the figures."""
    table = PrettyTable()
    table.add_column('Class', list(figures['IoU_strict']))
    for key, title in COLUMNS.items():
        table.add_column(title, [show(v) for v in figures[key].values()])
    return (
        f'{table}\n{figures["images"]} images, in percent:\n'
        f'  mIoU over labelled pixels      {show(figures["mIoU_labelled"])}\n'
        f'  mIoU, unlabelled pixels wrong  {show(figures["mIoU_strict"])}\n'
        f'  coverage                       {show(figures["coverage"])}'
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Measure."""
    args = parse_args(argv)
    names = read_names(existing_file(args.split, 'split'))
    classes = class_names(args.classes)
    counts = compare_folders(args.pred_dir, args.gt_dir, names)
    counts = trim(counts, classes and len(classes))
    classes = classes or [str(number) for number in range(len(counts))]
    figures = {'images': len(names), **evaluate(counts, classes)}
    if args.json:
        Path(args.json).write_text(json.dumps(figures, indent=2) + '\n')
    print(report(figures))


if __name__ == '__main__':
    run(main)
