"""Projection of the features that the contrast asks the memory with."""

from torch import nn

from mmrca.registry import MODELS


@MODELS.register_module()
class QueryProjection(nn.Sequential):
    """Two 3x3 convolutions on F before its regions are contrasted.

    The released code has it, the paper does not. Only the regions of the
    batch go through it; the memory's rows stay what they are.

    Args:
        channels: D, given by ``RCA``.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
