"""From image-level labels to a tested segmenter, by one command.

    python tools/run.py configs/rca/rca_r18_toy.py

Trains the classifier, makes labels with it, trains the segmenter on these and
tests it. Each step is a command that can be typed by itself, and is shown. A
step that is done is skipped, one that was cut goes on.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from mmrca.atomic_write import read_json, write_json
from mmrca.cli import load_config, parse_options, run
from mmrca.steps import (
    CONFIGS,
    TOOLS,
    Step,
    classifier_steps,
    config_digest,
    take_all,
)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        description='Train a classifier, make labels, train a segmenter on '
        'them, test it. The same call again does what is missing.',
    )
    parser.add_argument('config', help='config of a classifier')
    parser.add_argument(
        '--segmenter',
        metavar='CONFIG',
        help="config of the segmenter, or 'none' to stop after the labels "
        '[deeplabv3plus_* of the same backbone and data set]',
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        metavar='DIR',
        help='folder for everything [work_dirs/NAME_run]',
    )
    for option, whose in (('cfg', 'classifier'), ('seg', 'segmenter')):
        parser.add_argument(
            f'--{option}-options',
            nargs='+',
            default=[],
            metavar='KEY=VALUE',
            help=f"keys of the {whose}'s config to change",
        )
    return parser.parse_args(argv)


def find_segmenter(path: Path) -> Path:
    """Find the segmenter of a classifier's backbone and data set by name.

    Args:
        path: ``{rca,cam}_{backbone}_{...}_{data set}_{...}.py``.

    Raises:
        ValueError: There is none, or several.
    """
    parts = path.stem.split('_')
    there = [
        file
        for folder in ('rca_seg', 'custom')
        for file in sorted((CONFIGS / folder).glob('deeplabv3plus_*.py'))
    ]
    fitting = [
        file
        for file in there
        if file.stem.split('_')[1] in parts[1:2]
        and file.stem.split('_')[-1] in parts[2:]
    ]
    if len(fitting) != 1:
        names = ', '.join(file.stem for file in fitting or there)
        raise ValueError(
            f'no single segmenter has the backbone and the data set of '
            f"{path.name}; give one by --segmenter, or 'none': {names}"
        )
    return fitting[0]


def segmenter_steps(config: str, root: Path, options: list[str]) -> list[Step]:
    """List the steps from the labels on.

    Args:
        config: Of the segmenter.
        root: Folder of everything.
        options: Keys to change, as KEY=VALUE.
    """
    variables = {
        'LABEL_DIR': str(root / 'labels'),
        'CLASSIFIER': str(root / 'classifier' / 'last.pth'),
    }
    os.environ.update(variables)
    loaded = load_config(config, parse_options(options))
    # Now, not when its training begins after hours.
    from train import check_options

    check_options(loaded)
    made_with = config_digest(loaded)
    folder = root / 'segmenter'
    more = ['--cfg-options', *options] if options else []
    train = [TOOLS / 'train.py', config, '--work-dir', folder, '--resume']
    steps = [
        Step(
            'segmenter',
            'train the segmenter',
            [*train, *more],
            variables,
            made_with,
            folder,
            labels=root / 'labels',
        )
    ]
    if not loaded.get('test_evaluator'):
        return steps
    test = [TOOLS / 'test.py', config, folder / 'last.pth']
    test += ['--work-dir', root / 'test']
    options = [*options, *_predictions(loaded, root)]
    more = ['--cfg-options', *options] if options else []
    says = 'test the segmenter'
    return [*steps, Step('test', says, [*test, *more], variables, made_with)]


def _predictions(config: Config, root: Path) -> list[str]:
    """Say where predictions go that no masks are compared with."""
    if not config.test_evaluator.get('format_only'):
        return []
    return [f'test_evaluator.output_dir={root / "predictions"}']


def summarise(root: Path) -> dict:
    """Collect the figures, in percent.

    Returns:
        ``labels`` and, if it was tested, ``segmenter``: ``foreground``, the
        share of the pixels that show a class; where there are masks, also
        how well they agree, on the training and on the test images.
    """
    record = read_json(root / 'labels.json')
    share = record['share']
    background = share[record['classes'][0]]
    found = {
        'labels': {
            'foreground': 100 - background - share['unlabelled'],
            'unlabelled': share['unlabelled'],
        }
    }
    if record['against_masks']:
        quality = record['against_masks']['labels']
        keys = ('mIoU_strict', 'mIoU_labelled', 'coverage')
        found['labels'] |= {key: quality[key] for key in keys}
    tested = sorted((root / 'test').glob('*/*.json'))
    if tested:
        figures = read_json(tested[-1])
        keys = ('foreground', 'mIoU', 'mAcc', 'aAcc')
        found['segmenter'] = {k: figures[k] for k in keys if k in figures}
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Take all steps."""
    args = parse_args(argv)
    path = Path(args.config)
    root = args.work_dir or Path('work_dirs') / f'{path.stem}_run'
    root = root.absolute()
    steps = classifier_steps(args.config, root, args.cfg_options)
    if args.segmenter != 'none':
        segmenter = args.segmenter or str(find_segmenter(path))
        steps += segmenter_steps(segmenter, root, args.seg_options)
    take_all(steps, root)
    summary = summarise(root)
    write_json(root / 'summary.json', summary)
    for part, figures in summary.items():
        shown = ', '.join(f'{k} {v:.1f}' for k, v in figures.items())
        print(f'{part}, %: {shown}')
    if not summary.get('segmenter', {}).get('foreground', True):
        print(
            'the segmenter sees background only: train it longer '
            '(--seg-options train_cfg.max_iters=...), or mend the labels'
        )
    print(f'everything is in {root}')


if __name__ == '__main__':
    run(main)
