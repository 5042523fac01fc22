"""Validation of a classifier and of its CAMs."""

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mmrca.checks import Count
from mmrca.datasets.masks import check_size
from mmrca.ops.cam import threshold_confusion
from mmrca.ops.metrics import confusion_matrix, strict_iou
from mmrca.registry import METRICS

_SIZED = ('gt_sem_seg', 'seg_logits')


@METRICS.register_module()
class CAMMetric(BaseMetric):
    """Classification mAP and, where masks exist, CAM mIoU; both in percent.

    CAMs are turned into masks with the image's own labels. ``cam_mIoU`` is
    that of the prediction, at the threshold of ``model.test_cfg``.
    ``cam_mIoU_best`` uses the best of ``num_thresholds`` thresholds,
    ``best_threshold``, which is chosen with the masks.

    Args:
        num_thresholds: Thresholds tried, evenly spaced from 0.
        collect_device: As in mmengine.
        prefix: As in mmengine.
    """

    def __init__(
        self,
        num_thresholds: Count = 50,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.num_thresholds = num_thresholds

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count one batch.

        Args:
            data_batch: Not used.
            data_samples: With ``gt_label``, ``pred_score``, ``seg_logits``,
                ``pred_sem_seg`` and, where masks exist, ``gt_sem_seg``.

        Raises:
            ValueError: A mask is of another size than its image.
        """
        for sample in data_samples:
            counts = None
            if 'gt_sem_seg' in sample:
                sizes = (sample[name]['data'].shape[-2:] for name in _SIZED)
                check_size('mask of image', sample.get('img_id', ''), *sizes)
                counts = self._count(sample)
            self.results.append(
                (
                    sample['gt_label'].cpu().numpy(),
                    sample['pred_score'].float().cpu().numpy(),
                    counts,
                )
            )

    def _count(self, sample: dict) -> tuple[Tensor, Tensor]:
        """Count pixels: of the prediction, and at every threshold."""
        mask = sample['gt_sem_seg']['data'][0]
        cams = sample['seg_logits']['data'][1:]
        prediction = confusion_matrix(
            sample['pred_sem_seg']['data'][0], mask, len(cams) + 1
        )
        curve = threshold_confusion(
            cams, sample['gt_label'], mask, self.num_thresholds
        )
        return prediction.cpu(), curve.cpu()

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Summarise all batches.

        Args:
            results: What :meth:`process` kept.

        Returns:
            ``mAP`` over the classes that occur and, with masks,
            ``cam_mIoU``, ``cam_mIoU_best`` and ``best_threshold``.
        """
        labels, scores, counts = zip(*results, strict=True)
        metrics = dict(mAP=self._mean_ap(np.stack(labels), np.stack(scores)))
        masked = [c for c in counts if c is not None]
        if masked:
            predictions, curves = zip(*masked, strict=True)
            metrics |= self._mean_iou(sum(predictions), sum(curves))
        return metrics

    @staticmethod
    def _mean_ap(labels: np.ndarray, scores: np.ndarray) -> float:
        # Takes a second to import, which a training alone need not wait for.
        from sklearn.metrics import average_precision_score

        occurs = labels.any(axis=0)
        precision = average_precision_score(
            labels[:, occurs], scores[:, occurs], average='macro'
        )
        return round(100 * float(precision), 2)

    def _mean_iou(self, prediction: Tensor, curve: Tensor) -> dict[str, float]:
        ious = torch.stack([strict_iou(c).nanmean() for c in curve])
        best = int(ious.argmax())
        return dict(
            cam_mIoU=round(100 * float(strict_iou(prediction).nanmean()), 2),
            cam_mIoU_best=round(100 * float(ious[best]), 2),
            best_threshold=best / self.num_thresholds,
        )
