"""A training step in both memory formats, side by side.

    python -m benchmarks.channels_last CONFIG

The model puts its images into channels-last before the backbone. This undoes
it in every second step, and prints the ratio of CPU time on one thread. The
backbone starts from random weights, the images are noise.
"""

import argparse
from functools import partial

import torch
from mmengine.registry import init_default_scope
from torch import nn

from benchmarks.timing import ratio, take_turns
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
    ways = dict(
        ours=partial(step, model, images, torch.channels_last),
        theirs=partial(step, model, images, torch.contiguous_format),
    )
    found = ratio(**take_turns(ways, TURNS))
    print(f'{config.model.backbone.type}: channels-last / contiguous {found}')


def step(
    model: nn.Module, images: torch.Tensor, memory_format: torch.memory_format
) -> None:
    """Go forward and back."""

    def as_asked(_: nn.Module, inputs: tuple) -> tuple:
        return tuple(x.contiguous(memory_format=memory_format) for x in inputs)

    hook = model.backbone.register_forward_pre_hook(as_asked)
    model.cam_head(model.extract_feat(images)[-1]).mean().backward()
    hook.remove()


if __name__ == '__main__':
    run(main)
