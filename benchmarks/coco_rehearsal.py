"""A training of COCO 2014's size, RCA beside its plain CAM.

    python -m benchmarks.coco_rehearsal                 # about 15 minutes
    python -m benchmarks.coco_rehearsal --size 368      # with a GPU

Lists 82,783 images (links to a few drawn ones) with COCO's number of images of
each class, and trains by configs/rca/rca_vgg16_30e_coco14_paper.py with
mmengine's Runner, contrast on and all memory rows filled. RCA and plain CAM
are processes of their own, for the peak memory, and take turns at the
iterations. RCA's training ends with a refresh of the prototypes and a
checkpoint, from which it is resumed.

Images are smaller than the recipe's, so that it ends in time. That makes RCA
look dearer: the contrast costs the same for images of any size. So the step at
the recipe's size is measured, too, as make bench does. Times are CPU times, or
with a GPU those that passed.
"""

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from benchmarks.step import fill, make_plain, step_ratio
from benchmarks.timing import clock, ratio
from mmrca.cli import load_config, run
from mmrca.engine.runner import Runner

IMAGES = 82_783
# Images of each class in COCO's annotations/instances_train2014.json, in the
# order of its categories; pycocotools counts them as
# len(coco.getImgIds(catIds=[category])). Of its images 702 show no class, here
# all show one.
COUNTS = (
    45174, 2287, 8606, 2442, 2243, 2791, 2464, 4321, 2098, 2893, 1205, 1214,
    481, 3844, 2241, 2818, 3041, 2068, 1105, 1389, 1518, 668, 1324, 1798, 3924,
    2749, 4861, 2667, 1631, 1511, 2209, 1170, 2986, 1625, 1804, 1884, 2511,
    2343, 2368, 5968, 1771, 6518, 2537, 3097, 2493, 5028, 1618, 1171, 1645,
    1216, 1340, 1186, 821, 2202, 1062, 2080, 8950, 3170, 3084, 2539, 8378,
    2317, 3191, 2475, 1290, 2180, 1471, 3322, 1089, 2003, 151, 3291, 1671,
    3734, 3159, 2530, 673, 1510, 128, 700,
)  # fmt: skip
CONFIGS = Path(__file__).parents[1] / 'configs/rca'
CONFIG = CONFIGS / 'rca_vgg16_30e_coco14_paper.py'
# File systems limit the links to a file.
DRAWN = 8
MB = 2**20
# Turns of the two processes: 0 plain, 1 RCA.
_turns: Sequence[Any] = ()


def main(argv: Sequence[str] | None = None) -> None:
    """Rehearse, print what came out, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    add = parser.add_argument
    add('--images', type=int, default=IMAGES)
    add('--size', type=int, default=96, help='of a side, in pixels')
    add('--batch-size', type=int, default=8)
    add('--iterations', type=int, default=100)
    add('--step-turns', type=int, default=5, help="of the recipe's step")
    add('--threads', type=int, default=torch.get_num_threads())
    add('--out', type=Path, default=Path('work_dirs/rehearsal/summary.json'))
    args = parser.parse_args(argv)
    result = rehearse(args)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2) + '\n')
    print('\n'.join(f'{k:46}{v}' for k, v in result.items()))


def rehearse(args: argparse.Namespace) -> dict[str, object]:
    """Train both, resume, and measure the step at the recipe's size."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        counts = write_data(root, args.images, args.size)
        # Forking would copy what this process has loaded.
        context = multiprocessing.get_context('spawn')
        turns = context.Semaphore(1), context.Semaphore(0)
        with ProcessPoolExecutor(2, context, _start, (turns, args)) as pool:
            futures = [
                pool.submit(train, root, kind, args)
                for kind in ('plain', 'rca')
            ]
            plain, rca = (future.result() for future in futures)
        with ProcessPoolExecutor(1, context, _start, (turns, args)) as pool:
            resumed = pool.submit(resume, root, args).result()
    print('both trained and resumed; now the step at the recipe', flush=True)
    torch.set_num_threads(args.threads)
    config = load_config(str(CONFIG))
    recipe = None
    if args.step_turns:
        recipe = step_ratio(config, counts, 3, device(), turns=args.step_turns)
    return summary(args, counts, plain, rca, resumed, recipe)


