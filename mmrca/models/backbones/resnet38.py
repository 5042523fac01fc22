"""ResNet38, model A1 of 'Wider or Deeper' (Wu et al., 2016).

Shape shorthand: N images, H x W pixels.
"""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmrca.registry import MODELS

from .stages import check_out_indices

# Name, units, widths of a unit's convolutions, stride, dilation, dropout.
_STAGES = (
    ('b2', 3, (128, 128), 2, 1, 0.0),
    ('b3', 3, (256, 256), 2, 1, 0.0),
    ('b4', 6, (512, 512), 2, 1, 0.0),
    ('b5', 3, (512, 1024), 1, 2, 0.0),
    ('b6', 1, (512, 1024, 2048), 1, 4, 0.3),
    ('b7', 1, (1024, 2048, 4096), 1, 4, 0.5),
)
_BRANCHES = ('2a', '2b1', '2b2')


class _Unit(nn.Module):
    """A residual unit of norm, ReLU and convolution, in this order.

    Two 3x3 convolutions, or three of which only the middle one is 3x3. The
    modules' names are those of the published weights.

    Args:
        channels: Of the input.
        widths: Output channels of each convolution.
        stride: Of the first convolution.
        dilations: Of each convolution.
        dropout: Share of channels dropped before every convolution but the
            first, in 0..1.
    """

    def __init__(
        self,
        channels: int,
        widths: tuple[int, ...],
        stride: int,
        dilations: tuple[int, ...],
        dropout: float,
    ) -> None:
        super().__init__()
        self.branches = _BRANCHES[: len(widths)]
        kernels = (3, 3) if len(widths) == 2 else (1, 3, 1)
        if stride != 1 or channels != widths[-1]:
            self.conv_branch1 = nn.Conv2d(
                channels, widths[-1], 1, stride, bias=False
            )
        for name, width, kernel, dilation in zip(
            self.branches, widths, kernels, dilations, strict=True
        ):
            norm = nn.BatchNorm2d(channels)
            conv = nn.Conv2d(
                channels,
                width,
                kernel,
                stride,
                padding=dilation * (kernel // 2),
                dilation=dilation,
                bias=False,
            )
            self.add_module(f'bn_branch{name}', norm)
            self.add_module(f'conv_branch{name}', conv)
            channels, stride = width, 1
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout2d(dropout)

    def activate(self, inputs: Tensor) -> Tensor:
        """Compute the norm and ReLU that the unit starts with."""
        return self.relu(self.get_submodule('bn_branch2a')(inputs))

    def forward(self, inputs: Tensor, activated: Tensor) -> Tensor:
        """Compute the unit.

        Args:
            inputs: Of the unit.
            activated: What :meth:`activate` makes of them.
        """
        outputs, shortcut = activated, inputs
        if hasattr(self, 'conv_branch1'):
            shortcut = self.conv_branch1(activated)
        for name in self.branches:
            if name != '2a':
                norm = getattr(self, f'bn_branch{name}')
                outputs = self.dropout(self.relu(norm(outputs)))
            outputs = getattr(self, f'conv_branch{name}')(outputs)
        return shortcut + outputs


@MODELS.register_module()
class ResNet38(BaseModule):
    """ResNet38 at stride 8, as weakly supervised segmentation uses it.

    Layers have the names of the weights that its community passes around
    (``conv1a.weight``, ``b3_1.conv_branch2a.weight``), so that file fits as
    it is.

    Args:
        out_indices: The stages whose maps are returned, ascending: 0 to 5
            for b2 to b7. The last has to be among them. A map has gone
            through the norm and the ReLU that the next stage starts with.
        norm_eval: Keep the running statistics of the weights in training.
        init_cfg: As in mmengine.

    Raises:
        ValueError: A stage is asked for that there is not, or the last is
            not.
    """

    def __init__(
        self,
        out_indices: Sequence[int] = (5,),
        norm_eval: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d'))
        last = len(_STAGES) - 1
        check_out_indices('ResNet38', out_indices, len(_STAGES))
        if last not in out_indices:
            raise ValueError(
                f'ResNet38.out_indices is {tuple(out_indices)}; it has to end '
                f'with {last}'
            )
        # The unit after a stage starts with the activation of its map.
        self.starts = [
            _STAGES[index + 1][0] for index in out_indices if index < last
        ]
        self.norm_eval = norm_eval
        self.units: list[str] = []
        self.conv1a = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        channels = 64
        for stage, count, widths, stride, dilation, dropout in _STAGES:
            for index in range(count):
                name = f'{stage}_{index}' if index else stage
                dilations = [dilation] * len(widths)
                if name == 'b5':  # looks at cells that are not yet spread
                    dilations[0] = 1
                unit = _Unit(
                    channels, widths, stride, tuple(dilations), dropout
                )
                self.add_module(name, unit)
                self.units.append(name)
                channels, stride = widths[-1], 1
        self.bn7 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Compute the feature maps.

        Args:
            inputs: [N, 3, H, W], normalised.

        Returns:
            For each of ``out_indices`` a map [N, D_s, h_s, w_s]; the last
            one's is [N, 4096, h, w] with h = H / 8 and w = W / 8, rounded up.
        """
        outputs, maps = self.conv1a(inputs), []
        for name in self.units:
            unit = getattr(self, name)
            activated = unit.activate(outputs)
            if name in self.starts:
                maps.append(activated)
            outputs = unit(outputs, activated)
        return (*maps, self.relu(self.bn7(outputs)))

    def train(self, mode: bool = True) -> 'ResNet38':
        """Switch to training; with ``norm_eval`` norms stay as they are."""
        super().train(mode)
        for module in self.modules():
            if self.norm_eval and isinstance(module, _BatchNorm):
                module.eval()
        return self
