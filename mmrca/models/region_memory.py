"""The region memory: what the whole data set's regions look like.

Shape shorthand: N images, L classes, R rows, K prototypes a class,
D channels.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from mmrca.registry import MODELS

_NO_HOOK = (
    'nothing writes the region memory: add '
    "dict(type='mmrca.MemoryBankHook') to custom_hooks."
)


@dataclass
class StagedRegions:
    """Regions of one batch that wait to be written.

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

    The memory only holds state: ``RCA.loss`` reads it and stages regions,
    ``MemoryBankHook`` binds it to a data set, writes and refreshes it. The
    number of rows comes from the data set or from a checkpoint.

    Args:
        num_classes: L.
        channels: D.
        num_prototypes: K.
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

    def __init__(
        self,
        num_classes: int,
        channels: int,
        num_prototypes: int = 10,
        gaussian_start: bool = False,
    ) -> None:
        super().__init__()
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
        self._batch_size = 0
        self._staged: StagedRegions | None = None

    def bind(
        self,
        row_class: list[int],
        fingerprint: bytes,
        batch_size: int,
        seed: int = 0,
    ) -> None:
        """Tie the memory to a data set's rows.

        Args:
            row_class: Class of each row.
            fingerprint: Identifies images, labels and their rows.
            batch_size: Images a process has in one iteration at most.
            seed: Of the noise of a Gaussian start.

        Raises:
            ValueError: A checkpoint brought rows of another data set.
        """
        self._batch_size = batch_size
        mark = torch.tensor(list(fingerprint), dtype=torch.uint8)
        mark = mark.to(self.fingerprint.device)
        if len(self.rows) == 0:
            self._allocate(torch.tensor(row_class), mark, seed)
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

    def stage(self, staged: StagedRegions) -> None:
        """Keep a batch's regions until the hook writes them.

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

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
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
