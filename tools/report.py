"""One HTML file about trainings and the labels made with them.

    python tools/report.py work_dirs/mine_labels
    python tools/report.py work_dirs/mine_run --out mine.html

A folder of labels brings the training of its checkpoint along, that of
tools/run.py all that it holds. The file needs no network and no other file:
charts and a sample of the pictures are in it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmrca.cli import existing_folder, run


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        description='Show what was trained, and the labels, in one HTML file.',
    )
    parser.add_argument(
        'folders',
        nargs='+',
        type=Path,
        metavar='DIR',
        help='work dir of a training, a folder of labels, or that of run.py',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('report.html'),
        metavar='FILE',
        help='the file to write [report.html]',
    )
    parser.add_argument(
        '--pictures',
        type=int,
        default=48,
        metavar='N',
        help='images a gallery shows at most [48]',
    )
    parser.add_argument(
        '--prototype-images',
        type=int,
        default=200,
        metavar='N',
        help='training images in which the spots most like the prototypes '
        'are looked for; 0 leaves the prototypes out [200]',
    )
    args = parser.parse_args(argv)
    for name in ('pictures', 'prototype_images'):
        if getattr(args, name) < 0:
            parser.error(f'--{name.replace("_", "-")} must be 0 or more')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Write the report."""
    args = parse_args(argv)
    for folder in args.folders:
        existing_folder(str(folder), 'folder')
    from report_page import write_page
    from report_parts import kind_of, labels_part, training_part, unfold

    parts, trainings = [], set()
    for folder in (f for given in args.folders for f in unfold(given)):
        if kind_of(folder) == 'training':
            trainings.add(folder.resolve())
            continue
        part = labels_part(folder, args.pictures, args.prototype_images)
        parts.append(part)
        if part['work_dir']:
            trainings.add(part['work_dir'].resolve())
    parts = [training_part(folder) for folder in sorted(trainings)] + parts
    write_page(args.out, parts)
    size = args.out.stat().st_size / 1e6
    print(f'{args.out} ({size:.1f} MB): open it in a browser')


if __name__ == '__main__':
    run(main)
