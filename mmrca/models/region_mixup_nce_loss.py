"""Module around the region-mixup NCE."""

import torch
from torch import Generator, Tensor, nn

from mmrca.checks import NotNegative, Positive
from mmrca.ops.contrast import region_mixup_nce
from mmrca.registry import MODELS


@MODELS.register_module()
class RegionMixupNCELoss(nn.Module):
    """Contrast mixed regions with the memory (section 3.2).

    Args:
        temperature: t of the similarity.
        beta: b of w ~ Beta(b, b); ``None`` switches mixing off.
        loss_weight: Weight of the loss.
    """

    def __init__(
        self,
        temperature: Positive = 0.07,
        beta: Positive | None = 8.0,
        loss_weight: NotNegative = 0.01,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.beta = beta
        self.loss_weight = loss_weight

    # torch.compile cannot trace a generator.
    @torch.compiler.disable
    def _draw(self, count: int, generator: Generator) -> tuple[Tensor, Tensor]:
        noise = torch.rand(count, count, generator=generator)
        if self.beta is None:
            return torch.ones(count), noise
        shape = torch.full((2, count), self.beta)
        first, second = torch._standard_gamma(shape, generator=generator)
        return first / (first + second), noise

    @staticmethod
    def _slots(valid: Tensor, capacity: int | None) -> Tensor:
        """Number the batch's regions, in the order of images and classes."""
        if capacity is None or not valid.is_cuda:
            slots = valid.flatten().nonzero()[:, 0]
            return slots if len(slots) else slots.new_zeros(1)
        order = (~valid.flatten()).to(torch.uint8).argsort(stable=True)
        return order[:capacity]

    def forward(
        self,
        regions: Tensor,
        valid: Tensor,
        rows: Tensor,
        row_class: Tensor,
        filled: Tensor,
        generator: Generator,
        capacity: int | None = None,
    ) -> Tensor:
        """Compute the loss of a batch; only its regions cost anything.

        Args:
            regions: [N, L, D] embeddings.
            valid: Boolean [N, L], True where there is a region.
            rows: [R, D] memory.
            row_class: [R].
            filled: Boolean [R].
            generator: CPU generator of w and of the partners.
            capacity: Upper bound of the number of regions. On a GPU it
                spares the wait for their exact number.

        Returns:
            Scalar, weighted by ``loss_weight``.
        """
        device, num_classes = regions.device, valid.shape[1]
        slots = self._slots(valid, capacity)
        weight, noise = self._draw(len(slots), generator)
        with torch.autocast(device.type, enabled=False):
            loss = region_mixup_nce(
                regions.float().flatten(0, 1)[slots],
                slots % num_classes,
                slots // num_classes,
                valid.flatten()[slots],
                rows.float(),
                row_class,
                filled,
                weight.to(device, non_blocking=True),
                noise.to(device, non_blocking=True),
                self.temperature,
            )
        return self.loss_weight * loss
