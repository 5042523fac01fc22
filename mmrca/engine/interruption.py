"""A training that is told to stop, by SIGTERM, and goes on from there.

Slurm sends the signal some time before it takes the machine away.
"""

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Thread, current_thread, main_thread
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop as MMEngineLoop
from mmengine.runner import Runner

from mmrca.steps import INTERRUPTED

_BATCHES = 'batches_done'
_INTERVAL = 10  # iterations between two times that processes ask each other


class EpochBasedTrainLoop(MMEngineLoop):
    """mmengine's loop, which can go on in the middle of an epoch."""

    def run_epoch(self) -> None:
        """Train one epoch, without the batches of an interrupted one."""
        info = self.runner.message_hub.runtime_info
        done = info.pop(_BATCHES, 0)
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for number, batch in enumerate(self.dataloader):
            if number >= done:
                self.run_iter(number, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1


class InterruptionHook(Hook):
    """After SIGTERM finish the iteration, save a checkpoint and exit with 0.

    ``--resume`` goes on from that checkpoint, which is deleted when the
    training has ended. The last iteration is not interrupted.
    """

    # After the hooks whose work the checkpoint should hold.
    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        """Listen to the signal."""
        self._asked = False
        if current_thread() is not main_thread():
            return
        signal.signal(signal.SIGTERM, self._ask)
        loaders = [runner.train_dataloader]
        if runner.val_loop is not None:
            loaders.append(runner.val_dataloader)
        for loader in loaders:
            start = loader.worker_init_fn
            loader.worker_init_fn = partial(_start_worker, start)

    def _ask(self, *_: object) -> None:
        self._asked = True

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Save and exit if any process was told to stop.

        Raises:
            SystemExit: With status 0.
        """
        done = runner.iter + 1
        # Gradients that wait for more of them are in no checkpoint.
        if (
            done >= runner.max_iters
            or not runner.optim_wrapper.should_update()
        ):
            return
        if not self._all_asked(done, outputs):
            return
        runner.message_hub.update_info(_BATCHES, batch_idx + 1)
        runner.save_checkpoint(runner.work_dir, INTERRUPTED, by_epoch=False)
        runner.logger.info(
            f'stopped by SIGTERM after iteration {done}; {INTERRUPTED} is '
            'saved, and --resume goes on from there'
        )
        raise SystemExit(0)

    def _all_asked(self, done: int, outputs: dict | None) -> bool:
        if get_world_size() == 1:
            return self._asked
        if done % _INTERVAL:
            return False
        device = next(iter((outputs or {}).values())).device
        asked = torch.tensor(float(self._asked), device=device)
        all_reduce(asked, 'max')
        return bool(asked.item())

    def after_train(self, runner: Runner) -> None:
        """Stop listening, and forget the interruption."""
        if current_thread() is main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if is_main_process():
            Path(runner.work_dir, INTERRUPTED).unlink(missing_ok=True)


def _start_worker(start: Callable[[int], Any] | None, number: int) -> None:
    """Have a loader's worker ignore a SIGTERM that is not its parent's.

    A signal to all processes would end it before the iteration is finished.
    """
    if start is not None:
        start(number)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
