"""Running a tool as several processes, with or without GPUs.

torch is imported by what needs it: the options are read without it.
"""

import ctypes
import os
import signal
import sys
from argparse import ArgumentParser
from datetime import timedelta

from mmengine.config import Config

_PR_SET_PDEATHSIG = 1  # of linux/prctl.h
_DAYS = timedelta(days=7)  # the fastest process waits for the slowest


def die_with_parent() -> None:
    """Have the kernel end this process when the one that made it is killed.

    For ``preexec_fn`` of :mod:`subprocess`: a step that lived on would write
    into the folder of its successor.
    """
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def count_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def add_launcher(parser: ArgumentParser) -> None:
    """Add the options that say how the processes of a run were started."""
    parser.add_argument(
        '--launcher',
        choices=('none', 'pytorch', 'slurm', 'mpi'),
        default='none',
        help='how the processes were started [none: only this one]',
    )
    parser.add_argument(
        '--local-rank',
        '--local_rank',
        type=int,
        default=0,
        help='set by launchers that do not use the variable LOCAL_RANK',
    )


def set_launcher(config: Config, launcher: str, local_rank: int) -> None:
    """Set up a config for processes that a launcher started.

    On the CPU mmengine cannot set up ``--launcher pytorch`` itself: it selects
    a CUDA device before it joins the process group, and it wraps the model
    with ``device_ids=[rank]``, which DistributedDataParallel refuses there.
    This function joins the group first, over gloo, and spells out the wrapper
    with mmengine's values except ``device_ids``.

    Args:
        config: Changed in place, before the Runner is built from it.
        launcher: One of the choices of ``--launcher``.
        local_rank: This process's number, if no variable LOCAL_RANK says it.

    Raises:
        ValueError: If there is no GPU and the launcher is neither
            ``'none'`` nor ``'pytorch'``, or nothing launched this process.
    """
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    config.launcher = launcher
    if launcher == 'none':
        return
    _check_launched(launcher)
    from mmengine.device import get_device

    if get_device() == 'cpu':
        _join_on_cpu(config)


def join(launcher: str, local_rank: int) -> None:
    """Join the processes of a run that share work but no model.

    They only wait for each other and exchange a few words, so all of them
    do it over gloo, with or without GPUs. Arguments and errors are those of
    :func:`set_launcher`.
    """
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    if launcher == 'none':
        return
    _check_launched(launcher)
    import torch
    from mmengine.device import get_device
    from mmengine.dist import init_dist
    from torch.distributed import init_process_group, is_initialized

    if launcher != 'pytorch':
        init_dist(launcher, backend='gloo', timeout=_DAYS.total_seconds())
        return
    if get_device() == 'cuda':
        torch.cuda.set_device(int(os.environ['LOCAL_RANK']))
    if not is_initialized():
        init_process_group('gloo', timeout=_DAYS)


def _check_launched(launcher: str) -> None:
    if launcher == 'pytorch' and 'RANK' not in os.environ:
        raise ValueError(
            '--launcher pytorch is for processes that torchrun started'
        )
    from mmengine.device import get_device

    if launcher != 'pytorch' and get_device() == 'cpu':
        raise ValueError(
            f'--launcher {launcher} needs a GPU; without one use pytorch'
        )


def _join_on_cpu(config: Config) -> None:
    from torch.distributed import init_process_group, is_initialized

    if not is_initialized():
        init_process_group('gloo')
    config.model_wrapper_cfg = {
        'type': 'MMDistributedDataParallel',
        'device_ids': None,
        'broadcast_buffers': False,
        'find_unused_parameters': config.get('find_unused_parameters', False),
    }
