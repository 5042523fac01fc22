"""The region memory: what the whole data set's regions look like.

Shape shorthand: N images, L classes, R rows, K prototypes a class,
D channels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from mmengine.dist import all_reduce, get_rank, get_world_size
from torch import Generator, Tensor, nn

from mmrca.checks import Count, Share
from mmrca.ops.kmeans import (
    group_rows,
    kmeans,
    share_classes,
    squared_distances,
)
from mmrca.ops.memory import ring_rows, row_updates
from mmrca.registry import MODELS

from .region_list import RegionList

_NO_HOOK = (
    'nothing writes the region memory: add '
    "memory_bank=dict(type='mmrca.MemoryBankHook') to default_hooks."
)


@dataclass
class StagedRegions:
    """A process's regions of one batch that wait to be written.

    Attributes:
        regions: [N, L, D] embeddings, detached.
        scores: [N, L] class scores p in 0..1.
        valid: Boolean [N, L].
        index: Integer [N, L], the row of each (image, class) pair.
    """

    regions: Tensor
    scores: Tensor
    valid: Tensor
    index: Tensor


@MODELS.register_module()
class RegionMemory(nn.Module):
    """Rows and prototypes as buffers, so that they live in the checkpoint.

    ``RCA.loss`` reads the memory and stages regions; ``MemoryBankHook`` says
    when they are written and when the prototypes are refreshed (sections 3.1
    and 3.3). The number of rows comes from the data set or a checkpoint.

    Args:
        num_classes: L, given by ``RCA``.
        channels: D, given by ``RCA``.
        num_prototypes: K.
        momentum: r, the weight of a row's old value.
        gate: nu, the class score p a region has to exceed to be written.
        kmeans: ``'torch'``, on the memory's device, or ``'sklearn'``.
        warm_start: Start K-means from the last prototypes.
        ring: Write a class's regions into its rows in turn, as the released
            code does, instead of each into its image's row.
        gaussian_start: Fill the rows with Gaussian noise at first, as the
            released code does; otherwise a row takes part once visited.

    Attributes:
        rows: [R, D] float32.
        row_class: [R].
        filled: Boolean [R], the row was visited.
        last_visit: [R] iteration of the last visit.
        prototypes: [L, K, D] float32.
        prototype_valid: Boolean [L, K].
        contrast_active: Boolean scalar, False during the warm-up.
        pointer: [L] next place of each class where rows form rings.
        fingerprint: Bytes (uint8) that identify the data set's rows.
        generator: CPU generator of the mixup, seeded by the hook.
    """

    rows: Tensor
    row_class: Tensor
    filled: Tensor
    last_visit: Tensor
    prototypes: Tensor
    prototype_valid: Tensor
    contrast_active: Tensor
    pointer: Tensor
    fingerprint: Tensor

    def __init__(
        self,
        num_classes: int,
        channels: int,
        num_prototypes: Count = 10,
        momentum: Share = 0.99,
        gate: Share = 0.7,
        kmeans: Literal['torch', 'sklearn'] = 'torch',
        warm_start: bool = False,
        ring: bool = False,
        gaussian_start: bool = False,
    ) -> None:
        super().__init__()
        self.momentum = momentum
        self.gate = gate
        self.kmeans = _kmeans_of(kmeans)
        self.warm_start = warm_start
        self.ring = ring
        self.gaussian_start = gaussian_start
        buffers = dict(
            rows=torch.zeros(0, channels),
            row_class=torch.zeros(0, dtype=torch.long),
            filled=torch.zeros(0, dtype=torch.bool),
            last_visit=torch.zeros(0, dtype=torch.long),
            prototypes=torch.zeros(num_classes, num_prototypes, channels),
            prototype_valid=torch.zeros(
                num_classes, num_prototypes, dtype=torch.bool
            ),
            contrast_active=torch.tensor(False),
            pointer=torch.zeros(num_classes, dtype=torch.long),
            fingerprint=torch.zeros(0, dtype=torch.uint8),
        )
        for name, value in buffers.items():
            self.register_buffer(name, value)
        self.generator = Generator()
        self._batch_size = self._labels_per_image = 0
        self._staged: StagedRegions | None = None

    def bind(
        self,
        row_class: list[int],
        fingerprint: bytes,
        batch_size: int,
        seed: int = 0,
        labels_per_image: int | None = None,
    ) -> None:
        """Tie the memory to a data set's rows.

        Args:
            row_class: Class of each row.
            fingerprint: Identifies images, labels and their rows.
            batch_size: Images a process has in one iteration at most.
            seed: Of the noise of a Gaussian start.
            labels_per_image: Classes of an image at most; L if not given.

        Raises:
            ValueError: A checkpoint brought rows of another data set, or a
                row belongs to a class that the model lacks.
        """
        classes = len(self.prototypes)
        if max(row_class, default=0) >= classes:
            raise ValueError(
                f'the data set has {max(row_class) + 1} classes or more, '
                f'model.cam_head.num_classes is {classes}; make them agree.'
            )
        self._batch_size = batch_size
        self._labels_per_image = labels_per_image or classes
        mark = torch.tensor(list(fingerprint), dtype=torch.uint8)
        mark = mark.to(self.fingerprint.device)
        if len(self.fingerprint) == 0:
            self._allocate(
                torch.tensor(row_class, dtype=torch.long), mark, seed
            )
        elif not torch.equal(self.fingerprint, mark):
            raise ValueError(
                f'the checkpoint holds a region memory of {len(self.rows)} '
                'rows from another data set, label list or rows_per_class '
                f'than train_dataloader.dataset ({len(row_class)} rows); '
                'resume with the data it was trained on, or start anew.'
            )

    def _allocate(self, row_class: Tensor, mark: Tensor, seed: int) -> None:
        device, channels = self.rows.device, self.rows.shape[1]
        count = len(row_class)
        rows = torch.zeros(count, channels)
        if self.gaussian_start:
            rows.normal_(generator=Generator().manual_seed(seed))
        self.rows = rows.to(device)
        self.row_class = row_class.to(device)
        self.filled = torch.full((count,), self.gaussian_start, device=device)
        self.last_visit = torch.zeros(count, dtype=torch.long, device=device)
        self.fingerprint = mark

    @property
    def batch_size(self) -> int:
        """Images a process has in one iteration at most.

        Raises:
            ValueError: The memory was never bound to a data set.
        """
        if self._batch_size == 0:
            raise ValueError(_NO_HOOK)
        return self._batch_size

    @property
    def capacity(self) -> int:
        """Regions of a process in one iteration at most."""
        return self.batch_size * self._labels_per_image

    def stage(self, staged: StagedRegions) -> None:
        """Keep a batch's regions until they are written.

        Raises:
            ValueError: The last batch's regions were never written.
        """
        if self._staged is not None:
            raise ValueError(_NO_HOOK)
        self._staged = staged

    def take_staged(self) -> StagedRegions:
        """Hand over the staged regions and forget them.

        Raises:
            RuntimeError: Nothing is staged.
        """
        if self._staged is None:
            raise RuntimeError('no regions were staged in this iteration.')
        staged, self._staged = self._staged, None
        return staged

    @torch.no_grad()
    def write(self, iteration: int) -> tuple[Tensor, Tensor]:
        """Write the staged regions of all processes into their rows.

        Args:
            iteration: The rows' new ``last_visit``.

        Returns:
            Scalars: how many regions passed the gate, and how many there
            were.

        Raises:
            RuntimeError: Nothing is staged.
        """
        staged = self.take_staged()
        batch = RegionList(staged.valid, self.capacity)
        scores = batch.collect(staged.scores)
        regions = batch.collect(staged.regions)
        accepted = batch.valid & (scores > self.gate)
        # A row would never get rid of what is not finite.
        accepted &= regions.isfinite().all(dim=1)
        if len(self.rows):  # a data set of normal images has none
            index = batch.collect(staged.index)
            if self.ring:
                index, pointer = ring_rows(
                    accepted, batch.classes, self.row_class, self.pointer
                )
                self.pointer.copy_(pointer)
            index, values, written = row_updates(
                self.rows,
                self.filled,
                index,
                regions,
                scores,
                accepted,
                self.momentum,
            )
            self.rows.index_copy_(0, index, values)
            self.filled |= written
            self.last_visit.masked_fill_(written, iteration)
        return accepted.sum(), batch.valid.sum()

    @torch.no_grad()
    def refresh(self, seed: int) -> tuple[float, float]:
        """Make the prototypes of the filled rows (section 3.3).

        The processes share the classes; all get all prototypes.

        Args:
            seed: Of K-means.

        Returns:
            The mean squared distance of rows to their prototype, and the
            mean distance of a new prototype to its class's nearest old one.
        """
        old, had = self.prototypes.clone(), self.prototype_valid.clone()
        self.prototypes.zero_()
        self.prototype_valid.zero_()
        inertia = old.new_zeros(1)
        counts = self.row_class[self.filled].bincount(minlength=len(old))
        shares = share_classes(counts.tolist(), get_world_size())
        for kind in shares[get_rank()]:
            # One class at a time: a copy of all rows would be too much.
            points, masks = group_rows(
                self.rows,
                self.row_class,
                self.filled & (self.row_class == kind),
                len(old),
            )
            warm = slice(kind, kind + 1) if self.warm_start else None
            centers, valid, own_inertia = self.kmeans(
                points[kind : kind + 1],
                masks[kind : kind + 1],
                old.shape[1],
                # Its own, so a class's result does not depend on who has it.
                Generator().manual_seed(seed * len(old) + kind),
                start=None if warm is None else old[warm],
                start_valid=None if warm is None else had[warm],
            )
            self.prototypes[kind] = centers[0]
            self.prototype_valid[kind] = valid[0]
            inertia += own_inertia[0]
        valid = self.prototype_valid.to(torch.uint8)
        for tensor in (self.prototypes, valid, inertia):
            all_reduce(tensor)  # others' classes are 0 here
        self.prototype_valid.copy_(valid)
        inertia /= self.filled.sum().clamp(min=1)
        return inertia.item(), self._shift(old, had)

    def _shift(self, old: Tensor, had: Tensor) -> float:
        distance = squared_distances(self.prototypes, old).sqrt()
        distance = distance.masked_fill(~had[:, None], torch.inf)
        both = self.prototype_valid & had.any(dim=1, keepdim=True)
        if not both.any():
            return 0.0
        return distance.amin(dim=2)[both].mean().item()

    def state(self, iteration: int) -> tuple[float, float]:
        """Measure how much of the memory is in use.

        Args:
            iteration: The current one.

        Returns:
            The share of filled rows, and their mean age in iterations.
        """
        age = (iteration - self.last_visit) * self.filled
        count = self.filled.sum()
        return (
            (count / max(len(self.rows), 1)).item(),
            (age.sum() / count.clamp(min=1)).item(),
        )

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: Any
    ) -> None:
        """Take the number of rows from the checkpoint."""
        for name in (
            'rows', 'row_class', 'filled', 'last_visit', 'fingerprint'
        ):  # fmt: skip
            saved = state_dict.get(prefix + name)
            if saved is not None:
                own = getattr(self, name)
                setattr(self, name, own.new_zeros(saved.shape))
        saved = state_dict.get(prefix + 'prototypes')
        if saved is not None and saved.shape != self.prototypes.shape:
            raise ValueError(
                'the checkpoint holds prototypes of shape '
                f'{tuple(saved.shape)} (classes, prototypes, channels) but '
                f'the config asks for {tuple(self.prototypes.shape)}; use '
                'the config the checkpoint was trained with.'
            )
        super()._load_from_state_dict(state_dict, prefix, *args)


def _kmeans_of(name: str) -> Callable:
    if name == 'torch':
        return kmeans
    # scikit-learn takes a second to import.
    from .sklearn_kmeans import sklearn_kmeans

    return sklearn_kmeans
