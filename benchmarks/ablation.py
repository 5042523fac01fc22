"""Train variants of the classifier with several seeds, and measure them.

    export TOY_DATA=... VOC20_MINI=... MOBILENET_V2=...
    python benchmarks/ablation.py --rows toy-cam toy-cam-map --seeds 0 1 2
    SIX_SETS=... python benchmarks/ablation.py --rows neu_seg-cam neu_seg-rca
    python benchmarks/ablation.py                # the table so far, no work

A training that was stopped goes on, and what is done is not done again; to
redo a row's seed delete ROW/SEED in the work dir. Rows that differ in the
prototype CAM only share their training. A training on the drawn images takes
some minutes on two idle cores, one on the photographs more. The rows of
``SETS`` are the recipes for own images on the data sets in the folder
``SIX_SETS``, each laid out as docs/own_images.md says, with masks.

The figures are those of tools/make_pseudo_labels.py for the training images:
mIoU of the CAMs at the config's threshold and at the one that masks would
choose, and of the labels, unlabelled pixels wrong.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmrca.cli import load_config, run
from mmrca.launch import die_with_parent

REPO = Path(__file__).parents[1]


class Row(NamedTuple):
    """One line of the table.

    Attributes:
        config: In ``configs/rca``, for the labels.
        training: The row whose training is taken; None for its own.
        options: ``--cfg-options`` of what it trains or fills, and labels.
        data: A set in ``SIX_SETS``; the config is in ``configs/custom``.
        epochs: Of that training; None for the config's.
    """

    config: str
    training: str | None = None
    options: tuple[str, ...] = ()
    data: str | None = None
    epochs: int | None = None

    @property
    def arguments(self) -> list[str]:
        """All options, as they stand on the command line."""
        return ['--cfg-options', *self.options]


PHOTOS = '_mobilenet-v2_8e_voc20-mini'
X1, X10, X30 = (f'model.loss_nce.loss_weight={w}' for w in (0.01, 0.1, 0.3))
NO_MIXUP = 'model.loss_nce.beta=None'
MEMORY, MAP = 'model.memory', 'model.prototype_cam'
HOOK = 'default_hooks.memory_bank'
NO_OWN, NO_ALIKE = f'{MAP}.image_region=None', f'{MAP}.self_similarity=None'
STRIDE_32 = (
    'model.backbone.strides=(1,2,2,2,1,2,1)',
    'model.backbone.dilations=(1,1,1,1,1,1,1)',
    'pseudo_label.scales=(1.5,2.0)',
)
STRIDE_16 = 'model.backbone.strides=(1,2,2)'
ROWS_A_CLASS = 'train_dataloader.dataset.rows_per_class'
PROJECTION = ('model.projection.type=mmrca.QueryProjection',)
LEARNED = 'model.aggregation.learned=True'
SOFTER = 'model.aggregation.temperature=0.3'
MEMORY_K = 'model.memory.num_prototypes'
# For maps that tell the criterion of 'auto' nothing.
AT_3 = 'pseudo_label.background.threshold=0.3'
K3, K30 = (f'{MAP}.num_prototypes={k}' for k in (3, 30))
ROWS = {
    'toy-cam': Row('cam_r18_toy'),
    'toy-cam-map': Row('cam_r18_toy_prototype-cam', 'toy-cam'),
    'toy-contrast': Row('rca_r18_toy_contrast-only'),
    'toy-contrast-map': Row('rca_r18_toy', 'toy-contrast'),
    'toy-contrast-x10': Row('rca_r18_toy_contrast-only', options=(X10,)),
    'toy-contrast-x10-map': Row('rca_r18_toy', 'toy-contrast-x10'),
    'toy-contrast-x30': Row('rca_r18_toy_contrast-only', options=(X30,)),
    'toy-contrast-x30-map': Row('rca_r18_toy', 'toy-contrast-x30'),
    # The recipe with one choice changed.
    'toy-no-mixup': Row('rca_r18_toy', options=(NO_MIXUP,)),
    'toy-no-mixup-x1': Row('rca_r18_toy', options=(NO_MIXUP, X1)),
    'toy-momentum-.99': Row(
        'rca_r18_toy', options=(f'{MEMORY}.momentum=.99',)
    ),
    'toy-gate-0': Row('rca_r18_toy', options=(f'{MEMORY}.gate=0',)),
    'toy-warm-up-0': Row('rca_r18_toy', options=(f'{HOOK}.warm_up=0',)),
    'toy-rows-20': Row('rca_r18_toy', options=(f'{ROWS_A_CLASS}=20',)),
    'toy-ring': Row(
        'rca_r18_toy', options=(f'{ROWS_A_CLASS}=500', f'{MEMORY}.ring=True')
    ),
    'toy-projection': Row('rca_r18_toy', options=PROJECTION),
    'toy-stride-16': Row('rca_r18_toy', options=(STRIDE_16,)),
    'toy-cam-stride-16': Row('cam_r18_toy', options=(STRIDE_16,)),
    'toy-no-own': Row('rca_r18_toy', 'toy-contrast-x10', (NO_OWN,)),
    'toy-k-3': Row('rca_r18_toy', 'toy-contrast-x10', (K3,)),
    'toy-k-30': Row('rca_r18_toy', 'toy-contrast-x10', (K30,)),
    'toy-aggregation': Row('rca_r18_toy_aggregation-only'),
    'toy-rca': Row('rca_r18_toy_cosine'),
    'toy-rca-map': Row('rca_r18_toy_cosine_prototype-cam', 'toy-rca'),
    'toy-rca-detached': Row('rca_r18_toy_detached'),
    'toy-rca-learned-map': Row(
        'rca_r18_toy_cosine_prototype-cam', options=(LEARNED, X10)
    ),
    # Both heads with one choice changed.
    'toy-rca-temperature-.3': Row('rca_r18_toy_cosine', options=(SOFTER,)),
    'toy-rca-k-3': Row('rca_r18_toy_cosine', options=(f'{MEMORY_K}=3',)),
    'toy-rca-refresh-4': Row(
        'rca_r18_toy_cosine', options=(f'{HOOK}.refresh_interval=4',)
    ),
    'toy-rca-warm-start': Row(
        'rca_r18_toy_cosine', options=(f'{MEMORY}.warm_start=True',)
    ),
    'toy-paper': Row('rca_r18_toy_paper'),
    # The paper with one thing done as released.
    'toy-branches': Row('rca_r18_toy_branches', options=(AT_3,)),
    'toy-learned-aggregation': Row('rca_r18_toy_learned-aggregation'),
    'toy-query-projection': Row('rca_r18_toy_query-projection'),
    'toy-raw-affinity': Row('rca_r18_toy_raw-affinity'),
    'toy-ring-and-noise': Row('rca_r18_toy_ring'),
    'toy-softmax-regions': Row('rca_r18_toy_softmax-regions'),
    'toy-released': Row('rca_r18_toy_as-released', options=(AT_3,)),
    'photos-cam': Row(f'cam{PHOTOS}'),
    'photos-cam-s32': Row(f'cam{PHOTOS}', options=STRIDE_32),
    'photos-cam-map': Row(f'cam{PHOTOS}_prototype-cam', 'photos-cam'),
    'photos-contrast': Row(f'rca{PHOTOS}_contrast-only'),
    'photos-contrast-map': Row(f'rca{PHOTOS}', 'photos-contrast'),
    'photos-no-own': Row(f'rca{PHOTOS}', 'photos-contrast', (NO_OWN,)),
    'photos-no-alike': Row(f'rca{PHOTOS}', 'photos-contrast', (NO_ALIKE,)),
    'photos-no-own-alike': Row(
        f'rca{PHOTOS}', 'photos-contrast', (NO_OWN, NO_ALIKE)
    ),
    'photos-contrast-x10': Row(f'rca{PHOTOS}_contrast-only', options=(X10,)),
    'photos-contrast-x10-map': Row(f'rca{PHOTOS}', 'photos-contrast-x10'),
    'photos-contrast-s32': Row(
        f'rca{PHOTOS}_contrast-only', options=STRIDE_32
    ),
    'photos-contrast-s32-map': Row(
        f'rca{PHOTOS}', 'photos-contrast-s32', STRIDE_32
    ),
    'photos-rca': Row(f'rca{PHOTOS}_cosine'),
    'photos-rca-map': Row(f'rca{PHOTOS}_cosine_prototype-cam', 'photos-rca'),
    'photos-paper': Row(f'rca{PHOTOS}_paper'),
}


# The epochs make 300 iterations of 16 images or more, and 8 at least.
SETS = {
    'neu_seg': 8,
    'magnetic_tile': 10,
    'voc20_mini': 8,
    'coffee_leaf': 19,
    'msrc21': 21,
    'voc12_animals': 11,
}
ROWS |= {
    f'{name}-{method}': Row(
        f'{method}_efficientnet-lite0_custom', data=name, epochs=epochs
    )
    for name, epochs in SETS.items()
    for method in ('cam', 'rca')
}


def main(argv: Sequence[str] | None = None) -> None:
    """Do what is asked for and not done, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rows', nargs='*', default=[], choices=list(ROWS))
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument(
        '--work-dir', type=Path, default=Path('work_dirs/ablation')
    )
    args = parser.parse_args(argv)
    for name in args.rows:
        for seed in args.seeds:
            perform(name, seed, args.work_dir)
    print(table(args.work_dir))


