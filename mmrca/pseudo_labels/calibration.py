"""What the training images and their labels, but no masks, settle once.

Each value is kept beside the checkpoint, in ``CHECKPOINT.calibration.json``,
and looked up there by the next run with the same model, settings and images.

Shape shorthand: L classes of the model.
"""

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from torch import Tensor, nn

from mmrca.datasets.images import ImageError, load_image
from mmrca.inference import Cams, enlarge_cams, infer_cams
from mmrca.ops.metrics import best_f1
from mmrca.ops.threshold import choose_threshold, colour_threshold
from mmrca.progress import progress
from mmrca.pseudo_labels.inputs import collect_inputs, data_infos
from mmrca.pseudo_labels.manifest import write_json
from mmrca.pseudo_labels.settings import Settings
from mmrca.registry import DATASETS

# Images that say as much as all of them, evenly spread over the list.
_FOR_BACKGROUND = 300
_FOR_CLASSES = 1000


class Calibrator:
    """Chooses thresholds by the training images, or looks them up.

    Args:
        config: With ``train_dataloader``.
        checkpoint: Of the classifier.
        model: Made of it.
        settings: How its CAMs are made.
        dataset: The training images, if they are at hand. Without, what is
            kept beside the checkpoint is taken whatever images it is of.
    """

    def __init__(
        self,
        config: Config,
        checkpoint: str,
        model: nn.Module,
        settings: Settings,
        dataset: BaseDataset | None = None,
    ) -> None:
        self.config, self.model, self.settings = config, model, settings
        self.dataset = dataset
        self.path = Path(f'{checkpoint}.calibration.json')
        content = Path(checkpoint).read_bytes()
        self.made_with = {
            'checkpoint_sha256': hashlib.sha256(content).hexdigest(),
            'scales': list(settings.scales),
            'flip': settings.flip,
            'normalization': settings.normalization,
            'max_side': settings.max_side,
        }

    def background(self) -> float:
        """Choose a constant background threshold by the images' colours.

        Returns:
            As :func:`mmrca.ops.threshold.choose_threshold`, of 300 images.

        Raises:
            ValueError: If no image can be read or tells a threshold.
        """
        known = self._known('background')
        if known is not None:
            return known
        found = []
        for image, _, cams in self._look('background', _FOR_BACKGROUND):
            size = image.shape[:2]
            maps = enlarge_cams(cams, size, self.settings.normalization)
            found.append(colour_threshold(torch.from_numpy(image), maps))
        threshold = choose_threshold(found)
        self._keep('background', threshold)
        return threshold

    def classes(self) -> Tensor:
        """Choose from which score on a class is predicted.

        Returns:
            float32 [L], the thresholds of the best F1 on 1000 images;
            infinity for a class that none of them shows.

        Raises:
            ValueError: If no image can be read.
        """
        known = self._known('classes')
        if known is None:
            scores, labels = [], []
            for _, shown, cams in self._look('classes', _FOR_CLASSES):
                scores.append(cams.scores)
                labels.append(torch.zeros_like(cams.scores))
                labels[-1][shown] = 1
            found, _ = best_f1(torch.stack(scores), torch.stack(labels))
            # JSON has no infinity.
            known = [
                t if math.isfinite(t) else None for t in found.float().tolist()
            ]
            self._keep('classes', known)
        return torch.tensor([math.inf if t is None else t for t in known])

    def _look(
        self, what: str, count: int
    ) -> Iterator[tuple[np.ndarray, list[int], Cams]]:
        """Go through a sample: image, its classes, their CAMs."""
        infos = data_infos(self._training_images())
        inputs, _ = collect_inputs(infos[:: -(-len(infos) // count)])
        seen = 0
        for item in progress(inputs, f'calibration ({what})'):
            try:
                image = load_image(item.path, self.settings.max_side)
            except ImageError:  # named when it is labelled
                continue
            (cams,) = infer_cams(
                self.model,
                [image],
                [item.classes],
                self.settings.scales,
                self.settings.flip,
            )
            seen += 1
            yield image, list(item.classes), cams
        if not seen:
            raise ValueError('none of the training images can be read')

    def _training_images(self) -> BaseDataset:
        if self.dataset is None:
            self.dataset = DATASETS.build(self.config.train_dataloader.dataset)
        return self.dataset

    def _file(self) -> dict:
        try:
            return dict(json.loads(self.path.read_text()))
        except (OSError, ValueError):
            return {}

    def _known(self, what: str) -> float | list | None:
        try:
            entry = self._file()[what]
            same = entry['made_with'] == self.made_with
            if self.dataset is not None:
                same = same and entry['images'] == self._digest()
            return entry['value'] if same else None
        except (KeyError, TypeError):
            return None

    def _keep(self, what: str, value: float | list) -> None:
        entry = {
            'value': value,
            'images': self._digest(),
            'made_with': self.made_with,
        }
        try:
            write_json(self.path, {**self._file(), what: entry})
        except OSError as error:
            print(f'the calibration cannot be kept: {error}', flush=True)

    def _digest(self) -> str:
        """Tell data sets apart by their images and labels."""
        names = [
            (info['img_id'], list(info['gt_label']))
            for info in data_infos(self._training_images())
        ]
        return hashlib.sha256(json.dumps(names).encode()).hexdigest()
