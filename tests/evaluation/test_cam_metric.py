import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from mmrca.evaluation import CAMMetric
from mmrca.ops.metrics import confusion_matrix, strict_iou

CLASSES = 3


def samples(count: int = 6, threshold: float = 0.3) -> list[dict]:
    generator = torch.Generator().manual_seed(0)
    made = []
    for _ in range(count):
        cam = torch.rand(CLASSES, 8, 9, generator=generator)
        target = torch.randint(0, CLASSES + 1, (1, 8, 9), generator=generator)
        target[0, 0] = 255
        label = (torch.rand(CLASSES, generator=generator) > 0.5).float()
        label[0] = 1
        present = cam * label[:, None, None]
        background = torch.full_like(cam[:1], threshold)
        scores = torch.cat([background, present])
        made.append(
            dict(
                gt_label=label,
                pred_score=torch.rand(CLASSES, generator=generator),
                seg_logits=dict(data=scores),
                pred_sem_seg=dict(data=scores.argmax(0, keepdim=True)),
                gt_sem_seg=dict(data=target),
            )
        )
    return made


def evaluate(data: list[dict], **settings) -> dict:
    metric = CAMMetric(**settings)
    for sample in data:
        metric.process({}, [sample])
    return metric.evaluate(len(data))


def reference_miou(data: list[dict], threshold: float) -> float:
    """Threshold each image and count pixel by pixel."""
    total = 0
    for sample in data:
        cam = sample['seg_logits']['data'][1:]
        target = sample['gt_sem_seg']['data'][0]
        pred = torch.zeros_like(target)
        for y, x in np.ndindex(*target.shape):
            present = [
                (cam[c, y, x].item(), c)
                for c in range(CLASSES)
                if sample['gt_label'][c]
            ]
            score, winner = max(present)
            if score > threshold:
                pred[y, x] = winner + 1
        total = total + confusion_matrix(pred, target, CLASSES + 1)
    return 100 * strict_iou(total).nanmean().item()


@pytest.mark.parametrize('threshold', [0.0, 0.3, 0.9])
def test_metrics_are_those_of_a_loop(threshold):
    data = samples(threshold=threshold)
    metrics = evaluate(data, num_thresholds=10)
    expected = reference_miou(data, threshold)
    assert metrics['cam_mIoU'] == pytest.approx(expected, abs=0.005)
    curve = [reference_miou(data, k / 10) for k in range(10)]
    assert metrics['cam_mIoU_best'] == pytest.approx(max(curve), abs=0.005)
    assert metrics['best_threshold'] == np.argmax(curve) / 10
    labels = np.stack([s['gt_label'] for s in data])
    scores = np.stack([s['pred_score'] for s in data])
    expected = np.mean(
        [
            average_precision_score(labels[:, c], scores[:, c])
            for c in range(CLASSES)
        ]
    )
    assert metrics['mAP'] == pytest.approx(100 * expected, abs=0.005)


def test_without_masks_there_is_only_the_map():
    data = [
        {k: v for k, v in s.items() if k != 'gt_sem_seg'} for s in samples()
    ]
    assert set(evaluate(data)) == {'mAP'}


def test_a_class_that_never_occurs_does_not_count():
    data = samples()
    for sample in data:
        sample['gt_label'][2] = 0
    few = evaluate(data)['mAP']
    for sample in data:
        sample['pred_score'][2] = 0.0
    assert evaluate(data)['mAP'] == few


def test_a_mask_of_another_size_is_named():
    (sample,) = samples(1)
    sample['img_id'] = 'holiday'
    sample['gt_sem_seg'] = dict(data=torch.zeros(1, 9, 8))
    with pytest.raises(ValueError, match='mask of image holiday is 8 x 9'):
        evaluate([sample])