def summary(
    args: argparse.Namespace,
    counts: Sequence[int],
    plain: dict,
    rca: dict,
    resumed: dict,
    recipe: object,
) -> dict[str, object]:
    """Name what was measured."""
    step = float(np.median(rca['steps']))
    epoch = step * args.images / args.batch_size
    rows = rca['rows_bytes'] / MB
    return {
        'images, rows': f'{args.images:,}, {sum(counts):,}',
        'size, batch, iterations': (
            f'{args.size}, {args.batch_size}, {args.iterations}'
        ),
        'device, threads': f'{device()}, {args.threads}',
        'load when it ended': f'{os.getloadavg()[1]:.1f}',
        'loading the list (s)': round(rca['build_dataloader'], 1),
        'step of plain CAM (s)': round(float(np.median(plain['steps'])), 3),
        'step of RCA (s)': round(step, 3),
        'step, RCA / plain CAM': str(ratio(rca['steps'], plain['steps'])),
        'step at 368 pixels and 8 images (goal 1.10)': str(recipe),
        'rows (MB)': round(rows),
        'peak of plain CAM (MB)': round(plain['peak']),
        'peak of RCA in steps (MB)': round(rca['peak_steps']),
        'peak of RCA (MB)': round(rca['peak']),
        'RCA - plain CAM in rows (goal 2)': round(
            (rca['peak'] - plain['peak']) / rows, 2
        ),
        'refresh (s)': round(rca['refresh'], 1),
        'refresh in epochs (goal .01)': round(rca['refresh'] / epoch, 5),
        'checkpoint of plain CAM (MB)': round(plain['checkpoint_bytes'] / MB),
        'checkpoint (MB)': round(rca['checkpoint_bytes'] / MB),
        'saving it (s passed)': round(rca['save_checkpoint'], 1),
        'resuming (s passed)': round(resumed['load_or_resume'], 1),
        'peak of the resumed training (MB)': round(resumed['peak']),
    }


