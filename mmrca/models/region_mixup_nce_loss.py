"""Module around the region-mixup NCE."""

import torch
from torch import Generator, Tensor, nn

from mmrca.checks import NotNegative, Positive
from mmrca.ops.contrast import region_mixup_nce
from mmrca.registry import MODELS

from .region_list import RegionList


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
            regions: [N, L, D] embeddings of this process's images.
            valid: Boolean [N, L], True where there is a region.
            rows: [R, D] memory.
            row_class: [R].
            filled: Boolean [R].
            generator: CPU generator of w and of the partners, in the same
                state on all processes.
            capacity: As :class:`RegionList`.

        Returns:
            Scalar, weighted by ``loss_weight``: what this process's regions
            add to the mean over all processes' regions.
        """
        device = regions.device
        batch = RegionList(valid, capacity)
        weight, noise = self._draw(len(batch.valid), generator)
        with torch.autocast(device.type, enabled=False):
            loss = region_mixup_nce(
                batch.collect(regions.float()),
                batch.classes,
                batch.images,
                batch.valid,
                rows.float(),
                row_class,
                filled,
                weight.to(device, non_blocking=True),
                noise.to(device, non_blocking=True),
                self.temperature,
                batch.own,
            )
        return self.loss_weight * loss
