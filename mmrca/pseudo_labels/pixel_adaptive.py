"""The pixel-adaptive refinement of a config."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from mmrca.checks import Count
from mmrca.ops.pixel_adaptive import pixel_adaptive
from mmrca.registry import REFINEMENTS


@REFINEMENTS.register_module(name='pixel_adaptive')
class PixelAdaptive:
    """:func:`mmrca.ops.pixel_adaptive.pixel_adaptive`, on a GPU if there is.

    Args:
        iterations: Steps, 0 or more.
        dilations: Distances in pixels, each >= 1, at which a pixel has its 8
            neighbours.
        half_resolution: Refine the means of 2 x 2 pixels.
    """

    def __init__(
        self,
        iterations: Annotated[int, Field(ge=0)] = 10,
        dilations: Annotated[
            list[Count] | tuple[Count, ...], Field(min_length=1)
        ] = (1, 2, 4, 8, 12, 24),
        half_resolution: bool = False,
    ) -> None:
        self.iterations = iterations
        self.dilations = dilations
        self.half_resolution = half_resolution

    def __call__(
        self, image: np.ndarray, scores: Tensor, classes: Sequence[int]
    ) -> Tensor:
        """Refine scores [C+1, H, W] by an image, uint8 [H, W, 3] RGB."""
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
        there = scores.to(device)
        pixels = torch.from_numpy(image).permute(2, 0, 1).to(there)
        refined = pixel_adaptive(
            pixels,
            there,
            iterations=self.iterations,
            dilations=self.dilations,
            half_resolution=self.half_resolution,
        )
        return refined.to(scores)
