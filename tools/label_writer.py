"""Predicted label maps of a test, as files."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.structures import SegDataSample

from mmrca.datasets.image_level_dataset import unwrap_dataset
from mmrca.datasets.images import image_id, image_name
from mmrca.pseudo_labels.writer import palette_of, write_label


class LabelWriter(Hook):
    """Writes each predicted label map, in the subfolder of its image.

    MMSegmentation's IoUMetric drops subfolders, so images of one name in two
    of them would overwrite each other.

    Args:
        folder: Where to.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[SegDataSample] | None = None,
    ) -> None:
        """Write the labels of a batch."""
        dataset = unwrap_dataset(runner.test_dataloader.dataset)
        palette = palette_of(dataset.metainfo)
        for sample in outputs or ():
            folder = dataset.data_prefix['img_path']
            name = os.path.relpath(sample.img_path, folder)
            image_name(name, f'image folder {folder}')  # it may lead out
            path = self.folder / f'{image_id(name)}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            # [1, H, W], or [H, W] of MMSegmentation's SegTTAModel.
            labels = sample.pred_sem_seg.data.cpu().numpy()
            labels = labels.reshape(labels.shape[-2:])
            write_label(path, labels.astype(np.uint8), palette)
