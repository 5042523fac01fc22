"""When the region memory changes during training."""

from typing import Annotated

import torch
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import Runner
from pydantic import Field

from mmrca.checkpoint import unwrap
from mmrca.checks import Count
from mmrca.datasets.image_level_dataset import unwrap_dataset
from mmrca.models.region_memory import RegionMemory
from mmrca.registry import HOOKS

_Part = Annotated[float, Field(gt=0, lt=1)]


@HOOKS.register_module()
class MemoryBankHook(Hook):
    """Bind, write and refresh the region memory, and log its state.

    How a row is written (momentum, gate) and how prototypes are made
    (K-means) is set in ``model.memory``. Periods are epochs, or iterations
    with ``by_epoch=False``.

    Args:
        warm_up: Period in which the contrast starts (0: at once); a number
            between 0 and 1 is a share of the training.
        refresh_interval: Periods between two runs of K-means.
        by_epoch: Unit of ``warm_up`` and ``refresh_interval``.
    """

    # Before CheckpointHook, so that saved prototypes match saved rows, and
    # before LoggerHook, so that the log shows this iteration's metrics.
    priority = 'NORMAL'

    def __init__(
        self,
        warm_up: Annotated[int, Field(ge=0)] | _Part = 2,
        refresh_interval: Count = 1,
        by_epoch: bool = True,
    ) -> None:
        self.warm_up = warm_up
        self.refresh_interval = refresh_interval
        self.by_epoch = by_epoch

    def before_train(self, runner: Runner) -> None:
        """Bind the memory to the training set's rows.

        ``before_run`` would be too early: it precedes the loading of the
        checkpoint that is resumed.

        Raises:
            ValueError: The model has no memory, or its rows are another
                data set's, or it assigns none.
        """
        memory = getattr(unwrap(runner.model), 'memory', None)
        if memory is None:
            raise ValueError(
                'MemoryBankHook needs a model with a memory: set '
                'model.memory or remove the hook from the config.'
            )
        dataset = unwrap_dataset(runner.train_dataloader.dataset)
        if not hasattr(dataset, 'row_class'):
            raise ValueError(
                'train_dataloader.dataset must be an '
                'mmrca.ImageLevelDataset, which assigns memory rows, not '
                f'{type(dataset).__name__}.'
            )
        memory.bind(
            dataset.row_class,
            dataset.fingerprint,
            runner.train_dataloader.batch_size,
            runner.seed,
            dataset.labels_per_image,
        )
        self.memory: RegionMemory = memory
        self._passed = torch.zeros(2, device=memory.rows.device)
        loggers = [h for h in runner.hooks if isinstance(h, LoggerHook)]
        self._log_interval = loggers[0].interval if loggers else 0
        count, channels = memory.rows.shape
        runner.logger.info(
            f'Region memory: {count} rows x {channels} channels, '
            f'{memory.rows.nbytes / 2**20:.1f} MB'
        )

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Start the contrast after the warm-up and seed the mixup."""
        period = runner.epoch if self.by_epoch else runner.iter
        if isinstance(self.warm_up, float):
            period = runner.iter / runner.max_iters
        self.memory.contrast_active.fill_(period >= self.warm_up)
        # Seeded anew each iteration, so a resumed run draws what an
        # unbroken one would have drawn.
        self.memory.generator.manual_seed(self._seed(runner, stream=0))

    @staticmethod
    def _seed(runner: Runner, stream: int) -> int:
        return (runner.seed * 1_000_003 + runner.iter) * 2 + stream

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Write the staged regions; refresh when it is time; log."""
        self._passed += torch.stack(self.memory.write(runner.iter))
        if not self.by_epoch and self.every_n_train_iters(
            runner, self.refresh_interval
        ):
            self._refresh(runner)
        # When LoggerHook does: epochs may be shorter than its interval.
        if self.every_n_inner_iters(batch_idx, self._log_interval) or (
            self._log_interval
            and self.end_of_epoch(runner.train_dataloader, batch_idx)
        ):
            self._log(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Refresh the prototypes when it is time."""
        if self.by_epoch and self.every_n_epochs(
            runner, self.refresh_interval
        ):
            self._refresh(runner)

    def _refresh(self, runner: Runner) -> None:
        inertia, shift = self.memory.refresh(self._seed(runner, stream=1))
        runner.message_hub.update_scalar('train/kmeans_inertia', inertia)
        runner.message_hub.update_scalar('train/prototype_shift', shift)

    def _log(self, runner: Runner) -> None:
        passed, seen = self._passed.tolist()
        self._passed.zero_()
        filled, age = self.memory.state(runner.iter)
        for name, value in (
            ('memory_filled', filled),
            ('memory_age', age),
            ('gate_passed', passed / max(seen, 1)),
        ):
            runner.message_hub.update_scalar(f'train/{name}', value)
