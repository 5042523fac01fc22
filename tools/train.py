r"""Train a classifier (configs/rca) or a segmenter (configs/rca_seg).

Usage:
    python tools/train.py CONFIG
    python tools/train.py CONFIG --resume
    torchrun --nproc-per-node N tools/train.py CONFIG --launcher pytorch \
        --auto-scale-lr
"""

import argparse
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from zipfile import is_zipfile

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DATA_SAMPLERS, HOOKS, LOOPS, Registry
from pydantic import Field

from mmrca.checks import (
    Count,
    NotNegative,
    Positive,
    check_arguments,
    check_value,
    unknown_option,
)
from mmrca.cli import (
    ConfigOptions,
    check_classes,
    existing_file,
    load_config,
    run,
    set_work_dir,
)
from mmrca.launch import add_launcher, set_launcher

_NotNegativeInt = Annotated[int, Field(ge=0)]
_Often = Count | Literal[-1]  # -1: never, or all
# Options of other packages' parts that these do not check.
RULES = {
    'randomness.seed': _NotNegativeInt,
    'model.data_preprocessor.size': Annotated[
        Sequence[Count], Field(min_length=2, max_length=2)
    ],
    'train_dataloader.batch_size': Count,
    'train_dataloader.num_workers': _NotNegativeInt,
    'val_dataloader.batch_size': Count,
    'val_dataloader.num_workers': _NotNegativeInt,
    'train_cfg.max_epochs': Count,
    'train_cfg.max_iters': Count,
    'train_cfg.val_begin': _NotNegativeInt,
    'train_cfg.val_interval': Count,
    'optim_wrapper.accumulative_counts': Count,
    'optim_wrapper.clip_grad.max_norm': Positive,
    'optim_wrapper.optimizer.lr': NotNegative,
    'optim_wrapper.optimizer.weight_decay': NotNegative,
    'default_hooks.checkpoint.interval': _Often,
    'default_hooks.checkpoint.max_keep_ckpts': _Often,
    'default_hooks.logger.interval': Count,
}


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
    """Check what mmengine would notice late or never, or worse than this.

    Raises:
        ValueError: An option is unknown, or its value of no use.
    """
    for key, rule in RULES.items():
        value = _value(config, key)
        if value is not None:
            check_value(key, value, rule)
    for name, hook in (config.get('default_hooks') or {}).items():
        _check(f'default_hooks.{name}', HOOKS, hook)
    for name in ('train_dataloader', 'val_dataloader'):
        sampler = (config.get(name) or {}).get('sampler')
        _check(f'{name}.sampler', DATA_SAMPLERS, sampler)
    given = dict(config.get('train_cfg') or {})
    by_epoch = given.pop('by_epoch', True)
    default = 'EpochBasedTrainLoop' if by_epoch else 'IterBasedTrainLoop'
    _check('train_cfg', LOOPS, {'type': default, **given})


def check_schedule(config: Config) -> None:
    """Say where a training ends before its learning rate has come down.

    As after ``--cfg-options train_cfg.max_epochs=5``. A schedule without an
    ``end`` follows by itself.
    """
    given = config.get('param_scheduler') or []
    schedules = given if isinstance(given, list) else [given]
    for number, schedule in enumerate(schedules):
        by_epoch = schedule.get('by_epoch', True)
        key = 'max_epochs' if by_epoch else 'max_iters'
        length = (config.get('train_cfg') or {}).get(key)
        end = schedule.get('end')
        warms_up = schedule.get('type') in ('LinearLR', 'ConstantLR')
        if length and end and end > length and not warms_up:
            place = f'.{number}' if isinstance(given, list) else ''
            print_log(
                f'The training ends at {length}, before the learning rate has '
                f'come down: param_scheduler{place}.end is {end}. Set it, '
                f'too, by --cfg-options param_scheduler{place}.end={length}.',
                'current',
            )


def _value(config: Config, key: str) -> Any:
    """Look a dotted key up; None where it is not."""
    found: Any = config
    for part in key.split('.'):
        found = found.get(part) if isinstance(found, dict | Config) else None
    return found


def _check(where: str, registry: Registry, options: dict | None) -> None:
    given = dict(options or {})
    kind = given.pop('type', None)
    found = registry.get(kind) if isinstance(kind, str) else None
    if found is None:
        return
    check_arguments(where, found.__init__, **given)
    parameters = inspect.signature(found).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in given if not open_ended else ():
        if name not in parameters:
            raise ValueError(unknown_option(f'{where} ({kind})', name, found))


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
    from foreground_check import ForegroundCheck
    from training_data import check_evaluator, check_training_data, describe

    from mmrca.checkpoint import check_backbone, check_weights
    from mmrca.engine.runner import Runner

    runner = Runner.from_cfg(config)
    runner.register_hook(ForegroundCheck())
    check_training_data(runner.train_dataloader.dataset)
    if runner.val_loop is not None:
        check_evaluator(runner.val_loop, 'val')
    describe(runner)
    check_schedule(config)
    if config.get('resume'):
        check_weights(runner.model, config.load_from)
    else:
        check_backbone(runner.model, config.model)
    runner.train()


if __name__ == '__main__':
    run(main)
