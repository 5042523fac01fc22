"""What the parts cost beside what else there is: all ratios in one table.

    make bench                                    # about 10 minutes, 2 cores
    python -m benchmarks.bench --rows kmeans      # one of them

A ratio is ours over theirs, so lower is better, with its quartiles. On a CPU
it is of CPU time on one thread, on a GPU of the time that passed. The table
goes into docs/benchmarks.md, the figures into work_dirs/bench/summary.json.
"""

import argparse
import importlib.util
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from mmengine.registry import init_default_scope

from benchmarks.coco_rehearsal import COUNTS
from benchmarks.dense_crf import by_numba, by_pydensecrf, draw, rough_scores
from benchmarks.pseudo_labels import SETTINGS, by_pipeline, script
from benchmarks.step import fill, step_ratio
from benchmarks.timing import Ratio, ratio, take_turns
from mmrca.cli import load_config, run
from mmrca.ops.cam import threshold_confusion
from mmrca.ops.metrics import confusion_matrix
from mmrca.ops.pseudo_label import fuse
from mmrca.pseudo_labels.inputs import LabelInput
from mmrca.pseudo_labels.labels import Labeller
from mmrca.pseudo_labels.photos import classes_and_palette
from mmrca.pseudo_labels.pipeline import Job
from mmrca.registry import MODELS

REPO = Path(__file__).parents[1]
CONFIGS = REPO / 'configs' / 'rca'
# 10,582 images of VOC's trainaug with one or two classes each.
VOC_COUNTS = (778,) * 20
CHANNELS = 512
START, END = '<!-- make bench: start -->', '<!-- make bench: end -->'
HAS_PYDENSECRF = importlib.util.find_spec('pydensecrf') is not None


class Row(NamedTuple):
    """A line of the table.

    Attributes:
        measure: Called with the device and the number of turns.
        what: What is compared with what.
        goal: What the ratio shall not exceed.
        gpu: It is measured on a GPU, too, where there is one.
        why_not: Why it cannot be measured here.
    """

    measure: Callable[[str, int], Ratio]
    what: str
    goal: float
    gpu: bool = False
    why_not: str = ''


def training_step(
    name: str, counts: Sequence[int], labels: int, device: str, turns: int
) -> Ratio:
    """Compare training steps of RCA and plain CAM, 8 images of 368 pixels."""
    config = load_config(str(CONFIGS / f'rca_vgg16_30e_{name}_paper.py'))
    return step_ratio(config, counts, labels, device, turns=turns)


def contrast(device: str, turns: int) -> Ratio:
    """Compare the loss of 24 regions with its two matrix products."""
    images, labels, classes = 8, 3, len(COUNTS)
    row_class = torch.arange(classes).repeat_interleave(torch.tensor(COUNTS))
    row_class = row_class.to(device)
    rows = torch.randn(len(row_class), CHANNELS, device=device)
    filled = torch.ones_like(row_class, dtype=torch.bool)
    valid = torch.zeros(images, classes, dtype=torch.bool)
    for image in valid:
        image[torch.randperm(classes)[:labels]] = True
    valid = valid.to(device)
    regions = torch.randn(images, classes, CHANNELS, device=device)
    regions.requires_grad_()
    loss = MODELS.build(dict(type='mmrca.RegionMixupNCELoss'))
    generator = torch.Generator().manual_seed(0)
    few = torch.randn(images * labels, CHANNELS, device=device)
    gradient = torch.randn(len(few), len(rows), device=device)

    def ours() -> None:
        loss(
            *(regions, valid, rows, row_class, filled, generator),
            images * labels,
        ).backward()

    def products() -> None:
        few @ rows.T
        gradient @ rows

    seconds = take_turns(dict(ours=ours, theirs=products), turns, device)
    return ratio(**seconds)


def kmeans(device: str, turns: int) -> Ratio:
    """Compare a refresh of VOC's prototypes with scikit-learn's."""
    ways = {}
    for name, kind in dict(ours='torch', theirs='sklearn').items():
        memory = MODELS.build(
            dict(
                type='mmrca.RegionMemory',
                num_classes=len(VOC_COUNTS),
                channels=CHANNELS,
                kmeans=kind,
            )
        )
        memory = memory.to(device)
        classes = [c for c, n in enumerate(VOC_COUNTS) for _ in range(n)]
        memory.bind(classes, b'benchmark', 8)
        fill(memory, torch.Generator().manual_seed(0))
        ways[name] = partial(memory.refresh, 0)
    return ratio(**take_turns(ways, turns, device))


def dense_crf(labels: int, device: str, turns: int) -> Ratio:
    """Compare the dense CRF with pydensecrf."""
    image = draw(0)
    scores = rough_scores(image, labels)
    ways = dict(
        ours=partial(by_numba, image, scores),
        theirs=partial(by_pydensecrf, image, scores),
    )
    return ratio(**take_turns(ways, turns))


def label_making(device: str, turns: int) -> Ratio:
    """Compare the pipeline with a straightforward script."""
    config = load_config(str(CONFIGS / 'cam_mobilenet-v2_8e_voc20-mini.py'))
    init_default_scope('mmseg')
    config.model.backbone.init_cfg = None
    model = MODELS.build(config.model).eval()
    backend = 'pydensecrf' if HAS_PYDENSECRF else 'numba'
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for folder in ('ours', 'script'):
            (root / folder).mkdir()
        items = [_drawn(root, i) for i in range(2)]
        labeller = Labeller(SETTINGS, 'class')
        out = root / 'ours'
        job = Job(labeller, *classes_and_palette(config), '', out, None)
        ways = dict(
            ours=partial(by_pipeline, job, model, items, 1),
            theirs=partial(script, job, model, items, backend),
        )
        return ratio(**take_turns(ways, turns))


