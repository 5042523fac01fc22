"""A training step in both memory formats, side by side.

    python benchmarks/channels_last.py CONFIG

The model puts its images into channels-last before the backbone. This undoes
it in every second step, and prints the ratio of CPU time on one thread. The
backbone starts from random weights, the images are noise.
"""

import argparse
import time

import numpy as np
import torch
from mmengine.registry import init_default_scope
from torch import nn

from mmrca.cli import load_config, run
from mmrca.registry import MODELS

IMAGES, TURNS = 16, 10


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('config')
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config(args.config)
    init_default_scope(config.get('default_scope', 'mmseg'))
    config.model.backbone.init_cfg = None
    model = MODELS.build(config.model).train()
    images = torch.randn(IMAGES, 3, *config.model.data_preprocessor.size)
    step(model, images, torch.channels_last)
    ratios = [
        step(model, images, torch.contiguous_format)
        / step(model, images, torch.channels_last)
        for _ in range(TURNS)
    ]
    low, middle, high = np.percentile(ratios, (25, 50, 75))
    print(
        f'{config.model.backbone.type}: channels-last takes a step '
        f'{middle:.2f} ({low:.2f}-{high:.2f}) times as fast'
    )


def step(
    model: nn.Module, images: torch.Tensor, memory_format: torch.memory_format
) -> float:
    """Measure the CPU seconds of a forward and a backward pass."""

    def as_asked(_: nn.Module, inputs: tuple) -> tuple:
        return tuple(x.contiguous(memory_format=memory_format) for x in inputs)

    hook = model.backbone.register_forward_pre_hook(as_asked)
    start = time.thread_time()
    model.cam_head(model.extract_feat(images)[-1]).mean().backward()
    hook.remove()
    return time.thread_time() - start


if __name__ == '__main__':
    run(main)
