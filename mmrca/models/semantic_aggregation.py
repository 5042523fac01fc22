"""Module around the affinity aggregation of prototypes."""

import torch
from torch import Tensor, nn

from mmrca.ops.aggregation import aggregate
from mmrca.registry import MODELS


@MODELS.register_module()
class SemanticAggregation(nn.Module):
    """Complete each cell by the prototypes it resembles (section 3.3).

    Args:
        temperature: Divides the similarity of cells and prototypes.
        cosine: Compare directions; otherwise the plain dot product.
    """

    def __init__(self, temperature: float, cosine: bool) -> None:
        super().__init__()
        self.temperature = temperature
        self.cosine = cosine

    def forward(
        self, features: Tensor, prototypes: Tensor, valid: Tensor
    ) -> Tensor:
        """Append F' to F.

        Args:
            features: F [N, D, h, w].
            prototypes: [L, K, D].
            valid: Boolean [L, K].

        Returns:
            F^ = [F, F'], [N, 2D, h, w].
        """
        # A raw dot product overflows in half precision.
        with torch.autocast(features.device.type, enabled=False):
            known = aggregate(
                features.float(),
                prototypes,
                valid,
                self.temperature,
                self.cosine,
            )
        return torch.cat([features, known.to(features.dtype)], dim=1)
