"""Pictures of maps and masks over their photographs.

Shape shorthand: C classes, H x W pixels.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
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


def save_sheet(
    path: Path, titles: Sequence[str], rows: Sequence[Sequence[np.ndarray]]
) -> Path:
    """Save pictures as a grid.

    Args:
        path: A PNG file.
        titles: Of the columns.
        rows: uint8 [H, W, 3] RGB, as many a row as there are titles.

    Returns:
        ``path``.
    """
    figure = Figure(figsize=(2 * len(titles), 1.6 * len(rows)), dpi=100)
    grid = figure.subplots(len(rows), len(titles), squeeze=False)
    for pictures, axes in zip(rows, grid, strict=True):
        for picture, axis in zip(pictures, axes, strict=True):
            axis.imshow(picture)
            axis.axis('off')
    for title, axis in zip(titles, grid[0], strict=True):
        axis.set_title(title)
    figure.tight_layout(pad=0.3)
    figure.savefig(path)
    return path
