"""Turn a trained classifier into pseudo-labels.

    python tools/make_pseudo_labels.py CONFIG CHECKPOINT --out-dir DIR
    torchrun --nproc-per-node 8 tools/make_pseudo_labels.py CONFIG CHECKPOINT \
        --out-dir DIR --launcher pytorch

Labels the images of the config's ``train_dataloader.dataset`` as its
``pseudo_label`` says. Where the data set has masks, it also says how good the
labels are; masks change no label.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from prettytable import PrettyTable

from mmrca.cli import (
    ConfigOptions,
    existing_file,
    existing_folder,
    load_config,
    run,
)
from mmrca.folder_lock import sole_user
from mmrca.launch import add_launcher, join
from mmrca.progress import NOTE

if TYPE_CHECKING:
    from mmengine.config import Config

    from mmrca.pseudo_labels.maker import Result

_NAMED = 20  # errors that are shown on the screen
_STAGES = {'labels': 'labels', 'cam': 'CAM', 'refined': 'after refinement'}


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        description='Turn a trained classifier into pseudo-label PNGs. A '
        'stopped run goes on where it was: labels that are there are kept.',
    )
    parser.add_argument('config', help='config the classifier was trained by')
    parser.add_argument('checkpoint', help='checkpoint of the classifier')
    parser.add_argument(
        '--out-dir',
        metavar='DIR',
        help='folder for the labels, one ID.png for each image',
    )
    parser.add_argument(
        '--photos',
        metavar='DIR',
        help="label the images of this folder in place of the data set's; "
        'the classifier predicts their classes',
    )
    parser.add_argument(
        '--list',
        metavar='LIST',
        help="label the images of this label list in place of the data set's; "
        'with --photos, the classes of those that it names',
    )
    parser.add_argument(
        '--corrections',
        metavar='DIR',
        help='folder of labels ID.png that somebody drew; they are used as '
        'they are',
    )
    parser.add_argument(
        '--cams',
        metavar='DIR',
        help='folder for the CAMs at low resolution: those that are there '
        'are taken, the others computed and saved. Where there are masks, '
        'CAMs are measured too, before and after refinement',
    )
    parser.add_argument(
        '--overlays',
        type=Path,
        metavar='DIR',
        help='folder for pictures of photo and label side by side, and '
        'DIR_sheet.jpg, a sheet of the most doubtful ones',
    )
    parser.add_argument(
        '--only-cams',
        action='store_true',
        help='stop after the CAMs, without labels',
    )
    parser.add_argument(
        '--json',
        metavar='OUT',
        help='file for settings and metrics [DIR.json, beside DIR]',
    )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help="delete the data set's labels in DIR, edited ones too, and make "
        'all of them anew; CAMs too if their settings differ',
    )
    parser.add_argument(
        '--strict',
        action='store_true',
        help='stop at the first image that cannot be labelled [go on, and '
        'name them at the end]',
    )
    parser.add_argument(
        '--workers',
        type=int,
        metavar='N',
        help='threads [one a core]',
    )
    parser.add_argument(
        '--batch-size',
        type=int,
        metavar='N',
        help='images of one size that go through the model together '
        '[8 on a GPU, 1 without]',
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help='mixed precision (needs a GPU), as pseudo_label.amp=True',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        metavar='KEY=VALUE',
        help='config keys to change, such as pseudo_label.margin=0.1 '
        'pseudo_label.refinement.type=dense_crf',
    )
    add_launcher(parser)
    args = parser.parse_args(argv)
    if args.only_cams != (args.out_dir is None):
        parser.error('give either --out-dir or --only-cams')
    if args.only_cams and args.corrections:
        parser.error('--corrections are labels, and --only-cams makes none')
    if args.only_cams and not args.cams:
        parser.error('--only-cams needs --cams')
    if args.overlays:
        if args.only_cams:
            parser.error('--overlays needs labels, leave --only-cams out')
        if args.overlays.resolve() == Path(args.out_dir).resolve():
            parser.error('--overlays wants another folder than --out-dir')
        if args.photos and args.overlays.resolve().is_relative_to(
            Path(args.photos).resolve()
        ):
            parser.error(
                '--overlays lies in the folder of --photos, where the next '
                'run would take them for photos; give another'
            )
    return args


def class_table(result: Result) -> str:
    """Lay out the metrics per class, in percent.

    Args:
        result: From :func:`mmrca.pseudo_labels.maker.make_pseudo_labels`.
    """
    table = PrettyTable()
    share, found = result['share'], result['against_masks'] or {}
    names = [name for name in share if name != 'unlabelled']
    table.add_column('Class', [*names, 'unlabelled'])
    table.add_column('Pixels', [_show(value) for value in share.values()])
    columns = {
        'IoU labelled': ('labels', 'IoU_labelled'),
        'IoU strict': ('labels', 'IoU_strict'),
        'precision': ('labels', 'precision'),
        'recall': ('labels', 'recall'),
        'IoU of CAM': ('cam', 'IoU_strict'),
    }
    for title, (stage, key) in columns.items():
        if stage in found:
            values = [_show(found[stage][key][name]) for name in names]
            table.add_column(title, [*values, ''])
    return table.get_string()


def closing_lines(result: Result, record: Path | None) -> str:
    """Say what was made, how good it is and what is missing.

    Args:
        result: From :func:`mmrca.pseudo_labels.maker.make_pseudo_labels`.
        record: Its JSON file, None without labels.
    """
    from mmrca.pseudo_labels.maker import classes_file

    lines = [
        f'images done: {result["written"]}, kept from before: {result["kept"]}'
    ]
    if 'background_threshold' in result:
        lines.append(f'background threshold {result["background_threshold"]}')
    edited = result['edited']
    if edited and record:
        lines.append(
            f'{len(edited)} labels kept that were edited or made elsewhere, '
            f'such as {edited[0]}.png; --overwrite replaces them. What they '
            f'show is in the list {classes_file(record)}'
        )
    if 'share' in result:
        lines += _quality(result)
        lines += _without_foreground(result)
    errors = result['errors']
    if errors:
        lines.append(f'{len(errors)} images at fault:')
        lines += [f'  {text}' for text in [*errors.values()][:_NAMED]]
    if len(errors) > _NAMED:
        more = f'  and {len(errors) - _NAMED} more'
        lines.append(f'{more}, see {record}' if record else more)
    return '\n'.join(lines)


def _quality(result: Result) -> list[str]:
    lines = []
    normals, found = result['normals'], result['against_masks']
    if normals['images']:
        lines.append(
            f'normal images: {normals["images"]}; '
            f'{_show(normals["with_foreground"])} % of their labels and '
            f'{_show(normals["foreground"])} % of their pixels show a class'
        )
    if found is None:
        return [*lines, 'no masks to evaluate with']
    lines += _against_masks(found)
    if 'cam' not in found:
        lines.append('--cams DIR keeps the CAMs and measures them too')
    return lines


def _without_foreground(result: Result) -> list[str]:
    images = result['shown']['images']
    empty = result['shown']['without_foreground']
    if 2 * empty <= images:
        return []
    return [
        f'{NOTE}{empty} of the {images} labels of images with a class show '
        'none: the classifier has learned too little (train it longer), or '
        'too little reaches the threshold (lower '
        'pseudo_label.background.threshold, and pseudo_label.margin where '
        f'pixels are unlabelled, {_show(result["share"]["unlabelled"])} % '
        'now); after a second round, the segmenter may see background only'
    ]


def _against_masks(found: dict) -> list[str]:
    table = PrettyTable(
        ['', 'mIoU labelled', 'mIoU strict', 'coverage', 'best threshold']
    )
    table.align[''] = 'l'
    for stage, title in _STAGES.items():
        quality = found.get(stage)
        if quality:
            best = quality.get('best_with_masks')
            table.add_row(
                [
                    title,
                    *(
                        _show(quality[key])
                        for key in ('mIoU_labelled', 'mIoU_strict', 'coverage')
                    ),
                    best
                    and f'{_show(best["mIoU"])} at {best["threshold"]:.2f}',
                ]
            )
    return [
        f'against the masks of {found["images"]} images, in percent (strict: '
        'unlabelled pixels are wrong; the best',
        'constant threshold is chosen with the masks and changed no label):',
        table.get_string().replace('None', '    '),
    ]


def _show(percent: float | None) -> str:
    return 'nan' if percent is None else f'{percent:.2f}'


def show_overlays(
    args: argparse.Namespace, config: Config, record: Path
) -> None:
    """Say where the review is, and draw the overlays asked for."""
    from mmrca.pseudo_labels.maker import default_workers, review_file
    from mmrca.pseudo_labels.review import read_review

    out_dir = Path(args.out_dir).absolute()
    review = review_file(record)
    print(f'labels to look at first: {review}')
    if not args.overlays:
        return
    from overlays import draw_overlays

    from mmrca.pseudo_labels.photos import classes_and_palette

    workers = default_workers() if args.workers is None else args.workers
    sheet = draw_overlays(
        args.overlays.absolute(),
        out_dir,
        read_review(review),
        *classes_and_palette(config),
        workers,
    )
    print(f'overlays: {args.overlays}, the most doubtful on {sheet}')


def main(argv: Sequence[str] | None = None) -> None:
    """Make the labels and print how good they are."""
    args = parse_args(argv)
    config = load_config(args.config, args.cfg_options)
    existing_file(args.checkpoint, 'checkpoint')
    if args.photos:
        existing_folder(args.photos, 'photos')
    if args.list:
        existing_file(args.list, 'label list')
    if args.corrections:
        existing_folder(args.corrections, 'corrections')
    if args.amp:
        config.merge_from_dict({'pseudo_label.amp': True})
    join(args.launcher, args.local_rank)
    from mmengine.dist import get_dist_info

    from mmrca.pseudo_labels.maker import make_pseudo_labels

    first, record = get_dist_info()[0] == 0, None
    with sole_user(args.out_dir or args.cams) if first else nullcontext():
        result = make_pseudo_labels(
            config,
            args.checkpoint,
            args.out_dir,
            photos=args.photos,
            label_list=args.list,
            corrections=args.corrections,
            cams_dir=args.cams,
            record=args.json,
            overwrite=args.overwrite,
            strict=args.strict,
            workers=args.workers,
            batch_size=args.batch_size,
        )
    if first:
        if args.out_dir:
            record = Path(args.json or f'{Path(args.out_dir).absolute()}.json')
            print(class_table(result))
            show_overlays(args, config, record)
        print(closing_lines(result, record))
    if result['errors']:
        sys.exit(1)


if __name__ == '__main__':
    run(main)
