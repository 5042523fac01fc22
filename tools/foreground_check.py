"""Predictions that show no class, as after too short a training."""

from collections.abc import Sequence

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.structures import SegDataSample

from mmrca.ops import IGNORE_INDEX


class ForegroundCheck(Hook):
    """Adds ``foreground`` to the figures of a validation and of a test.

    It is the share of the pixels whose prediction is not the background, in
    percent. Where it is 0, the end of a training and a test say so.
    """

    def __init__(self) -> None:
        self._pixels = torch.zeros(2, dtype=torch.int64)
        self._share: float | None = None

    def _after_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[SegDataSample] | None = None,
        mode: str = 'train',
    ) -> None:
        """Count the pixels of a batch of a validation or a test."""
        for sample in outputs or () if mode != 'train' else ():
            labels = sample.pred_sem_seg.data
            shown = (labels > 0) & (labels != IGNORE_INDEX)
            self._pixels += torch.tensor([int(shown.sum()), labels.numel()])

    # LoggerHook, whose priority is lower, writes the figure down.
    def _after_epoch(self, runner: Runner, mode: str = 'train') -> None:
        """Add the figure, and say if that of a test is 0."""
        if mode != 'train':
            self._add_figure(runner, mode)
        if mode == 'test':
            self.after_train(runner)

    def _add_figure(self, runner: Runner, part: str) -> None:
        all_reduce(self._pixels)
        shown, pixels = self._pixels.tolist()
        self._pixels.zero_()
        self._share = 100 * shown / pixels
        runner.message_hub.update_scalar(f'{part}/foreground', self._share)

    def after_train(self, runner: Runner) -> None:
        """Say if the last figure is 0."""
        if self._share == 0:
            runner.logger.warning(
                'The predictions are all background: the model has learned '
                'too little. Train it longer (train_cfg.max_iters or '
                'max_epochs), and look at the labels that it learns from: '
                'mostly background or unlabelled, they teach nothing else.'
            )
