"""Turn a trained classifier into pseudo-labels.

    python tools/make_pseudo_labels.py CONFIG CHECKPOINT --out-dir DIR

Labels the images of the config's ``train_dataloader.dataset`` as its
``pseudo_label`` says. Where the data set has masks, it also says how good the
labels are; masks change no label.
"""

import argparse
from collections.abc import Sequence

from prettytable import PrettyTable

from mmrca.cli import ConfigOptions, existing_file, load_config, run
from mmrca.pseudo_labels.maker import make_pseudo_labels


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Turn a trained classifier into pseudo-label PNGs. A '
        'stopped run goes on where it was: labels that are there are kept.'
    )
    parser.add_argument('config', help='config the classifier was trained by')
    parser.add_argument('checkpoint', help='checkpoint of the classifier')
    parser.add_argument(
        '--out-dir',
        required=True,
        metavar='DIR',
        help='folder for the labels, one ID.png for each image',
    )
    parser.add_argument(
        '--json',
        metavar='OUT',
        help='file for settings and figures [DIR.json, beside DIR]',
    )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help="delete the data set's labels in DIR and make all of them anew",
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        metavar='KEY=VALUE',
        help='config keys to change, such as pseudo_label.margin=0.1 '
        'pseudo_label.crf=None',
    )
    return parser.parse_args(argv)


def class_table(result: dict) -> str:
    """Lay out the figures per class, in percent.

    Args:
        result: From :func:`mmrca.pseudo_labels.maker.make_pseudo_labels`.
    """
    table = PrettyTable()
    share = result['share']
    names = [name for name in share if name != 'unlabelled']
    table.add_column('Class', [*names, 'unlabelled'])
    table.add_column('Pixels', [_show(value) for value in share.values()])
    evaluation, cam = result['evaluation'], result['cam']
    columns = {}
    if evaluation:
        columns['IoU labelled'] = evaluation['IoU_labelled']
        columns['IoU strict'] = evaluation['IoU_strict']
    if cam:
        columns['IoU of CAM'] = cam['IoU']
    for title, values in columns.items():
        table.add_column(title, [_show(values[n]) for n in names] + [''])
    return table.get_string()


def closing_lines(result: dict) -> str:
    """Say what was made and how good it is.

    Args:
        result: From :func:`mmrca.pseudo_labels.maker.make_pseudo_labels`.
    """
    lines = [
        f'{result["written"]} labels written, {result["kept"]} kept that '
        'were already there'
    ]
    evaluation, cam = result['evaluation'], result['cam']
    if not evaluation:
        return '\n'.join([*lines, 'no masks to evaluate with'])
    figures = {
        'mIoU over labelled pixels': evaluation['mIoU_labelled'],
        'mIoU, unlabelled pixels wrong': evaluation['mIoU_strict'],
        'coverage': evaluation['coverage'],
    }
    if cam:
        name = f'mIoU of the CAMs alone ({cam["images"]} images)'
        figures[name] = cam['mIoU']
    lines.append(
        f'against the masks of {evaluation["images"]} images, in percent:'
    )
    width = max(map(len, figures))
    for name, value in figures.items():
        lines.append(f'  {name:{width}}  {_show(value):>6}')
    return '\n'.join(lines)


def _show(percent: float | None) -> str:
    return 'nan' if percent is None else f'{percent:.2f}'


def main(argv: Sequence[str] | None = None) -> None:
    """Make the labels and print the figures."""
    args = parse_args(argv)
    config = load_config(args.config, args.cfg_options)
    existing_file(args.checkpoint, 'checkpoint')
    result = make_pseudo_labels(
        config, args.checkpoint, args.out_dir, args.json, args.overwrite
    )
    print(class_table(result))
    print(closing_lines(result))


if __name__ == '__main__':
    run(main)
