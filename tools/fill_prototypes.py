"""Fill the prototype CAM of a trained classifier, without training it again.

    python tools/fill_prototypes.py CONFIG CHECKPOINT OUT
    python tools/fill_prototypes.py CONFIG CHECKPOINT OUT --corrections DIR

CHECKPOINT may have been trained with a prototype CAM or without. OUT holds the
same weights with new prototypes, made of CONFIG's training images. Corrected
labels of some of them say for certain which cells show what, which the other
images gain by.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmrca.cli import (
    ConfigOptions,
    existing_file,
    existing_folder,
    load_config,
    run,
)

if TYPE_CHECKING:
    import numpy as np
    from mmengine.config import Config
    from mmengine.dataset import BaseDataset

    from mmrca.models import RCA


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        description='Fill the prototype CAM of a trained classifier.',
    )
    parser.add_argument('config', help='config with a prototype CAM')
    parser.add_argument('checkpoint', help='checkpoint of the classifier')
    parser.add_argument('out', help='checkpoint to write', type=Path)
    parser.add_argument(
        '--corrections',
        type=Path,
        metavar='DIR',
        help='folder of labels ID.png of training images that somebody drew; '
        'their cells become rows of the prototypes',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        metavar='KEY=VALUE',
        help='config keys to change',
    )
    return parser.parse_args(argv)


def read_corrections(
    folder: Path, config: Config, dataset: BaseDataset
) -> dict[int, np.ndarray]:
    """Read the labels that somebody drew, by the image's number."""
    from mmrca.pseudo_labels.corrections import (
        find_corrections,
        read_correction,
    )
    from mmrca.pseudo_labels.inputs import collect_inputs, data_infos
    from mmrca.pseudo_labels.photos import classes_and_palette

    infos = data_infos(dataset)
    inputs, _ = collect_inputs(infos)
    _, palette = classes_and_palette(config)
    found = find_corrections(folder, inputs, palette)
    numbers = {info['img_id']: i for i, info in enumerate(infos)}
    return {
        numbers[item.img_id]: read_correction(path, item.size, palette)
        for path, item in found.items()
    }


def load(config: Config, checkpoint: str) -> RCA:
    """Load a classifier whose checkpoint may have no prototypes."""
    from mmrca.checkpoint import load_classifier, read_checkpoint
    from mmrca.registry import MODELS

    weights = read_checkpoint(checkpoint)['state_dict']
    if bool(weights.get('prototype_cam.filled', False)):
        return load_classifier(config, checkpoint)
    plain = copy.deepcopy(config)
    plain.model.prototype_cam = None
    model = load_classifier(plain, checkpoint)
    empty = MODELS.build(config.model).prototype_cam
    model.prototype_cam = empty.to(next(model.parameters()).device)
    return model


def main(argv: Sequence[str] | None = None) -> None:
    """Fill and save."""
    args = parse_args(argv)
    config = load_config(args.config, args.cfg_options)
    existing_file(args.checkpoint, 'checkpoint')
    hook = config.get('default_hooks', {}).get('prototype_cam')
    if not config.get('model', {}).get('prototype_cam') or not hook:
        raise ValueError(
            f'config {args.config} has no model.prototype_cam and '
            'default_hooks.prototype_cam to fill'
        )
    if args.corrections:
        existing_folder(args.corrections, 'corrections')
    from mmengine.registry import init_default_scope

    from mmrca.engine.hooks.prototype_cam_hook import add_prototypes
    from mmrca.engine.prototype_filling import fill
    from mmrca.registry import DATASETS

    init_default_scope(config.get('default_scope', 'mmseg'))
    dataset = DATASETS.build(config.train_dataloader.dataset)
    drawn = {}
    if args.corrections:
        drawn = read_corrections(args.corrections, config, dataset)
        print(f'corrected labels: {len(drawn)} of {len(dataset)} images')
    model = load(config, args.checkpoint)
    settings = {k: v for k, v in hook.items() if k != 'type'}
    seed = config.get('randomness', {}).get('seed') or 0
    fill(model, dataset, **settings, seed=seed, corrections=drawn)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    assert model.prototype_cam is not None
    add_prototypes(Path(args.checkpoint), model.prototype_cam, args.out)
    print(f'{args.out} has the new prototypes')


if __name__ == '__main__':
    run(main)
