"""Train a tiny model for long, and see that memory and steps stay the same.

    python -m tests.faults.long_run --iters 5000

Prints one JSON line: resident memory in MB and the median time of a step in ms
over each tenth of the training. The first tenth warms up.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from mmengine.hooks import Hook

import mmrca  # noqa: F401  (first: it cures torchvision)
from tests import tiny


class Watch(Hook):
    """Looks at memory and time after each iteration."""

    def __init__(self, parts: int = 10) -> None:
        self.parts = parts
        self.memory: list[float] = []
        self.steps: list[float] = []
        self._times: list[float] = []

    def before_train_iter(self, *args, **kwargs) -> None:
        self._began = time.process_time()

    def after_train_iter(self, runner, *args, **kwargs) -> None:
        self._times.append(time.process_time() - self._began)
        if len(self._times) == runner.max_iters // self.parts:
            pages = Path('/proc/self/statm').read_text().split()[1]
            size = os.sysconf('SC_PAGE_SIZE')
            self.memory.append(round(int(pages) * size / 2**20, 1))
            self.steps.append(round(1e3 * statistics.median(self._times), 2))
            self._times = []


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--iters', type=int, default=5000)
    args = parser.parse_args()
    labels = [[0], [1], [2], [0, 1], [1, 2], [0, 2], [0, 1, 2], [], [1], [2]]
    with tempfile.TemporaryDirectory() as folder:
        cfg = tiny.config(tiny.write_images(Path(folder) / 'data', labels))
        cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=args.iters)
        cfg.train_dataloader.sampler.type = 'InfiniteSampler'
        cfg.default_hooks.memory_bank.update(
            by_epoch=False, warm_up=2, refresh_interval=50
        )
        cfg.default_hooks.checkpoint = dict(
            type='CheckpointHook', by_epoch=False, interval=500,
            max_keep_ckpts=2,
        )  # fmt: skip
        cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
        runner = tiny.runner(cfg)
        watch = Watch()
        runner.register_hook(watch)
        runner.train()
    print(json.dumps(dict(memory=watch.memory, steps=watch.steps)))


if __name__ == '__main__':
    main()
