"""mmengine's Runner, shorter on the screen and lighter when it saves."""

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

from mmengine import runner
from mmengine.dist import is_main_process
from mmengine.logging import MMLogger
from torch import nn

from mmrca.checkpoint import write_checkpoint
from mmrca.engine.interruption import EpochBasedTrainLoop, InterruptionHook
from mmrca.folder_lock import remove_parts, sole_user

# What mmengine says at each start, or epoch, about itself.
_CHATTER = (
    'Distributed training is not used, all SyncBatchNorm',
    'The prefix is not set in metric class',
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
    'Exp name: ',
)


class Runner(runner.Runner):
    """A Runner whose lists of what it runs with go to its log file only.

    These are environment, config, hooks, and the options of each parameter,
    and what mmengine says about itself.

    The log file is as complete as mmengine's, and the config is a file of its
    own, too; on the screen these hundreds of lines hide what comes after.
    Checkpoints are written straight to their files, whole or not at all. A
    training has its folder for itself, and stops when SIGTERM asks it to, see
    :class:`mmrca.engine.interruption.InterruptionHook`.
    """

    def build_train_loop(self, loop: Any) -> Any:
        """Build the loop of the training, as mmengine calls it."""
        if isinstance(loop, dict):
            given = dict(loop)
            kind = given.pop('type', None)
            by_epoch = given.pop('by_epoch', False)
            if kind == 'EpochBasedTrainLoop' or (not kind and by_epoch):
                loop = EpochBasedTrainLoop(
                    self, self._train_dataloader, **given
                )
        return super().build_train_loop(loop)

    def load_checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        """Load a checkpoint, as mmengine calls it."""
        saved = super().load_checkpoint(*args, **kwargs)
        # It is Python, which mmengine would run when it resumes.
        saved.get('meta', {}).pop('config', None)
        return saved

    def train(self) -> nn.Module:
        """Train.

        Raises:
            ValueError: Another run uses the work dir.
        """
        self.register_hook(InterruptionHook())
        with ExitStack() as stack:
            if is_main_process():
                stack.enter_context(sole_user(self.work_dir))
                remove_parts(Path(self.work_dir))
            return super().train()

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build the logger, as mmengine calls it."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_is_of_use)
        logger.info(f'config and full log: {self.log_dir}')
        return logger

    def save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Save a checkpoint, as mmengine's hook calls it."""
        # mmengine gathers it in this method and leaves no other way in.
        with patch.object(runner.runner, 'save_checkpoint', _save):
            super().save_checkpoint(*args, **kwargs)


# mmengine's own function serialises into memory first, once more the size of
# the checkpoint.
_save_through_memory = runner.runner.save_checkpoint


def _save(checkpoint: dict, filename: str, **backend: Any) -> None:
    """Write a checkpoint; ``backend`` says where if not to a local file."""
    if '://' in filename or any(backend.values()):
        _save_through_memory(checkpoint, filename, **backend)
        return
    Path(filename).parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(filename, checkpoint)


def _is_of_use(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    of_runner = record.pathname == runner.runner.__file__
    # The optimizer's list has three records for each of its parameters.
    chatter = message.startswith(('paramwise_options -- ', *_CHATTER))
    return not (chatter or (of_runner and '\n' in message))
