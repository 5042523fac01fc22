"""Pictures as a grid.

Shape shorthand: H x W pixels.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure


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
