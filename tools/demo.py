"""The whole pipeline on drawn images: labels by tag in, masks out.

    python tools/demo.py

Draws the toy data, trains plain CAM and RCA from its image-level labels,
writes pseudo-labels, trains DeepLabV3+ on them and, as the ceiling, on the
true masks, and ends with a table and a sheet of pictures. Each step is the
command a user would type; those that do not need one another run side by
side. A step that is done is not done again.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from prettytable import PrettyTable

from mmrca.cli import load_config, run
from mmrca.launch import count_cores, die_with_parent
from mmrca.steps import link_checkpoint

TOOLS = Path(__file__).parent
CONFIGS = TOOLS.parent / 'configs'
CAM = CONFIGS / 'rca' / 'cam_r18_toy.py'
RCA = CONFIGS / 'rca' / 'rca_r18_toy.py'
SEG = CONFIGS / 'rca_seg' / 'deeplabv3plus_r18_toy.py'


class Step(NamedTuple):
    """One command of the pipeline.

    Attributes:
        name: Of its mark and of its work dir.
        says: What it does.
        command: A tool and its arguments.
        labels: Folder of the masks DeepLab learns from.
    """

    name: str
    says: str
    command: Sequence[str | Path]
    labels: Path | None = None


class Stage(NamedTuple):
    """Steps that need none of one another and so run side by side.

    Attributes:
        minutes: How long they take on two cores.
        steps: These.
    """

    minutes: float
    steps: Sequence[Step]


def stages(root: Path) -> list[Stage]:
    """List the commands in their order.

    Args:
        root: Folder that everything is written to.
    """
    pseudo, masks = root / 'labels_rca', root / 'data' / 'SegmentationClass'
    data = [TOOLS / 'make_toy_data.py', root / 'data']
    return [
        Stage(0.2, [Step('data', 'draw 500 images', data)]),
        Stage(
            1.9,
            [
                Step('cam', 'train plain CAM', _train(root, 'cam', CAM, 16)),
                Step('rca', 'train RCA', _train(root, 'rca', RCA, 16)),
            ],
        ),
        Stage(
            1.3,
            [
                Step(
                    'labels_cam',
                    'make labels with plain CAM',
                    _label(root, 'cam', CAM),
                ),
                Step(
                    'labels_rca',
                    'make labels with RCA',
                    _label(root, 'rca', RCA),
                ),
            ],
        ),
        Stage(
            1.5,
            [
                Step(
                    'deeplab',
                    "train DeepLabV3+ on RCA's labels",
                    _train(root, 'deeplab', SEG, 300),
                    pseudo,
                ),
                Step(
                    'deeplab_full',
                    'train DeepLabV3+ on the true masks',
                    _train(root, 'deeplab_full', SEG, 300),
                    masks,
                ),
            ],
        ),
    ]


def _train(
    root: Path, name: str, config: Path, length: int
) -> list[str | Path]:
    """Train, and validate at the end only, after ``length`` periods."""
    work_dir = ['--work-dir', root / name, '--resume']
    once = ['--cfg-options', f'train_cfg.val_interval={length}']
    return [TOOLS / 'train.py', config, *work_dir, *once]


def _label(root: Path, name: str, config: Path) -> list[str | Path]:
    checkpoint = root / name / 'last.pth'
    out = ['--out-dir', root / f'labels_{name}', '--overwrite']
    cams = ['--cams', root / f'cams_{name}', '--workers', str(_threads(2))]
    return [TOOLS / 'make_pseudo_labels.py', config, checkpoint, *out, *cams]


def _threads(steps: int) -> int:
    """Share the cores among steps that run side by side."""
    return max(1, count_cores() // steps)


def _mark(root: Path, step: Step) -> Path:
    return root / f'{step.name}.done'


def take(steps: Sequence[Step], root: Path) -> None:
    """Run steps side by side, unless they are done, each into a log file.

    Raises:
        ValueError: If a command fails; the others end first.
    """
    todo = [step for step in steps if not _mark(root, step).exists()]
    if not todo:
        print('already done', flush=True)
        return
    start = time.monotonic()
    running = [
        (step, _start(step, root, _threads(len(todo)))) for step in todo
    ]
    failed = [step for step, process in running if process.wait()]
    for step in todo:
        if step not in failed:
            if (root / step.name / 'last_checkpoint').exists():
                link_checkpoint(root / step.name)
            _mark(root, step).touch()
    if failed:
        log = root / f'{failed[0].name}.log'
        tail = log.read_text().strip().splitlines()[-1]
        raise ValueError(f'step {failed[0].name} failed: {tail}; see {log}')
    print(f'{(time.monotonic() - start) / 60:.1f} minutes', flush=True)


def _start(step: Step, root: Path, threads: int) -> subprocess.Popen:
    """Start a step; the demo's end is its end."""
    environment = dict(
        os.environ,
        TOY_DATA=str(root / 'data'),
        CLASSIFIER=str(root / 'rca' / 'last.pth'),
        LABEL_DIR=str(step.labels or ''),
    )
    environment.setdefault('OMP_NUM_THREADS', str(threads))
    with (root / f'{step.name}.log').open('a') as file:
        return subprocess.Popen(
            [sys.executable, *map(str, step.command)],
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )


