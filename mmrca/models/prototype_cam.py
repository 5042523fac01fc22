"""Maps by likeness to the training set's most confident regions.

Shape shorthand: N images, L classes, K prototypes a class, D channels,
h x w feature cells.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmrca.checks import Count, Positive, Share
from mmrca.ops.prototype_cam import (
    concat_stages,
    image_prototype_cam,
    prototype_cam,
    self_similarity_mean,
)
from mmrca.registry import MODELS


@MODELS.register_module()
class PrototypeCAM(nn.Module):
    """Prototypes of classes and background as buffers of the checkpoint.

    Has no parameters and is not trained:
    :func:`mmrca.engine.prototype_filling.fill` makes the prototypes when the
    features are what they will be. A checkpoint from before that is not
    filled, and the model answers with its head's maps.

    Args:
        num_classes: L, given by ``RCA``.
        num_prototypes: K.
        num_background: Prototypes of the background.
        temperature: Divides the cosines of cells and prototypes.
        image_region: Share of a map's maximum above which cells make the
            image's own prototypes, whose maps are added
            (:func:`mmrca.ops.prototype_cam.image_prototype_cam`); ``None``
            adds none.
        image_background: Share of their maximum below which the maps lie in
            the image's own background.
        self_similarity: Cosine above which cells of an image are averaged
            (:func:`mmrca.ops.prototype_cam.self_similarity_mean`); ``None``
            leaves the maps as they are.

    Attributes:
        prototypes: [L, K, D] float32 of length 1. D, the channels of the
            backbone's stages together, is 0 until they are made.
        valid: Boolean [L, K].
        background: [num_background, D] float32 of length 1.
        background_valid: Boolean [num_background].
        filled: Boolean scalar.
        awaited: Whether a hook is going to fill it; not in the checkpoint.
    """

    prototypes: Tensor
    valid: Tensor
    background: Tensor
    background_valid: Tensor
    filled: Tensor

    def __init__(
        self,
        num_classes: int,
        num_prototypes: Count = 10,
        num_background: Count = 20,
        temperature: Positive = 0.1,
        image_region: Share | None = None,
        image_background: Share = 0.1,
        self_similarity: Share | None = None,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.image_region = image_region
        self.image_background = image_background
        self.self_similarity = self_similarity
        self.awaited = False
        buffers = dict(
            prototypes=torch.zeros(num_classes, num_prototypes, 0),
            valid=torch.zeros(num_classes, num_prototypes, dtype=torch.bool),
            background=torch.zeros(num_background, 0),
            background_valid=torch.zeros(num_background, dtype=torch.bool),
            filled=torch.tensor(False),
        )
        for name, value in buffers.items():
            self.register_buffer(name, value)

    def widen(self, channels: int) -> None:
        """Make room for prototypes of another number of channels.

        Args:
            channels: D.
        """
        for name in ('prototypes', 'background'):
            old = getattr(self, name)
            setattr(self, name, old.new_zeros(*old.shape[:-1], channels))

    def features(self, stages: Sequence[Tensor]) -> Tensor:
        """Join the stages' feature maps.

        Args:
            stages: [N, D_s, h_s, w_s] each.

        Returns:
            float32 [N, D, h, w], of length 1 in each cell.

        Raises:
            ValueError: The prototypes have another number of channels.
        """
        features = concat_stages([stage.float() for stage in stages])
        channels = self.prototypes.shape[2]
        if self.filled and features.shape[1] != channels:
            raise ValueError(
                f'the prototypes of the checkpoint have {channels} channels, '
                f'the stages of model.backbone.out_indices '
                f'{features.shape[1]}; use the config it was trained with.'
            )
        return features

    def forward(
        self,
        stages: Sequence[Tensor],
        present: Tensor | None = None,
        valid: Tensor | None = None,
        classes: Tensor | None = None,
    ) -> Tensor:
        """Compute the maps.

        Args:
            stages: [N, D_s, h_s, w_s] each, F last.
            present: Boolean [N, L], the classes that the image's own
                prototypes are made for; all if ``None``.
            valid: Boolean [N, h, w], False in padding; all if ``None``.
            classes: Numbers [C] of the classes whose maps are wanted, which
                is what the maps cost; all if ``None``.

        Returns:
            Logits float32 [N, C, h, w].
        """
        if classes is None:
            classes = torch.arange(len(self.valid), device=self.valid.device)
        if present is not None:
            present = present[:, classes]
        # Cosines over the temperature need more than half precision.
        with torch.autocast(stages[-1].device.type, enabled=False):
            features = self.features(stages)
            logits = prototype_cam(
                features,
                self.prototypes[classes],
                self.valid[classes],
                self.background,
                self.background_valid,
                self.temperature,
            )
            if present is None:
                present = torch.ones_like(logits[..., 0, 0], dtype=torch.bool)
            if valid is None:
                valid = torch.ones_like(logits[:, 0], dtype=torch.bool)
            if self.image_region is not None:
                logits = logits + image_prototype_cam(
                    features,
                    logits,
                    present,
                    valid,
                    self.image_region,
                    self.image_background,
                    self.temperature,
                )
            if self.self_similarity is not None:
                logits = self_similarity_mean(
                    features, logits, valid, self.self_similarity
                )
            return logits

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: Any
    ) -> None:
        """Take the number of channels from the checkpoint."""
        saved = state_dict.get(prefix + 'prototypes')
        if saved is not None:
            self.widen(saved.shape[-1])
        super()._load_from_state_dict(state_dict, prefix, *args)