def _drawn(root: Path, number: int) -> LabelInput:
    image = draw(number)
    mask = (image[..., 0] // 128).astype(np.uint8)
    path, mask_path = root / f'{number}.jpg', root / f'{number}.png'
    cv2.imwrite(str(path), image)
    cv2.imwrite(str(mask_path), mask)
    size = image.shape[:2]
    return LabelInput(str(number), str(path), [0, number + 1], size, mask_path)


def threshold_curve(device: str, turns: int) -> Ratio:
    """Compare the one-pass curve over 100 thresholds with a loop."""
    classes, steps = 20, 100
    present = torch.zeros(classes, device=device)
    present[:3] = 1
    cams = torch.rand(classes, 375, 500, device=device)
    target = torch.randint(0, 4, (375, 500), device=device)

    def loop() -> None:
        for step in range(steps):
            cue = torch.full(target.shape, step / steps, device=device)
            found = fuse(cams * present[:, None, None], cue, range(classes), 0)
            confusion_matrix(found, target, classes + 1)

    ways = dict(
        ours=partial(threshold_confusion, cams, present, target, steps),
        theirs=loop,
    )
    return ratio(**take_turns(ways, turns, device))


MISSING = '' if HAS_PYDENSECRF else 'pydensecrf is not installed'
ROWS = {
    'step_voc': Row(
        partial(training_step, 'voc12', VOC_COUNTS, 2),
        'training step at the size of VOC: RCA / plain CAM',
        1.05,
        gpu=True,
    ),
    'step_coco': Row(
        partial(training_step, 'coco14', COUNTS, 3),
        'training step at the size of COCO: RCA / plain CAM',
        1.10,
        gpu=True,
    ),
    'contrast': Row(
        contrast,
        'contrast of 24 regions with 241,035 rows, forward and backward: '
        'the loss / its two matrix products',
        2.0,
        gpu=True,
    ),
    'kmeans': Row(
        kmeans,
        'prototypes of 15,560 rows of 20 classes: K-means / scikit-learn',
        1.0,
        gpu=True,
    ),
    'crf_3': Row(
        partial(dense_crf, 3),
        'dense CRF with 3 labels, 500 x 366 pixels: numba / pydensecrf',
        0.5,
        why_not=MISSING,
    ),
    'crf_21': Row(
        partial(dense_crf, 21),
        'dense CRF with 21 labels: numba / pydensecrf',
        1.0,
        why_not=MISSING,
    ),
    'labels': Row(
        label_making,
        'labels of two images: the pipeline / a straightforward script '
        f'with {"our CRF" if MISSING else "pydensecrf"} over 21 labels',
        0.5,
    ),
    'threshold_curve': Row(
        threshold_curve,
        'confusion at 100 thresholds: one pass / a loop',
        0.1,
        gpu=True,
    ),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    add = parser.add_argument
    add('--rows', nargs='+', default=list(ROWS), choices=list(ROWS))
    add('--device', choices=('cpu', 'cuda'), help='only there [CPU and GPU]')
    add('--turns', type=int, default=5)
    add('--doc', type=Path, default=REPO / 'docs' / 'benchmarks.md')
    add('--out', type=Path, default=Path('work_dirs/bench/summary.json'))
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise ValueError('--device cuda: torch sees no GPU.')
    found, lines = {}, []
    for name, row, device in _chosen(args.rows, args.device):
        start = time.perf_counter()
        cells = f'| `{name}` | {row.what} |'
        if row.why_not:
            lines.append(f'{cells} skipped: {row.why_not} | {row.goal:g} | |')
        else:
            result = row.measure(device, args.turns)
            found[name] = dict(result._asdict(), goal=row.goal)
            kept = 'yes' if result.ratio <= row.goal else '**no**'
            lines.append(f'{cells} {result} | {row.goal:g} | {kept} |')
        spent = time.perf_counter() - start
        print(f'{lines[-1]} {spent:.0f} s', flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(found, indent=2) + '\n')
    if set(args.rows) == set(ROWS) and args.device is None:
        write_table(args.doc, lines)


def _chosen(
    names: Sequence[str], device: str | None
) -> list[tuple[str, Row, str]]:
    chosen = [(name, ROWS[name], 'cpu') for name in names]
    if torch.cuda.is_available():
        chosen += [(f'{n}_gpu', ROWS[n], 'cuda') for n in names if ROWS[n].gpu]
    return [row for row in chosen if device in (None, row[2])]


def write_table(doc: Path, lines: Sequence[str]) -> None:
    """Replace what stands between the two markers of a document.

    Raises:
        ValueError: A marker is missing.
    """
    text = doc.read_text()
    if START not in text or END not in text:
        raise ValueError(f'{doc} has no lines {START} and {END}; add them')
    table = [
        machine(),
        '',
        '| row | what | ratio (quartiles) | goal | met |',
        '|---|---|---|---|---|',
        *lines,
    ]
    before, rest = text.split(START)
    after = rest.split(END)[1]
    body = '\n'.join(table)
    doc.write_text(f'{before}{START}\n{body}\n{END}{after}')


def machine() -> str:
    """Name what it was measured on."""
    cpu = 'unknown CPU'
    info = Path('/proc/cpuinfo')
    if info.exists():
        names = [n for n in info.read_text().splitlines() if 'model name' in n]
        cpu = names[0].partition(': ')[2] if names else cpu
    gpu = ''
    if torch.cuda.is_available():
        gpu = f', {torch.cuda.get_device_name()}'
    load = f'load {os.getloadavg()[2]:.1f} in the last 15 minutes'
    cores = f'{os.cpu_count()} cores'
    return f'{cpu}, {cores}{gpu}, torch {torch.__version__}, {load}.'


if __name__ == '__main__':
    run(main)
