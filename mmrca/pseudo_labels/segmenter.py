"""A second round: the segmenter that labels trained labels them again."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.config import Config
from mmseg.apis import inference_model
from torch import Tensor

from mmrca.checkpoint import file_digest, load_network, read_checkpoint
from mmrca.checks import first_few
from mmrca.registry import REFINEMENTS


@REFINEMENTS.register_module(name='segmenter')
class Segmenter:
    """Take a segmenter's predictions in place of the scores.

    It may be any of MMSegmentation's. What it says of classes that an image
    does not show is left out: the image-level labels filter its predictions.

    Args:
        config: File that it was trained with, with a ``test_pipeline``.
        checkpoint: Its weights, written in training.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: The config has no test pipeline, or the checkpoint is not
            of this config.
    """

    def __init__(self, config: str, checkpoint: str) -> None:
        self.config = config
        self.digest = file_digest(checkpoint)
        self.meta = read_checkpoint(checkpoint).get('meta', {})
        self.network = _load(config, checkpoint)

    def check_classes(self, classes: Sequence[str]) -> None:
        """Raise ValueError unless it knows these, ``background`` first."""
        known = self.meta.get('dataset_meta', {}).get('classes')
        if known is not None and list(known) != list(classes):
            raise ValueError(
                f'the segmenter of {self.config} has the classes '
                f'{first_few(list(known))}, and the labels '
                f'{first_few(list(classes))}; take one that was trained on '
                'labels of these classes'
            )

    def __call__(
        self, image: np.ndarray, scores: Tensor, classes: Sequence[int]
    ) -> Tensor:
        """Score an image, uint8 [H, W, 3] RGB, anew: [C+1, H, W] in 0..1."""
        result = inference_model(self.network, image[..., ::-1].copy())
        shown = [0, *(number + 1 for number in classes)]
        return result.seg_logits.data[shown].softmax(0).to(scores)


def _load(path: str, checkpoint: str) -> Any:
    config = Config.fromfile(path)
    pipeline = config.get('test_pipeline')
    if not pipeline:
        raise ValueError(
            f'config={path!r} has no test_pipeline: take the config that the '
            'segmenter was trained with'
        )
    # As mmseg's inference does at each call, which two threads must not.
    config.test_pipeline = [
        step for step in pipeline if step['type'] != 'LoadAnnotations'
    ]
    network = load_network(config, checkpoint)
    network.cfg = config
    return network
