"""What OMP_WAIT_POLICY=PASSIVE brings and costs: seconds of a training step.

    python -m benchmarks.wait_policy

OpenMP's threads spin while they wait for each other, unless told to sleep.
The script trains a small network on all cores, first beside what else the
machine does, then beside programs of its own that keep every core busy. Each
figure comes from a new process; default and PASSIVE take turns.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import nn

from benchmarks.timing import ratio
from mmrca.cli import SPINNING, run

POLICIES = {'default': {}, 'passive': {'OMP_WAIT_POLICY': 'PASSIVE'}}
REPO = Path(__file__).parents[1]
BUSY = 'while True: pass'


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--turns', type=int, default=5, help='[5]')
    parser.add_argument('--steps', type=int, default=8, help='[8]')
    return parser.parse_args()


def train(steps: int) -> float:
    """Train a small segmenter on noise; return the seconds of a step."""
    layers: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 64), (64, 7)):
        layers += [nn.Conv2d(before, after, 3, padding=1)]
        layers += [nn.BatchNorm2d(after), nn.ReLU()]
    model = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    images = torch.randn(4, 3, 96, 96)
    masks = torch.randint(7, (4, 96, 96))
    start = 0.0
    for step in range(steps + 2):
        if step == 2:
            start = time.monotonic()
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), masks).backward()
        optimizer.step()
    return (time.monotonic() - start) / steps


def measure(policy: str, steps: int) -> float:
    """Train in a process of its own; return the seconds of a step."""
    others = {k: v for k, v in os.environ.items() if k not in SPINNING}
    # Not by run(), which would set what is measured here.
    code = f'from benchmarks import wait_policy as w; print(w.train({steps}))'
    command = [sys.executable, '-c', code]
    environment = others | POLICIES[policy]
    return float(subprocess.check_output(command, env=environment, cwd=REPO))


def compare(turns: int, steps: int, busy: int) -> None:
    """Measure both in turns, beside so many busy programs, and print."""
    others = [
        subprocess.Popen([sys.executable, '-c', BUSY]) for _ in range(busy)
    ]
    seconds: dict[str, list[float]] = {policy: [] for policy in POLICIES}
    try:
        for _ in range(turns):
            for policy in POLICIES:
                seconds[policy].append(measure(policy, steps))
    finally:
        for other in others:
            other.kill()
    default, passive = seconds['default'], seconds['passive']
    print(
        f'{busy} busy programs, load {os.getloadavg()[0]:.1f} on '
        f'{os.cpu_count()} cores: {statistics.median(default):.3f} s a step '
        f'by default, {statistics.median(passive):.3f} s passive, ratio '
        f'{ratio(passive, default)}',
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    args = parse_args()
    for busy in (0, os.cpu_count() or 1):
        compare(args.turns, args.steps, busy)


if __name__ == '__main__':
    run(main)
