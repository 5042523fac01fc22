"""Pictures of maps and masks over their photographs.

Shape shorthand: C classes, H x W pixels.
"""

from collections.abc import Sequence

import matplotlib
import numpy as np
from torch import Tensor


def heat(image: np.ndarray, cams: Tensor) -> np.ndarray:
    """Lay the highest map over the image, blue 0 to red 1.

    Args:
        image: uint8 [H, W, 3], BGR.
        cams: [C, H, W] in 0..1.

    Returns:
        uint8 [H, W, 3], RGB.
    """
    peak = cams.amax(dim=0).cpu().numpy()
    colour = matplotlib.colormaps['jet'](peak)[..., :3] * 255
    return (0.5 * image[..., ::-1] + 0.5 * colour).astype(np.uint8)


def paint(
    image: np.ndarray, labels: np.ndarray, palette: Sequence[Sequence[int]]
) -> np.ndarray:
    """Lay labels over the image; the ignore index is white.

    Args:
        image: uint8 [H, W, 3], BGR.
        labels: uint8 [H, W].
        palette: RGB of each label.

    Returns:
        uint8 [H, W, 3], RGB.
    """
    colours = np.full((256, 3), 255, np.uint8)
    colours[: len(palette)] = palette
    return (0.3 * image[..., ::-1] + 0.7 * colours[labels]).astype(np.uint8)
