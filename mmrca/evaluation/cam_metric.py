"""Validation of a classifier and of its CAMs."""

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from sklearn.metrics import average_precision_score

from mmrca.ops.cam import threshold_confusion
from mmrca.ops.metrics import strict_iou
from mmrca.registry import METRICS


@METRICS.register_module()
class CAMMetric(BaseMetric):
    """Classification mAP and, where masks exist, CAM mIoU; both in percent.

    CAMs are turned into masks with the image's own labels. ``cam_mIoU``
    uses the threshold of the config. ``cam_mIoU_best`` uses the best of
    ``num_thresholds`` thresholds, ``best_threshold``, which is chosen with
    the masks.

    Args:
        threshold: Background threshold in 0..1.
        num_thresholds: Thresholds tried, evenly spaced from 0.
        collect_device: As in mmengine.
        prefix: As in mmengine.
    """

    def __init__(
        self,
        threshold: float,
        num_thresholds: int = 50,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.threshold = threshold
        self.num_thresholds = num_thresholds

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count one batch.

        Args:
            data_batch: Not used.
            data_samples: With ``gt_label``, ``pred_score``, ``cam`` and,
                where masks exist, ``gt_sem_seg``.

        Raises:
            ValueError: A mask is of another size than its image.
        """
        for sample in data_samples:
            confusion = None
            if 'gt_sem_seg' in sample:
                self._check_size(sample)
                confusion = threshold_confusion(
                    sample['cam']['data'],
                    sample['gt_label'],
                    sample['gt_sem_seg']['data'][0],
                    self.num_thresholds,
                ).cpu()
            self.results.append(
                (
                    sample['gt_label'].cpu().numpy(),
                    sample['pred_score'].float().cpu().numpy(),
                    confusion,
                )
            )

    @staticmethod
    def _check_size(sample: dict) -> None:
        image = tuple(sample['cam']['data'].shape[-2:])
        mask = tuple(sample['gt_sem_seg']['data'].shape[-2:])
        if mask != image:
            raise ValueError(
                f'the mask of image {sample["img_id"]} is {mask[1]} x '
                f'{mask[0]} pixels, the image {image[1]} x {image[0]}; '
                'replace the mask.'
            )

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Summarise all batches.

        Args:
            results: What :meth:`process` kept.

        Returns:
            ``mAP`` over the classes that occur and, with masks,
            ``cam_mIoU``, ``cam_mIoU_best`` and ``best_threshold``.
        """
        labels, scores, confusions = zip(*results, strict=True)
        figures = dict(mAP=self._mean_ap(np.stack(labels), np.stack(scores)))
        confusions = [c for c in confusions if c is not None]
        if confusions:
            figures |= self._mean_iou(sum(confusions))
        return figures

    @staticmethod
    def _mean_ap(labels: np.ndarray, scores: np.ndarray) -> float:
        occurs = labels.any(axis=0)
        precision = average_precision_score(
            labels[:, occurs], scores[:, occurs], average='macro'
        )
        return round(100 * float(precision), 2)

    def _mean_iou(self, confusion: torch.Tensor) -> dict[str, float]:
        curve = torch.stack([strict_iou(c).nanmean() for c in confusion])
        at = min(
            round(self.threshold * self.num_thresholds),
            self.num_thresholds - 1,
        )
        best = int(curve.argmax())
        return dict(
            cam_mIoU=round(100 * float(curve[at]), 2),
            cam_mIoU_best=round(100 * float(curve[best]), 2),
            best_threshold=best / self.num_thresholds,
        )