def perform(name: str, seed: int, work_dir: Path) -> None:
    """Train, label and measure one row with one seed, unless it is done."""
    row, folder = ROWS[name], work_dir / name / str(seed)
    if (folder / 'labels.json').exists():
        return
    if row.data:
        os.environ['OWN_DATA'] = f'{os.environ["SIX_SETS"]}/{row.data}'
    what = f'{name}, seed {seed}: logs in {folder}'
    print(what, file=sys.stderr, flush=True)
    checkpoint = train(row.training or name, seed, work_dir)
    if row.training:
        checkpoint = with_map(row, seed, checkpoint, folder)
    call(
        folder / 'labels.log',
        REPO / 'tools' / 'make_pseudo_labels.py',
        config_file(row),
        checkpoint,
        '--out-dir',
        folder / 'labels',
        '--cams',
        folder / 'cams',
        *row.arguments,
    )


def train(name: str, seed: int, work_dir: Path) -> Path:
    """Train a row, or go on with it; return its last checkpoint."""
    folder = work_dir / name / str(seed)
    folder.mkdir(parents=True, exist_ok=True)
    row, path = ROWS[name], config_file(ROWS[name])
    epochs = row.epochs or load_config(str(path)).train_cfg.max_epochs
    schedule = ('train_cfg.max_epochs', 'param_scheduler.end')
    last = folder / f'epoch_{epochs}.pth'
    if not last.exists():
        call(
            folder / 'train.log',
            REPO / 'tools' / 'train.py',
            path,
            '--resume',
            '--work-dir',
            folder,
            *row.arguments,
            f'randomness.seed={seed}',
            f'train_cfg.val_interval={epochs}',
            *(f'{key}={epochs}' for key in schedule if row.epochs),
        )
    return last


