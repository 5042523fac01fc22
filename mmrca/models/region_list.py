"""A batch's regions as one list, whatever process has them.

Shape shorthand: N images of this process, L classes, M regions of all
processes.
"""

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, all_reduce, get_rank, get_world_size
from torch import Tensor


class _AllGather(torch.autograd.Function):
    """Concatenate over processes; gradients return to where values are from.

    torch has it too, but under a name that changes with its versions.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return torch.cat(all_gather(values.contiguous()))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.contiguous().clone()
        all_reduce(grad)
        return grad.chunk(get_world_size())[get_rank()]


class RegionList:
    """Where the regions of a batch stand in one list over all processes.

    Images are interleaved as mmengine's DefaultSampler deals them out, and an
    image's regions follow its classes, so N processes make the list that one
    process would make.

    Args:
        valid: Boolean [N, L], True where there is a region.
        capacity: Regions of a process at most; needed with several
            processes. On a GPU the list has this length a process, as the
            exact number would have to be waited for.

    Attributes:
        classes: [M].
        images: [M], each image's number among those of all processes.
        valid: Boolean [M], False for empty slots. On the CPU there are none,
            but for the only slot of a batch without a region.
        own: [O] places of this process's regions.
    """

    def __init__(self, valid: Tensor, capacity: int | None = None) -> None:
        num_classes = valid.shape[1]
        self._capacity = valid.numel() if capacity is None else capacity
        there = valid.flatten()
        # bool has no stable sort on every device.
        slots = (~there).to(torch.uint8).argsort(stable=True)
        self._slots = slots[: self._capacity]
        image, kind = self._slots // num_classes, self._slots % num_classes
        place = (image * get_world_size() + get_rank()) * num_classes + kind
        place = torch.where(there[self._slots], place, -1)
        place = self._gather(place + 1) - 1  # padding becomes -1, too
        last = torch.iinfo(place.dtype).max
        order = torch.where(place < 0, last, place).argsort(stable=True)
        if not valid.is_cuda:
            order = order[: max(1, int((place >= 0).sum()))]
        self._order, place = order, place[order]
        self.valid = place >= 0
        place = place.clamp(min=0)
        self.classes = place % num_classes
        self.images = place // num_classes
        mine = order // self._capacity == get_rank()
        if valid.is_cuda:
            self.own = (~mine).to(torch.uint8).argsort(stable=True)
            self.own = self.own[: self._capacity]
        else:
            self.own = mine.nonzero()[:, 0]

    def _gather(self, values: Tensor) -> Tensor:
        padding = (0, 0) * (values.dim() - 1)
        padding += (0, self._capacity - len(values))
        values = F.pad(values, padding)
        return _AllGather.apply(values) if get_world_size() > 1 else values

    def collect(self, values: Tensor) -> Tensor:
        """Bring values into the list's order.

        Args:
            values: [N, L, ...] of this process.

        Returns:
            [M, ...] of all processes. Its gradients reach the process that
            the values are from.
        """
        return self._gather(values.flatten(0, 1)[self._slots])[self._order]
