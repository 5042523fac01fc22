"""A 1x1 convolution whose output is both the CAMs and, pooled, the scores.

Shape shorthand: N images, L classes, D channels, h x w feature cells.
"""

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmrca.ops.cam import masked_mean
from mmrca.registry import MODELS


@MODELS.register_module()
class CAMHead(BaseModule):
    """Class activation maps and their image-level loss (eq. 1).

    Args:
        in_channels: D.
        num_classes: L, foreground classes only.
        loss_weight: Weight of the head's classification loss.
        init_cfg: As in mmengine.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        loss_weight: float = 1.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            init_cfg or dict(type='Normal', layer='Conv2d', std=0.01)
        )
        self.num_classes = num_classes
        self.loss_weight = loss_weight
        # Without a bias a map of 0 means no evidence.
        self.conv = nn.Conv2d(in_channels, num_classes, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Compute the maps.

        Args:
            features: [N, D, h, w].

        Returns:
            Logits [N, L, h, w].
        """
        return self.conv(features)

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

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
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
