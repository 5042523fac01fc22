"""How long OpenMP's threads may spin while they wait: seconds of a step.

    python -m benchmarks.wait_policy

They wait for each other, and by default spin, unless told to sleep, at once
(OMP_WAIT_POLICY=PASSIVE) or after some rounds (GOMP_SPINCOUNT; by default
300,000). The script trains a small network on all cores, first beside what
else the machine does, then beside programs of its own that keep every core
busy. Each policy has a process of its own; they take turns.
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

POLICIES = {
    'default': {},
    'PASSIVE': {'OMP_WAIT_POLICY': 'PASSIVE'},
    **{
        f'GOMP_SPINCOUNT={rounds}': {'GOMP_SPINCOUNT': str(rounds)}
        for rounds in (1_000, 10_000, 100_000)
    },
}
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


def serve(steps: int) -> None:
    """Train whenever a line comes in, and print the seconds of a step."""
    for _ in sys.stdin:
        print(train(steps), flush=True)


def start(policy: str, steps: int) -> subprocess.Popen:
    """Start a process that trains by a policy when it is asked to."""
    others = {k: v for k, v in os.environ.items() if k not in SPINNING}
    # Not by run(), which would set what is measured here.
    code = f'from benchmarks import wait_policy as w; w.serve({steps})'
    return subprocess.Popen(
        [sys.executable, '-c', code],
        env=others | POLICIES[policy],
        cwd=REPO,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )


def ask(process: subprocess.Popen) -> float:
    """Let a process train; return the seconds of a step."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write('\n')
    return float(process.stdout.readline())


def compare(
    processes: dict[str, subprocess.Popen], turns: int, busy: int
) -> None:
    """Measure all in turns, beside so many busy programs, and print."""
    others = [
        subprocess.Popen([sys.executable, '-c', BUSY]) for _ in range(busy)
    ]
    seconds: dict[str, list[float]] = {policy: [] for policy in POLICIES}
    try:
        for _ in range(turns):
            for policy, process in processes.items():
                seconds[policy].append(ask(process))
    finally:
        for other in others:
            other.kill()
    load = f'load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores'
    print(f'{busy} busy programs, {load}; seconds a step, over default:')
    for policy, found in seconds.items():
        compared = ratio(found, seconds['default'])
        print(f'{policy:24}{statistics.median(found):.3f} {compared}')
    sys.stdout.flush()


def main() -> None:
    """Measure and print."""
    args = parse_args()
    processes = {policy: start(policy, args.steps) for policy in POLICIES}
    try:
        for process in processes.values():  # the first call starts threads
            ask(process)
        for busy in (0, os.cpu_count() or 1):
            compare(processes, args.turns, busy)
    finally:
        for process in processes.values():
            process.kill()


if __name__ == '__main__':
    run(main)
