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
from pathlib import Path

from prettytable import PrettyTable

from mmrca.cli import load_config, run
from mmrca.launch import count_cores
from mmrca.steps import CONFIGS, TOOLS, Step, take_all

CAM = CONFIGS / 'rca' / 'cam_r18_toy.py'
RCA = CONFIGS / 'rca' / 'rca_r18_toy.py'
SEG = CONFIGS / 'rca_seg' / 'deeplabv3plus_r18_toy.py'


def road(root: Path) -> list[Step | list[Step]]:
    """List the commands in their order.

    Args:
        root: Folder that everything is written to.

    Returns:
        Steps; those of a list need none of one another.
    """
    data = [TOOLS / 'make_toy_data.py', root / 'data']
    pseudo, masks = root / 'labels_rca', root / 'data' / 'SegmentationClass'
    return [
        Step('data', 'draw 500 images', data),
        [
            _train(root, 'cam', 'train plain CAM', CAM, 16),
            _train(root, 'rca', 'train RCA', RCA, 16),
        ],
        [
            _label(root, 'cam', 'make labels with plain CAM', CAM),
            _label(root, 'rca', 'make labels with RCA', RCA),
        ],
        [
            _train(
                root,
                'deeplab',
                "train DeepLabV3+ on RCA's labels",
                SEG,
                300,
                pseudo,
            ),
            _train(
                root,
                'deeplab_full',
                'train DeepLabV3+ on the true masks',
                SEG,
                300,
                masks,
            ),
        ],
    ]


def _variables(root: Path) -> dict[str, str]:
    return {'TOY_DATA': str(root / 'data')}


def _train(
    root: Path,
    name: str,
    says: str,
    config: Path,
    length: int,
    labels: Path | None = None,
) -> Step:
    """Train, and validate at the end only, after ``length`` periods."""
    folder = root / name
    command = [TOOLS / 'train.py', config, '--work-dir', folder, '--resume']
    command += ['--cfg-options', f'train_cfg.val_interval={length}']
    variables = _variables(root)
    if labels:
        variables['LABEL_DIR'] = str(labels)
        variables['CLASSIFIER'] = str(root / 'rca' / 'last.pth')
    return Step(name, says, command, variables, work_dir=folder)


def _label(root: Path, name: str, says: str, config: Path) -> Step:
    out = root / f'labels_{name}'
    threads = max(1, count_cores() // 2)  # two side by side
    command = [TOOLS / 'make_pseudo_labels.py', config]
    command += [root / name / 'last.pth', '--out-dir', out, '--overwrite']
    command += ['--cams', root / f'cams_{name}', '--workers', str(threads)]
    return Step(f'labels_{name}', says, command, _variables(root))


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
    os.environ['TOY_DATA'] = str(root / 'data')
    print(f'Everything goes to {root}')
    print(f'About 5 minutes on two cores; logs are {root}/*.log')
    take_all(road(root), root, quiet=True)
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
