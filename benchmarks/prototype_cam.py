"""Give a trained classifier's checkpoint the prototypes of a prototype CAM.

    python benchmarks/prototype_cam.py CONFIG CHECKPOINT OUT

CONFIG has a prototype CAM, CHECKPOINT was trained with the config that has
none. What OUT then holds is what training with CONFIG would have ended with.
"""

import argparse
import copy
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmrca.checkpoint import load_classifier
from mmrca.cli import ConfigOptions, existing_file, load_config, run
from mmrca.engine.hooks.prototype_cam_hook import add_prototypes
from mmrca.engine.prototype_filling import fill
from mmrca.registry import DATASETS, MODELS


def main(argv: Sequence[str] | None = None) -> None:
    """Fill and save."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('out')
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions)
    args = parser.parse_args(argv)
    config = load_config(args.config, args.cfg_options)
    existing_file(args.checkpoint, 'checkpoint')
    fill_checkpoint(config, args.checkpoint, args.out)


def fill_checkpoint(config: Config, checkpoint: str, out: str) -> None:
    """Write the checkpoint again, with prototypes."""
    init_default_scope(config.get('default_scope', 'mmseg'))
    dataset = DATASETS.build(config.train_dataloader.dataset)
    plain = copy.deepcopy(config)
    plain.model.prototype_cam = None
    model = load_classifier(plain, checkpoint)
    empty = MODELS.build(config.model).prototype_cam
    model.prototype_cam = empty.to(next(model.parameters()).device)
    settings = dict(config.default_hooks.prototype_cam)
    settings.pop('type')
    fill(model, dataset, **settings, seed=config.randomness.seed)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    add_prototypes(Path(checkpoint), model.prototype_cam, Path(out))


if __name__ == '__main__':
    run(main)
