"""Data sets and transforms, registered in :mod:`mmrca.registry`."""

from .image_level_dataset import ImageLevelDataset, unwrap_dataset
from .pack_image_labels import PackImageLabels

__all__ = ['ImageLevelDataset', 'PackImageLabels', 'unwrap_dataset']
