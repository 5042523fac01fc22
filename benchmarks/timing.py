"""How benchmarks measure: two things in turns, their ratio with its spread.

Both take turns, so what else the machine does slows both; the ratio is taken
turn by turn.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch


class Ratio(NamedTuple):
    """Median and quartiles of the ratios of all turns."""

    ratio: float
    low: float
    high: float

    def __str__(self) -> str:
        """Write all three."""
        return f'{self.ratio:.3f} ({self.low:.3f}-{self.high:.3f})'


def clock(device: str) -> float:
    """Read the clock that counts on a device, in seconds.

    Args:
        device: ``'cpu'`` for the CPU time of the whole process, which other
            programs hardly change; ``'cuda'`` for the time that passed when
            the GPU has done all it was given.
    """
    if device == 'cpu':
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def take_turns(
    ways: Mapping[str, Callable[[], object]],
    turns: int,
    device: str = 'cpu',
) -> dict[str, list[float]]:
    """Time each way once a turn, in seconds, after a turn that is dropped."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name, way in ways.items():
            start = clock(device)
            way()
            if turn:
                seconds[name].append(clock(device) - start)
    return seconds


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Compare the seconds of the same turns."""
    pairs = zip(ours, theirs, strict=True)
    low, middle, high = np.percentile([a / b for a, b in pairs], (25, 50, 75))
    return Ratio(float(middle), float(low), float(high))
