"""Measure a trained model on the config's test set.

Usage:
    python tools/test.py CONFIG CHECKPOINT
    python tools/test.py CONFIG CHECKPOINT --out LABEL_DIR --show-dir IMAGE_DIR
"""

import argparse

from mmengine.config import Config

from mmrca.cli import (
    ConfigOptions,
    existing_file,
    load_config,
    run,
    set_work_dir,
)
from mmrca.launch import add_launcher, set_launcher


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description='Measure a trained model.'
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--work-dir', help='folder for the log [work_dirs/CONFIG_NAME]'
    )
    parser.add_argument(
        '--out', help='folder for the predicted label maps, one PNG an image'
    )
    parser.add_argument('--show-dir', help='folder for painted predictions')
    parser.add_argument(
        '--tta', action='store_true', help='test-time augmentation'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        metavar='KEY=VALUE',
        help='config keys to change, such as test_dataloader.batch_size=2',
    )
    add_launcher(parser)
    return parser.parse_args()


def set_tta(config: Config) -> None:
    """Average the predictions over the config's augmented views."""
    for key in ('tta_model', 'tta_pipeline'):
        if key not in config:
            raise ValueError(f'--tta needs {key} in the config')
    config.test_dataloader.dataset.pipeline = config.tta_pipeline
    config.tta_model.module = config.model
    config.model = config.tta_model


def set_show_dir(config: Config, show_dir: str) -> None:
    """Have the visualization hook paint every prediction into a folder."""
    hook = config.get('default_hooks', {}).get('visualization')
    if hook is None or 'visualizer' not in config:
        raise ValueError(
            '--show-dir needs default_hooks.visualization and visualizer in '
            'the config'
        )
    hook['draw'] = True
    config.visualizer['save_dir'] = show_dir


def main() -> None:
    """Test."""
    args = parse_args()
    config = load_config(args.config, args.cfg_options)
    config.load_from = existing_file(args.checkpoint, 'checkpoint')
    set_work_dir(config, args.work_dir, args.config)
    if args.show_dir:
        set_show_dir(config, args.show_dir)
    if args.tta:
        set_tta(config)
    for key in ('test_dataloader', 'test_evaluator', 'test_cfg'):
        if not config.get(key):
            raise ValueError(
                f'config {args.config} has no {key}, so there is nothing to '
                'test on; set it.'
            )
    set_launcher(config, args.launcher, args.local_rank)
    from foreground_check import ForegroundCheck
    from training_data import check_evaluator

    from mmrca.checkpoint import check_weights, unwrap
    from mmrca.engine.runner import Runner

    runner = Runner.from_cfg(config)
    runner.register_hook(ForegroundCheck())
    if args.out:
        from label_writer import LabelWriter

        runner.register_hook(LabelWriter(args.out))
    check_weights(runner.model, config.load_from)
    prototype_cam = getattr(unwrap(runner.model), 'prototype_cam', None)
    if prototype_cam is not None and not prototype_cam.filled:
        runner.logger.warning(
            f'{config.load_from} has no prototypes yet: it is measured by the '
            "head's maps. The last checkpoint of a training has them."
        )
    check_evaluator(runner.test_loop, 'test')
    runner.test()


if __name__ == '__main__':
    run(main)
