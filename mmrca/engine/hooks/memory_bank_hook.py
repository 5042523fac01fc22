"""Everything that changes the region memory during training."""

import torch
from mmengine.dist import broadcast, is_main_process
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import Runner
from torch import Generator, Tensor

from mmrca.checkpoint import unwrap
from mmrca.checks import check_count, check_share
from mmrca.models.region_memory import RegionMemory
from mmrca.ops.kmeans import group_rows, kmeans, squared_distances
from mmrca.ops.kmeans_sklearn import kmeans_sklearn
from mmrca.ops.memory import ring_rows, row_updates
from mmrca.registry import HOOKS

KMEANS = dict(torch=kmeans, sklearn=kmeans_sklearn)


@HOOKS.register_module()
class MemoryBankHook(Hook):
    """Bind, write and refresh the region memory (sections 3.1 and 3.3).

    Periods are epochs, or iterations with ``by_epoch=False``.

    Args:
        momentum: r, the weight of a row's old value.
        gate: nu, the class score p a region has to exceed to be written.
        warm_up: Period in which the contrast starts (0: at once).
        refresh_interval: Periods between two runs of K-means.
        by_epoch: Unit of ``warm_up`` and ``refresh_interval``.
        warm_start: Start K-means from the last prototypes.
        restarts: Starts of K-means, of which the best is kept.
        max_iters: Steps of K-means at most.
        kmeans: ``'torch'``, on the memory's device and all classes at once,
            or ``'sklearn'``.
        ring: Write a class's regions into its rows in turn, as the released
            code does, instead of each into its image's row.

    Raises:
        ValueError: A share is no number in 0..1, a period no whole number
            in its range or ``kmeans`` is none of the two.
    """

    # Before CheckpointHook, so that saved prototypes match saved rows, and
    # before LoggerHook, so that the log shows this iteration's figures.
    priority = 'NORMAL'

    def __init__(
        self,
        momentum: float = 0.99,
        gate: float = 0.7,
        warm_up: int = 2,
        refresh_interval: int = 1,
        by_epoch: bool = True,
        warm_start: bool = False,
        restarts: int = 1,
        max_iters: int = 100,
        kmeans: str = 'torch',
        ring: bool = False,
    ) -> None:
        for name, share in dict(momentum=momentum, gate=gate).items():
            check_share(f'MemoryBankHook.{name}', share)
        check_count('MemoryBankHook.warm_up', warm_up, 0)
        check_count('MemoryBankHook.refresh_interval', refresh_interval, 1)
        if kmeans not in KMEANS:
            raise ValueError(
                f"MemoryBankHook.kmeans must be 'torch' or 'sklearn', not "
                f'{kmeans!r}.'
            )
        self.momentum = momentum
        self.gate = gate
        self.warm_up = warm_up
        self.refresh_interval = refresh_interval
        self.by_epoch = by_epoch
        self.warm_start = warm_start
        self.restarts = restarts
        self.max_iters = max_iters
        self.kmeans = KMEANS[kmeans]
        self.ring = ring

    def before_train(self, runner: Runner) -> None:
        """Bind the memory to the training set's rows.

        ``before_run`` would be too early: it precedes the loading of the
        checkpoint that is resumed.

        Raises:
            ValueError: The model has no memory, or its rows are another
                data set's.
            TypeError: The data set assigns no rows.
        """
        self.memory = self._find_memory(runner)
        dataset = runner.train_dataloader.dataset
        if not hasattr(dataset, 'row_class'):
            raise TypeError(
                'train_dataloader.dataset must be an '
                'mmrca.ImageLevelDataset, which assigns memory rows, not '
                f'{type(dataset).__name__}.'
            )
        self.memory.bind(
            dataset.row_class,
            dataset.fingerprint,
            runner.train_dataloader.batch_size,
            runner.seed,
        )
        self._seen = torch.zeros(2, device=self.memory.rows.device)
        loggers = [h for h in runner.hooks if isinstance(h, LoggerHook)]
        self._log_interval = loggers[0].interval if loggers else 0
        size = self.memory.rows.numel() * self.memory.rows.element_size()
        runner.logger.info(
            f'Region memory: {len(self.memory.rows)} rows x '
            f'{self.memory.rows.shape[1]} channels, {size / 2**20:.1f} MB'
        )

    @staticmethod
    def _find_memory(runner: Runner) -> RegionMemory:
        memory = getattr(unwrap(runner.model), 'memory', None)
        if memory is None:
            raise ValueError(
                'MemoryBankHook needs a model with a memory: set '
                'model.memory or remove the hook from custom_hooks.'
            )
        return memory

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Open the contrast after the warm-up and seed the mixup."""
        period = runner.epoch if self.by_epoch else runner.iter
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
        self._write(runner.iter)
        if not self.by_epoch and self.every_n_train_iters(
            runner, self.refresh_interval
        ):
            self._refresh(runner)
        if self.every_n_inner_iters(batch_idx, self._log_interval):
            self._log_rows(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Refresh the prototypes when it is time."""
        if self.by_epoch and self.every_n_epochs(
            runner, self.refresh_interval
        ):
            self._refresh(runner)

    @torch.no_grad()
    def _write(self, iteration: int) -> None:
        memory, staged = self.memory, self.memory.take_staged()
        accepted = staged.valid & (staged.scores > self.gate)
        index = staged.index
        if self.ring:
            index, pointer = ring_rows(
                accepted, memory.row_class, memory.pointer
            )
            memory.pointer.copy_(pointer)
        index, values, written = row_updates(
            memory.rows,
            memory.filled,
            index.flatten(),
            staged.regions.flatten(0, 1),
            staged.scores.flatten(),
            accepted.flatten(),
            self.momentum,
        )
        memory.rows.index_copy_(0, index, values)
        memory.filled |= written
        memory.last_visit.masked_fill_(written, iteration)
        self._seen += torch.stack([accepted.sum(), staged.valid.sum()])

    @torch.no_grad()
    def _refresh(self, runner: Runner) -> None:
        memory = self.memory
        old, had = memory.prototypes.clone(), memory.prototype_valid.clone()
        inertia = torch.zeros(1, device=old.device)
        if is_main_process():
            points, mask = group_rows(
                memory.rows, memory.row_class, memory.filled, len(old)
            )
            centers, valid, inertias = self.kmeans(
                points,
                mask,
                old.shape[1],
                Generator().manual_seed(self._seed(runner, stream=1)),
                start=old if self.warm_start else None,
                start_valid=had if self.warm_start else None,
                max_iters=self.max_iters,
                restarts=self.restarts,
            )
            memory.prototypes.copy_(centers)
            memory.prototype_valid.copy_(valid)
            inertia += inertias.sum() / mask.sum().clamp(min=1)
        for tensor in (memory.prototypes, memory.prototype_valid, inertia):
            broadcast(tensor)
        hub = runner.message_hub
        hub.update_scalar('train/kmeans_inertia', inertia.item())
        hub.update_scalar('train/prototype_shift', self._shift(old, had))

    def _shift(self, old: Tensor, had: Tensor) -> float:
        """Mean distance of each new prototype to its class's nearest old."""
        memory = self.memory
        distance = squared_distances(memory.prototypes, old).sqrt()
        distance = distance.masked_fill(~had[:, None], torch.inf)
        known = memory.prototype_valid & had.any(dim=1, keepdim=True)
        if not known.any():
            return 0.0
        return distance.amin(dim=2)[known].mean().item()

    def _log_rows(self, runner: Runner) -> None:
        memory, hub = self.memory, runner.message_hub
        filled = memory.filled
        age = (runner.iter - memory.last_visit) * filled
        accepted, seen = self._seen.tolist()
        self._seen.zero_()
        figures = dict(
            memory_filled=filled.float().mean().item(),
            memory_age=(age.sum() / filled.sum().clamp(min=1)).item(),
            gate_passed=accepted / max(seen, 1),
        )
        for name, value in figures.items():
            hub.update_scalar(f'train/{name}', value)
