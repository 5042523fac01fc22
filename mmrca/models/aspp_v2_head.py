"""DeepLabV2's head (Chen et al., 2017, https://arxiv.org/abs/1606.00915).

Shape shorthand: N images, D channels, C classes, h x w cells.
"""

from collections.abc import Sequence
from typing import Any

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from mmrca.registry import MODELS


class _Sum(nn.ModuleList):
    """The sum of what several layers make of one input."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the sum."""
        return sum(layer(inputs) for layer in self)


@MODELS.register_module()
class ASPPV2Head(BaseDecodeHead):
    """The sum of dilated 3x3 classifiers, without a layer before them.

    MMSegmentation's ``ASPPHead`` is DeepLabV3's: its branches give features,
    which it joins with those of the whole image.

    Args:
        in_channels: D.
        num_classes: C.
        dilations: Of each classifier.
        dropout_ratio: Share of channels dropped before the classifiers.
        kwargs: As MMSegmentation's ``BaseDecodeHead``, which refuses what it
            does not know.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        dilations: Sequence[int] = (6, 12, 18, 24),
        dropout_ratio: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            in_channels,
            channels=in_channels,
            num_classes=num_classes,
            dropout_ratio=dropout_ratio,
            **kwargs,
        )
        self.conv_seg = _Sum(
            nn.Conv2d(in_channels, self.out_channels, 3, padding=d, dilation=d)
            for d in dilations
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Compute the logits.

        Args:
            inputs: The backbone's feature maps; that of ``in_index`` is
                [N, D, h, w].

        Returns:
            [N, C, h, w].
        """
        return self.cls_seg(self._transform_inputs(inputs))
