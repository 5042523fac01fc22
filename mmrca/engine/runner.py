"""mmengine's Runner, shorter on the screen."""

import logging
from typing import Any

from mmengine import runner
from mmengine.logging import MMLogger

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
    """

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build the logger, as mmengine calls it."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_is_of_use)
        logger.info(f'config and full log: {self.log_dir}')
        return logger


def _is_of_use(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    of_runner = record.pathname == runner.runner.__file__
    # The optimizer's list has three records for each of its parameters.
    chatter = message.startswith(('paramwise_options -- ', *_CHATTER))
    return not (chatter or (of_runner and '\n' in message))