def with_map(row: Row, seed: int, checkpoint: Path, folder: Path) -> Path:
    """Fill the prototype CAM as its hook does when the training ends."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / 'with_map.pth'
    if target.exists():
        return target
    call(
        folder / 'map.log',
        REPO / 'tools' / 'fill_prototypes.py',
        config_file(row),
        checkpoint,
        target,
        *row.arguments,
        f'randomness.seed={seed}',
    )
    return target


def config_file(row: Row) -> Path:
    """Name a row's config."""
    folder = 'custom' if row.data else 'rca'
    return REPO / 'configs' / folder / f'{row.config}.py'


def call(log: Path, script: Path, *arguments: object) -> None:
    """Run a script; its output goes to a log.

    Raises:
        ValueError: If it fails.
    """
    command = [sys.executable, script, *arguments]
    with log.open('a') as file:
        code = subprocess.run(
            [str(part) for part in command],
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
            preexec_fn=die_with_parent,
        ).returncode
    if code:
        raise ValueError(f'{script} failed, {log} says why')


def table(work_dir: Path) -> str:
    """Lay out all results in Markdown."""
    lines = [
        "| row | config | seeds | CAM at the config's threshold | CAM, best "
        'with masks | labels, strict |',
        '|---|---|---|---|---|---|',
    ]
    for name, row in ROWS.items():
        files = sorted(work_dir.glob(f'{name}/*/labels.json'))
        if not files:
            continue
        found = [json.loads(f.read_text())['against_masks'] for f in files]
        cells = [
            name,
            settings(row),
            ' '.join(file.parent.name for file in files),
            spread([f['cam']['mIoU_strict'] for f in found]),
            spread([f['cam']['best_with_masks']['mIoU'] for f in found]),
            spread([f['labels']['mIoU_strict'] for f in found]),
        ]
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


def settings(row: Row) -> str:
    """Write a row's config and how it departs from it."""
    trained = [f'on {row.training}'] if row.training else []
    # 'model.loss_nce.beta=None' is written 'loss_nce.beta=None'.
    options = [
        re.search(r'([a-z_]+\.)?[a-z_]+=.*', option)[0]
        for option in row.options
    ]
    return ', '.join([row.config, *trained, *options])


def spread(values: list[float]) -> str:
    """Write a mean and, of several values, their standard deviation."""
    mean = f'{statistics.mean(values):.1f}'
    if len(values) == 1:
        return mean
    return f'{mean} ± {statistics.stdev(values):.1f}'


if __name__ == '__main__':
    run(main)
