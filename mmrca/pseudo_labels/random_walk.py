"""The random walk of a config."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from mmengine.config import Config
from pydantic import Field
from torch import Tensor
from torch.nn.functional import interpolate

from mmrca.checkpoint import file_digest, load_network
from mmrca.checks import Positive
from mmrca.models.boundary_head import BoundaryHead
from mmrca.ops.random_walk import path_affinity, random_walk
from mmrca.registry import REFINEMENTS


@REFINEMENTS.register_module(name='random_walk')
class RandomWalk:
    """:func:`mmrca.ops.random_walk.random_walk` by a trained boundary network.

    Each class keeps its highest score, and so its place beside the
    background's.

    Args:
        config: File of the boundary network, such as
            ``configs/custom/boundary_efficientnet-lite0_custom.py``.
        checkpoint: Its weights, written in training.
        exponent: Power of the affinities.
        steps: Of the walk, 0 or more.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: The config is not a boundary network's, or the checkpoint
            not of this config.
    """

    def __init__(
        self,
        config: str,
        checkpoint: str,
        exponent: Positive = 10.0,
        steps: Annotated[int, Field(ge=0)] = 64,
    ) -> None:
        self.exponent, self.steps = exponent, steps
        self.digest = file_digest(checkpoint)
        self.network = _load(config, checkpoint)

    def __call__(
        self, image: np.ndarray, scores: Tensor, classes: Sequence[int]
    ) -> Tensor:
        """Refine scores [C+1, H, W] by an image, uint8 [H, W, 3] RGB.

        The background's, the first, stay as they are.
        """
        boundary = self.boundary(image)
        offsets = self.network.decode_head.offsets
        maps = scores[1:].to(boundary)
        small = interpolate(maps[None], boundary.shape, mode='area')[0]
        spread = random_walk(
            small,
            path_affinity(boundary, offsets),
            offsets,
            exponent=self.exponent,
            steps=self.steps,
        )
        spread = interpolate(spread[None], maps.shape[1:], mode='bilinear')[0]
        before, after = (m.amax((1, 2), keepdim=True) for m in (maps, spread))
        spread = spread * (before / after.clamp(min=1e-12))
        return torch.cat([scores[:1], spread.to(scores)])

    @torch.no_grad()
    def boundary(self, image: np.ndarray) -> Tensor:
        """Tell where boundaries are: [h, w] in 0..1."""
        pixels = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)
        data = {'inputs': [pixels], 'data_samples': None}
        network = self.network
        inputs = network.data_preprocessor(data, training=False)['inputs']
        logits = network.decode_head(network.extract_feat(inputs))
        return logits[0, 0].float().sigmoid()


def _load(path: str, checkpoint: str) -> Any:
    config = Config.fromfile(path)
    head = config.get('model', {}).get('decode_head', {}).get('type')
    if head not in ('mmrca.BoundaryHead', BoundaryHead):
        raise ValueError(
            f'config={path!r} is not of a boundary network: its '
            f'model.decode_head is {head!r}, not mmrca.BoundaryHead'
        )
    return load_network(config, checkpoint)
