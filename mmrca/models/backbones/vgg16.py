"""VGG16 as weakly supervised segmentation uses it.

Shape shorthand: N images, H x W pixels.
"""

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmrca.registry import MODELS

from .stages import check_out_indices

# Convolutions, their width and dilation; the last stage has no pooling.
_STAGES = (
    (2, 64, 1),
    (2, 128, 1),
    (3, 256, 1),
    (3, 512, 1),
    (3, 512, 2),
)


@MODELS.register_module()
class VGG16(BaseModule):
    """VGG16 without fully connected layers, at stride 8 as in DeepLab v1.

    The fourth pooling keeps the size, the convolutions behind it are dilated
    by 2, the fifth pooling is left out. No option of mmpretrain's VGG changes
    the stride of a pooling.

    Layers are named as in torchvision, whose file fits as it is; mmpretrain's
    names are understood as well.

    Args:
        out_indices: The stages whose maps are returned, 0 to 4 and
            ascending; a stage's map is what its pooling gets.
        init_cfg: As in mmengine.

    Raises:
        ValueError: A stage is asked for that there is not.
    """

    def __init__(
        self,
        out_indices: Sequence[int] = (4,),
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d'))
        check_out_indices('VGG16', out_indices, len(_STAGES))
        ends = []
        layers: list[nn.Module] = []
        channels = 3
        for stage, (count, width, dilation) in enumerate(_STAGES, 1):
            for _ in range(count):
                layers += [
                    nn.Conv2d(
                        channels, width, 3, padding=dilation, dilation=dilation
                    ),
                    nn.ReLU(inplace=True),
                ]
                channels = width
            ends.append(len(layers) - 1)
            if stage < 4:
                layers.append(nn.MaxPool2d(2, stride=2))
            elif stage == 4:
                layers.append(nn.MaxPool2d(3, stride=1, padding=1))
        # As many as maps are wanted: the layer that each comes from.
        self.ends = [ends[index] for index in out_indices]
        self.features = nn.Sequential(*layers)

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Compute the feature maps.

        Args:
            inputs: [N, 3, H, W], normalised.

        Returns:
            For each of ``out_indices`` a map [N, D_s, h_s, w_s]; the last
            stage's is [N, 512, H // 8, W // 8].
        """
        outputs, maps = inputs, []
        for index in range(self.ends[-1] + 1):
            outputs = self.features[index](outputs)
            if index in self.ends:
                maps.append(outputs)
        return tuple(maps)

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: Any
    ) -> None:
        """Take mmpretrain's names, which count conv and ReLU as one layer."""
        theirs = 0
        for ours, layer in enumerate(self.features):
            old = f'{prefix}features.{theirs}.conv.'
            for part in ('weight', 'bias'):
                if isinstance(layer, nn.Conv2d) and old + part in state_dict:
                    new = f'{prefix}features.{ours}.{part}'
                    state_dict[new] = state_dict.pop(old + part)
            theirs += not isinstance(layer, nn.ReLU)
        super()._load_from_state_dict(state_dict, prefix, *args)