def write_data(root: Path, images: int, size: int) -> list[int]:
    """Write a list and its images.

    Returns:
        The number of images of each class.
    """
    folder = root / 'images'
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(DRAWN):
        coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, (size, size))
        cv2.imwrite(str(root / f'{i}.jpg'), picture)
    for i in range(images):
        os.link(root / f'{i % DRAWN}.jpg', folder / f'{i:012d}.jpg')
    counts = [max(1, n * images // IMAGES) for n in COUNTS]
    # Dealt out in turn: no image gets a class twice, all get 2 or 3.
    labels: list[list[int]] = [[] for _ in range(images)]
    pairs = chain.from_iterable(map(repeat, range(len(counts)), counts))
    for k, c in enumerate(pairs):
        labels[k % images].append(c)
    lines = (f'{i:012d} {" ".join(map(str, c))}' for i, c in enumerate(labels))
    (root / 'list.txt').write_text('\n'.join(lines) + '\n')
    return counts


def device() -> str:
    """Say where the training runs."""
    return 'cuda' if torch.cuda.is_available() else 'cpu'


def make_config(root: Path, kind: str, args: argparse.Namespace) -> Config:
    """Change the recipe's data, and its length to some iterations."""
    config = load_config(str(CONFIG))
    config.work_dir, config.experiment_name = str(root / kind), kind
    config.log_level = 'WARNING'
    loader = config.train_dataloader
    loader.update(
        batch_size=args.batch_size, num_workers=0, persistent_workers=False
    )
    loader.dataset.update(
        data_root=None,
        ann_file=str(root / 'list.txt'),
        data_prefix=dict(img_path=str(root / 'images')),
    )
    for step in loader.dataset.pipeline:
        for key in ('scale', 'crop_size'):
            if key in step:
                step[key] = (args.size, args.size)
    config.model.data_preprocessor.size = (args.size, args.size)
    config.model.backbone.init_cfg = None
    # Random weights would pass no gate, and no row would be written.
    config.model.memory.gate = 0.0
    hooks = config.default_hooks
    hooks.memory_bank.update(
        warm_up=0, refresh_interval=args.iterations, by_epoch=False
    )
    hooks.checkpoint.update(by_epoch=False, interval=args.iterations)
    hooks.pop('visualization')
    if kind == 'plain':
        make_plain(config.model)
        hooks.pop('memory_bank')
    for part in ('dataloader', 'evaluator', 'cfg'):
        config[f'val_{part}'] = config[f'test_{part}'] = None
    config.param_scheduler = None
    config.train_cfg = dict(
        type='IterBasedTrainLoop', max_iters=args.iterations
    )
    return config


class TakeTurns(Hook):
    """Time the iterations of a training that alternates with another.

    It is the last to act before an iteration and the first to end it but for
    what writes the memory, so the loading of the images is not in its times.

    Args:
        own: Semaphore that says whose turn it is.
        other: That of the other training.
        last: Iteration before which the peak of the steps is read.
    """

    priority = 'LOWEST'

    def __init__(self, own: Any, other: Any, last: int) -> None:
        self.own, self.other, self.last = own, other, last
        self.steps: list[float] = []
        self.peak = 0.0

    def before_train(self, runner: Runner) -> None:
        """Fill the memory, once it has rows."""
        memory = getattr(runner.model, 'memory', None)
        if memory is not None:
            fill(memory, torch.Generator().manual_seed(0))

    def before_train_iter(self, runner: Runner, **batch: Any) -> None:
        """Wait for the other training."""
        if not self.own.acquire(timeout=600):
            raise RuntimeError('the other training has stopped')
        self.start = clock(device())

    def after_train_iter(self, runner: Runner, **batch: Any) -> None:
        """Hand the turn over."""
        self.steps.append(clock(device()) - self.start)
        if runner.iter < self.last:
            self.peak = peak()
        if runner.iter % 10 == 9:
            kind = Path(runner.work_dir).name
            text = f'{kind}: {runner.iter + 1} iterations'
            print(text, flush=True)
        self.other.release()


def peak() -> float:
    """Return the most memory that this process has had, in MB."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def train(root: Path, kind: str, args: argparse.Namespace) -> dict:
    """Train one of the two, in a process of its own."""
    config = make_config(root, kind, args)
    seconds: dict[str, float] = {}
    runner = Runner.from_cfg(config)
    turns = _turns if kind == 'plain' else _turns[::-1]
    hook = TakeTurns(*turns, last=args.iterations - 1)
    runner.register_hook(hook)
    timed(runner, 'build_dataloader', time.process_time, seconds)
    timed(runner, 'save_checkpoint', time.perf_counter, seconds)
    memory = getattr(runner.model, 'memory', None)
    if memory is not None:
        timed(memory, 'refresh', lambda: clock(device()), seconds)
    runner.train()
    checkpoint = Path(config.work_dir) / f'iter_{args.iterations}.pth'
    rows = 0 if memory is None else memory.rows.numel() * 4
    return seconds | dict(
        # The first two warm up, the last refreshes and saves.
        steps=hook.steps[2:-1],
        peak_steps=hook.peak,
        peak=peak(),
        rows_bytes=rows,
        checkpoint_bytes=checkpoint.stat().st_size,
    )


def resume(root: Path, args: argparse.Namespace) -> dict:
    """Go on with RCA's training for two iterations."""
    config = make_config(root, 'rca', args)
    config.resume = True
    config.train_cfg.max_iters = args.iterations + 2
    config.experiment_name = 'resumed'
    runner = Runner.from_cfg(config)
    seconds: dict[str, float] = {}
    timed(runner, 'load_or_resume', time.perf_counter, seconds)
    runner.train()
    memory = runner.model.memory
    assert memory.filled.all() and runner.iter == args.iterations + 2
    return seconds | dict(peak=peak())


def timed(
    owner: object,
    name: str,
    read: Callable[[], float],
    seconds: dict[str, float],
) -> None:
    """Let a method write how long its last call took."""
    method = getattr(owner, name)

    def call(*args: Any, **options: Any) -> Any:
        start = read()
        result = method(*args, **options)
        seconds[name] = read() - start
        return result

    setattr(owner, name, call)


def _start(turns: Sequence[Any], args: argparse.Namespace) -> None:
    global _turns
    _turns = turns
    torch.set_num_threads(args.threads)


if __name__ == '__main__':
    run(main)
