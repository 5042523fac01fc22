"""Module around the affinity aggregation of prototypes.

Shape shorthand: N images, L classes, K prototypes a class, D channels,
h x w feature cells.
"""

import torch
from torch import Tensor, nn

from mmrca.checks import Positive
from mmrca.ops.aggregation import aggregate
from mmrca.registry import MODELS


@MODELS.register_module()
class SemanticAggregation(nn.Module):
    """Complete each cell by the prototypes it resembles (section 3.3).

    Args:
        channels: D, given by ``RCA``.
        temperature: Divides the similarity of cells and prototypes.
        cosine: Compare directions; otherwise the plain dot product.
        softmax: Weigh prototypes by shares, as the paper does; otherwise by
            the similarities themselves, as the released code does.
        learned: Learn projections of queries, keys, values and of their
            sum, as the released code does; the paper's aggregation has no
            parameters.
        detach: Stop the gradient at F: the second head learns from the
            features, but does not train them.
    """

    def __init__(
        self,
        channels: int,
        temperature: Positive,
        cosine: bool,
        softmax: bool = True,
        learned: bool = False,
        detach: bool = False,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.cosine = cosine
        self.softmax = softmax
        self.detach = detach
        self.projections = None
        if learned:
            # Without biases F' stays 0 until there are prototypes.
            self.projections = nn.ModuleDict(
                {
                    name: nn.Linear(channels, channels, bias=False)
                    for name in ('query', 'key', 'value', 'sum')
                }
            )

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
        if self.detach:
            features = features.detach()
        # A raw dot product overflows in half precision.
        with torch.autocast(features.device.type, enabled=False):
            known = aggregate(
                self._project('query', features.float(), dim=1),
                self._project('key', prototypes, dim=2),
                valid,
                self.temperature,
                self.cosine,
                self.softmax,
                self._project('value', prototypes, dim=2),
            )
            known = self._project('sum', known, dim=1)
        return torch.cat([features, known.to(features.dtype)], dim=1)

    def _project(self, name: str, values: Tensor, dim: int) -> Tensor:
        if self.projections is None:
            return values
        return self.projections[name](values.movedim(dim, -1)).movedim(-1, dim)