def summarise(root: Path) -> dict[str, float]:
    """Collect the metrics, in percent.

    Returns:
        CAMs and pseudo-labels against the masks of the training images,
        DeepLab against those of the val images.
    """
    plain = json.loads((root / 'labels_cam.json').read_text())
    rca = json.loads((root / 'labels_rca.json').read_text())
    plain, rca = plain['against_masks'], rca['against_masks']
    labels = rca['labels']
    return dict(
        plain_cam=plain['cam']['mIoU_strict'],
        rca_cam=rca['cam']['mIoU_strict'],
        pseudo_label_strict=labels['mIoU_strict'],
        pseudo_label_labelled=labels['mIoU_labelled'],
        coverage=labels['coverage'],
        deeplab=_validated(root / 'deeplab'),
        deeplab_full=_validated(root / 'deeplab_full'),
    )


def _validated(work_dir: Path) -> float:
    """Look up the mIoU of a training's last validation."""
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    lines = [json.loads(t) for f in logs for t in f.read_text().splitlines()]
    return [line['mIoU'] for line in lines if 'mIoU' in line][-1]


def table(summary: dict[str, float]) -> str:
    """Lay out the summary."""
    rows = dict(
        plain_cam='mIoU of plain CAM, train images',
        rca_cam='mIoU of RCA CAM, train images',
        pseudo_label_labelled='mIoU of pseudo-labels, labelled pixels',
        pseudo_label_strict='mIoU of pseudo-labels, unlabelled wrong',
        coverage='labelled share of the pixels',
        deeplab='mIoU of DeepLabV3+ on these, val images',
        deeplab_full='mIoU of DeepLabV3+ on true masks, val images',
    )
    lines = PrettyTable(['', '%'], align='r')
    lines.align[''] = 'l'
    for key, says in rows.items():
        lines.add_row([says, f'{summary[key]:.1f}'])
    return lines.get_string()


def main() -> None:
    """Take all steps, then show table and pictures."""
    parser = argparse.ArgumentParser(
        description='Train and evaluate everything on drawn images.'
    )
    parser.add_argument(
        '--work-dir',
        default='work_dirs/demo',
        type=Path,
        help='folder for everything [work_dirs/demo]; delete it to start anew',
    )
    root = parser.parse_args().work_dir.absolute()
    root.mkdir(parents=True, exist_ok=True)
    os.environ['TOY_DATA'] = str(root / 'data')
    todo = stages(root)
    minutes = sum(
        stage.minutes
        for stage in todo
        if not all(_mark(root, step).exists() for step in stage.steps)
    )
    print(f'Everything goes to {root}')
    print(f'About {minutes:.0f} minutes on two cores; logs are {root}/*.log')
    for number, (expected, steps) in enumerate(todo, 1):
        says = ', '.join(step.says for step in steps)
        head = f'[{number}/{len(todo)}] {says} (~{expected:g} min)'
        print(head, end=' ... ', flush=True)
        take(steps, root)
    summary = summarise(root)
    (root / 'summary.json').write_text(json.dumps(summary, indent=2) + '\n')
    from demo_sheet import draw_sheet

    sheet = draw_sheet(root, *(load_config(str(c)) for c in (CAM, RCA)), SEG)
    text = table(summary)
    (root / 'table.txt').write_text(text + '\n')
    print(f'\n{text}\n')
    print(f'table:    {root / "table.txt"}\n          {root / "summary.json"}')
    print(f'pictures: {sheet}')


if __name__ == '__main__':
    run(main)
