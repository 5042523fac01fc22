"""Stops a training that diverges, and says what a finished one learned."""

import math

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmrca.checks import Count, Positive
from mmrca.registry import HOOKS

_HIGH = 70.0
_FEW = 20  # images that say nothing of classes


@HOOKS.register_module()
class TrainingCheckHook(Hook):
    """Check the loss now and then, and the mAP at the end.

    A training is stopped when the mean loss over ``interval`` iterations is
    not finite, or exceeds ``factor`` times that of the first ``interval``
    iterations ``patience`` times in a row. The last checkpoint stays.

    Args:
        interval: Iterations between two checks. Where checkpoints are saved
            by iterations, it should divide their interval.
        factor: How far above its start the loss may be.
        patience: How many checks in a row it may be so.
    """

    # Before CheckpointHook, so that broken weights are not saved.
    priority = 'NORMAL'

    def __init__(
        self, interval: Count = 10, factor: Positive = 5.0, patience: Count = 5
    ) -> None:
        self.interval = interval
        self.factor = factor
        self.patience = patience
        self._sum: torch.Tensor | None = None
        self._count = self._above = 0
        self._start: float | None = None

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Add the loss up; check it every ``interval`` iterations.

        Raises:
            ValueError: The training diverges.
        """
        loss = (outputs or {}).get('loss')
        if loss is None:
            return
        # Read on a GPU only when it is checked: reading waits for the step.
        loss = loss.detach().float()
        self._sum = loss if self._sum is None else self._sum + loss
        self._count += 1
        if self._count == self.interval:
            self._check(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Check before the epoch's checkpoint is saved.

        Raises:
            ValueError: The training diverges.
        """
        if self._count:
            self._check(runner)

    def _check(self, runner: Runner) -> None:
        assert self._sum is not None
        mean = self._sum / self._count
        self._sum, self._count = None, 0
        all_reduce(mean, 'mean')  # all processes stop, or none
        loss = mean.item()
        if self._start is None:
            # A resumed training knows where the first one began.
            known = runner.message_hub.runtime_info.get('loss_at_start')
            self._start = loss if known is None else known
            runner.message_hub.update_info('loss_at_start', self._start)
        high = not loss <= self.factor * self._start
        self._above = self._above + 1 if high else 0
        if math.isfinite(loss) and self._above < self.patience:
            return
        before = ''
        if math.isfinite(self._start):
            before = f', at the start it was {self._start:.4g}'
        raise ValueError(
            f'the training diverges: around iteration {runner.iter + 1} the '
            f'loss is {loss:.4g}{before}. '
            f'Lower the learning rate ({_rate(runner)} now, '
            'optim_wrapper.optimizer.lr) or clip the gradients '
            '(optim_wrapper.clip_grad.max_norm=1.0) and start anew. '
            f'{_checkpoint(runner)}'
        )

    def after_train(self, runner: Runner) -> None:
        """Say how well the classes of the validation images were learned."""
        found = runner.message_hub.log_scalars.get('val/mAP')
        if found is None:
            return
        score = found.current()
        advice = (
            'it tells the classes apart. Whether their maps cover the objects '
            'only the labels show.'
            if score >= _HIGH
            else 'it hardly knows the classes, and labels will be poor. Train '
            'longer, or check the image-level labels.'
        )
        assert runner.val_dataloader is not None
        images = len(runner.val_dataloader.dataset)
        if images < _FEW:
            advice = 'too few to tell how well it knows the classes.'
        runner.logger.info(
            f'The classifier has a mAP of {score:.1f} on {images} validation '
            f'images: {advice}'
        )


def _rate(runner: Runner) -> str:
    rates = runner.optim_wrapper.get_lr()
    rates = rates.get('base_lr') or next(iter(rates.values()))
    return f'{rates[0]:.3g}'


def _checkpoint(runner: Runner) -> str:
    last = runner.message_hub.runtime_info.get('last_ckpt')
    return f'{last} is from before.' if last else 'No checkpoint was saved.'
