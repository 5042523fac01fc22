"""A convolution whose output is both the CAMs and, pooled, the scores.

Shape shorthand: N images, L classes, D channels, h x w feature cells.
"""

from typing import Annotated, Any

import torch.nn.functional as F
from mmengine.model import BaseModule
from pydantic import Field
from torch import Tensor, nn

from mmrca.checks import Count, NotNegative
from mmrca.ops.cam import masked_mean
from mmrca.registry import MODELS


@MODELS.register_module()
class CAMHead(BaseModule):
    """Class activation maps and their image-level loss (eq. 1).

    The paper's head is the 1x1 convolution alone. The released code puts
    three 3x3 convolutions before it, a stack for each class in the second
    head.

    Args:
        in_channels: D.
        num_classes: L, foreground classes only.
        loss_weight: Weight of the head's classification loss.
        num_convs: 3x3 convolutions, each with a ReLU, before the last.
        channels: Their width.
        per_class: Each class has its own, as one grouped convolution.
        init_cfg: As in mmengine.
    """

    def __init__(
        self,
        in_channels: Count,
        num_classes: Count,
        loss_weight: NotNegative = 1.0,
        num_convs: Annotated[int, Field(ge=0)] = 0,
        channels: Count = 512,
        per_class: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            init_cfg
            or dict(
                type='Normal',
                layer='Conv2d',
                std=0.01,
                override=dict(type='Kaiming', name='convs'),
            )
        )
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.loss_weight = loss_weight
        groups = num_classes if per_class else 1
        layers: list[nn.Module] = []
        width = in_channels
        for index in range(num_convs):
            shared = groups if index else 1
            layers += [
                nn.Conv2d(
                    width, groups * channels, 3, padding=1, groups=shared
                ),
                nn.ReLU(),
            ]
            width = groups * channels
        self.convs = nn.Sequential(*layers)
        # Without a bias a map of 0 means no evidence.
        self.conv = nn.Conv2d(
            width,
            num_classes,
            1,
            groups=groups if num_convs else 1,
            bias=False,
        )

    def forward(self, features: Tensor) -> Tensor:
        """Compute the maps.

        Args:
            features: [N, D, h, w].

        Returns:
            Logits [N, L, h, w].
        """
        return self.conv(self.convs(features))

    def loss(self, cam: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
        """Multi-label soft-margin loss of each image.

        Args:
            cam: [N, L, h, w] logits.
            labels: [N, L] in {0, 1}.
            valid: Boolean [N, h, w], False in padding.

        Returns:
            [N], weighted by ``loss_weight``.
        """
        logits = masked_mean(cam.float(), valid[:, None])
        terms = F.binary_cross_entropy_with_logits(
            logits, labels, reduction='none'
        )
        return self.loss_weight * terms.mean(dim=1)

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: Any
    ) -> None:
        """Refuse other classes; mmengine would only warn and go on."""
        saved = state_dict.get(prefix + 'conv.weight')
        own = self.conv.weight
        if saved is not None and saved.shape != own.shape:
            raise ValueError(
                f'the checkpoint has {saved.shape[0]} classes on '
                f'{saved.shape[1]} channels in {prefix[:-1]}, the config '
                f'{own.shape[0]} on {own.shape[1]}; use the config it was '
                'trained with.'
            )
        super()._load_from_state_dict(state_dict, prefix, *args)
