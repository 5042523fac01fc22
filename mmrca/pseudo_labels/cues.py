"""Background cues: how likely a pixel shows none of the classes.

A cue is called with the CAMs of an image, [C, H, W] in 0..1, and the image's
ID, and returns the background's score, [H, W] in 0..1. It may have a method
``check(img_id, size)``, called for every image before the long work, that
raises :class:`mmrca.datasets.images.ImageError`.

Shape shorthand: C classes of the image, H x W pixels.
"""

from pathlib import Path
from typing import Literal

import mmcv
import numpy as np
import torch
from torch import Tensor

from mmrca.checks import Positive, Share
from mmrca.datasets.images import ImageError, open_picture
from mmrca.ops.pseudo_label import background_power
from mmrca.registry import CUES

AUTO = 'auto'


@CUES.register_module(name='constant')
class ConstantCue:
    """The same score everywhere.

    Args:
        threshold: The score, in 0..1, or ``'auto'`` for one that is chosen
            without masks before the cue is called.
        refined: The score after refinement, in 0..1; None for what the
            refinement makes of it. ``threshold='auto'`` chooses it, too.
    """

    def __init__(
        self,
        threshold: Share | Literal['auto'],
        refined: Share | None = None,
    ) -> None:
        self.threshold, self.refined = threshold, refined

    def __call__(self, cams: Tensor, img_id: str) -> Tensor:
        """Fill a map with the threshold."""
        assert not isinstance(self.threshold, str), 'chosen before'
        return cams.new_full(cams.shape[1:], self.threshold)


@CUES.register_module(name='power')
class PowerCue:
    """``(1 - highest CAM) ** alpha``.

    Args:
        alpha: Exponent > 0.
    """

    def __init__(self, alpha: Positive) -> None:
        self.alpha = alpha

    def __call__(self, cams: Tensor, img_id: str) -> Tensor:
        """Compute the score from the CAMs."""
        return background_power(cams, self.alpha)


@CUES.register_module(name='saliency')
class SaliencyCue:
    """``1 - saliency``, read from files.

    Args:
        dir: Folder of the saliency maps ``ID.png``, 8-bit grey, each of the
            size of its image.

    Raises:
        FileNotFoundError: If the folder is missing.
    """

    def __init__(self, dir: str) -> None:
        self.dir = Path(dir)
        if not self.dir.is_dir():
            raise FileNotFoundError(
                f'saliency folder {dir} does not exist; set '
                'pseudo_label.background.dir.'
            )

    def check(self, img_id: str, size: tuple[int, int]) -> None:
        """Raise ImageError unless the image has a map of its size [H, W]."""
        path = self._path(img_id)
        if not path.is_file():
            raise ImageError(f'saliency map {path} is missing')
        picture = open_picture(path, 'saliency map')
        width, height = picture.size
        if (height, width) != size:
            raise ImageError(
                f'saliency map {path} is {width} x {height} pixels, its '
                f'image {size[1]} x {size[0]}'
            )
        if picture.mode != 'L':
            raise ImageError(
                f'saliency map {path} must be 8-bit grey, not {picture.mode}'
            )

    def __call__(self, cams: Tensor, img_id: str) -> Tensor:
        """Read the map, shrunk to the size of the CAMs.

        Raises:
            ImageError: If it cannot be decoded.
        """
        picture = open_picture(self._path(img_id), 'saliency map')
        saliency = np.asarray(picture, dtype=np.float32) / 255
        height, width = cams.shape[1:]
        if saliency.shape != (height, width):
            saliency = mmcv.imresize(saliency, (width, height))
        return 1 - torch.from_numpy(saliency).to(cams)

    def _path(self, img_id: str) -> Path:
        return self.dir / f'{img_id}.png'
