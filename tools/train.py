r"""Train a classifier (configs/rca) or a segmenter (configs/rca_seg).

Usage:
    python tools/train.py CONFIG
    python tools/train.py CONFIG --resume
    torchrun --nproc-per-node N tools/train.py CONFIG --launcher pytorch \
        --auto-scale-lr
"""

import argparse
from pathlib import Path
from zipfile import is_zipfile

from mmengine.config import Config
from mmengine.registry import DATA_SAMPLERS, HOOKS, LOOPS, Registry

from mmrca.checks import check_arguments
from mmrca.cli import (
    ConfigOptions,
    check_classes,
    existing_file,
    load_config,
    run,
    set_work_dir,
)
from mmrca.launch import add_launcher, set_launcher


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description='Train a model from a config.'
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir',
        help='folder for logs and checkpoints [work_dirs/CONFIG_NAME]',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from this checkpoint; without a path, from the latest '
        'one in the work dir, if there is any',
    )
    parser.add_argument(
        '--amp', action='store_true', help='mixed precision (needs a GPU)'
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the images of an iteration, on all '
        'processes together, over auto_scale_lr.base_batch_size',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        metavar='KEY=VALUE',
        help='config keys to change, such as train_cfg.max_epochs=5',
    )
    add_launcher(parser)
    return parser.parse_args()


def set_resume(config: Config, resume: str) -> None:
    """Start from a checkpoint: a path, or ``'auto'`` for the latest."""
    checkpoint = resume
    if resume == 'auto':
        checkpoint = latest_checkpoint(config.work_dir)
        if checkpoint is None:
            return
    existing_file(checkpoint, 'checkpoint')
    from mmrca.checkpoint import read_checkpoint

    saved = read_checkpoint(checkpoint)
    if not {'optimizer', 'meta'} <= saved.keys():
        raise ValueError(
            f'{checkpoint} holds weights but no state of a training; give '
            '--resume a checkpoint that a training wrote'
        )
    config.load_from = checkpoint
    config.resume = True


def latest_checkpoint(work_dir: str) -> str | None:
    """Find the newest checkpoint that a kill has not cut off."""
    files = Path(work_dir).glob('*.pth')
    newest = sorted(files, key=lambda f: f.stat().st_mtime, reverse=True)
    return next((str(f) for f in newest if is_zipfile(f)), None)


def set_amp(config: Config) -> None:
    """Turn mixed precision on."""
    from mmengine.device import get_device

    if get_device() == 'cpu':
        raise ValueError('--amp needs a GPU, leave it out on the CPU')
    kind = config.optim_wrapper.get('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise ValueError(f'--amp cannot change optim_wrapper.type={kind!r}')
    config.optim_wrapper.type = 'AmpOptimWrapper'
    config.optim_wrapper.setdefault('loss_scale', 'dynamic')


def set_auto_scale_lr(config: Config) -> None:
    """Let mmengine scale the learning rate with the batch size."""
    if 'base_batch_size' not in config.get('auto_scale_lr', {}):
        raise ValueError(
            '--auto-scale-lr needs auto_scale_lr.base_batch_size in the '
            'config, the batch size its learning rate is made for'
        )
    config.auto_scale_lr.enable = True


def check_options(config: Config) -> None:
    """Compare options of loop, hooks and samplers with their annotations.

    mmengine would notice some only after the first epoch, and others never.
    """
    for name, hook in (config.get('default_hooks') or {}).items():
        _check(f'default_hooks.{name}', HOOKS, hook)
    for name in ('train_dataloader', 'val_dataloader'):
        sampler = (config.get(name) or {}).get('sampler')
        _check(f'{name}.sampler', DATA_SAMPLERS, sampler)
    given = dict(config.get('train_cfg') or {})
    by_epoch = given.pop('by_epoch', True)
    default = 'EpochBasedTrainLoop' if by_epoch else 'IterBasedTrainLoop'
    _check('train_cfg', LOOPS, {'type': default, **given})
    for key in ('max_epochs', 'max_iters'):
        if given.get(key, 1) < 1:
            raise ValueError(
                f'train_cfg.{key} is {given[key]}; it must be 1 or more.'
            )


def _check(where: str, registry: Registry, options: dict | None) -> None:
    given = dict(options or {})
    kind = given.pop('type', None)
    found = registry.get(kind) if isinstance(kind, str) else None
    if found is not None:
        check_arguments(where, found.__init__, **given)


def main() -> None:
    """Train."""
    args = parse_args()
    config = load_config(args.config, args.cfg_options)
    set_work_dir(config, args.work_dir, args.config)
    if args.resume:
        set_resume(config, args.resume)
    if args.amp:
        set_amp(config)
    if args.auto_scale_lr:
        set_auto_scale_lr(config)
    check_classes(config)
    check_options(config)
    set_launcher(config, args.launcher, args.local_rank)
    from training_data import check_evaluator, check_training_data

    from mmrca.checkpoint import check_backbone, check_weights
    from mmrca.engine.runner import Runner

    runner = Runner.from_cfg(config)
    check_training_data(runner.train_dataloader.dataset)
    if runner.val_loop is not None:
        check_evaluator(runner.val_loop, 'val')
    if config.get('resume'):
        check_weights(runner.model, config.load_from)
    else:
        check_backbone(runner.model, config.model)
    runner.train()


if __name__ == '__main__':
    run(main)
