"""Packing of image-level labels beside what MMSegmentation packs."""

import numpy as np
import torch
from mmseg.datasets.transforms import PackSegInputs

from mmrca.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackImageLabels(PackSegInputs):
    """PackSegInputs with the image-level label and the memory rows.

    Adds the data fields ``gt_label`` (float [L] in {0, 1}) and
    ``memory_row`` (integer [L], 0 for absent classes) and the metainfo
    ``img_id``. They are data fields because only those move to the model's
    device.

    Args:
        meta_keys: As in PackSegInputs.
    """

    def __init__(
        self,
        meta_keys: tuple[str, ...] = (
            'img_id',
            'img_path',
            'ori_shape',
            'img_shape',
            'scale_factor',
            'flip',
            'flip_direction',
        ),
    ) -> None:
        super().__init__(meta_keys)

    def transform(self, results: dict) -> dict:
        """Pack one image.

        Args:
            results: With ``img`` and, where the image's classes are known,
                ``gt_label`` and ``memory_row`` (one entry a label) and
                ``num_classes``.

        Returns:
            ``inputs`` and ``data_samples``.

        Raises:
            ValueError: A transform has padded the image.
        """
        if 'pad_shape' in results:
            raise ValueError(
                'the pipeline pads the image, so its padding would count as '
                'image: leave out Pad, model.data_preprocessor.size pads.'
            )
        packed = super().transform(results)
        if 'gt_label' not in results:  # an image of an inferencer
            return packed
        label = np.zeros(results['num_classes'], np.float32)
        row = np.zeros(results['num_classes'], np.int64)
        label[results['gt_label']] = 1
        row[results['gt_label']] = results['memory_row']
        sample = packed['data_samples']
        sample.gt_label = torch.from_numpy(label)
        sample.memory_row = torch.from_numpy(row)
        return packed
