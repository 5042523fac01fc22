"""mmengine's Runner, shorter on the screen."""

import logging
from typing import Any

from mmengine import runner
from mmengine.logging import MMLogger


class Runner(runner.Runner):
    """A Runner whose lists of what it runs with go to its log file only.

    These are environment, config, hooks, and the options of each parameter.

    The log file is as complete as mmengine's, and the config is a file of its
    own, too; on the screen these hundreds of lines hide what comes after.
    """

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build the logger, as mmengine calls it."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_is_no_list)
        logger.info(f'config and full log: {self.log_dir}')
        return logger


def _is_no_list(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    of_runner = record.pathname == runner.runner.__file__
    # The optimizer's list has three records for each of its parameters.
    of_optimizer = message.startswith('paramwise_options -- ')
    return not (of_optimizer or (of_runner and '\n' in message))
