"""What the training images and their labels, but no masks, settle once.

Each value is kept beside the checkpoint, in ``CHECKPOINT.calibration.json``,
and looked up there by the next run with the same model, settings and images.

Shape shorthand: L classes of the model.
"""

import functools
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from torch import Tensor

from mmrca.atomic_write import read_json, write_json
from mmrca.checkpoint import file_digest
from mmrca.datasets.images import ImageError, load_image
from mmrca.folder_lock import remove_parts
from mmrca.inference import Cams, infer_cams, stages_of_each
from mmrca.models import RCA
from mmrca.ops.metrics import best_f1
from mmrca.ops.threshold import (
    absence_threshold,
    carry_threshold,
    choose_threshold,
    colour_threshold,
)
from mmrca.progress import progress
from mmrca.pseudo_labels.inputs import ImageInfo, data_infos
from mmrca.pseudo_labels.labels import Labeller
from mmrca.pseudo_labels.settings import Settings
from mmrca.registry import DATASETS

_Infos = Sequence[ImageInfo]
# Images that say as much as all of them, evenly spread over the list.
_FOR_BACKGROUND = 300
_NORMALS = 100
# Where so many images show several classes, there may be no background.
_CROWDED = 2 / 3
_FOR_CLASSES = 1000
_LEVELS = 100
# Of the background, to see whether a refinement leaves it as it is.
_ANY = 0.3
_SAME = 1e-4
_NOTHING = 'a threshold cannot be chosen: no training image can be read.'


class Calibrator:
    """Chooses thresholds by the training images, or looks them up.

    Args:
        config: With ``train_dataloader``.
        checkpoint: Of the classifier.
        model: Made of it.
        settings: How its CAMs are made.
        dataset: The training images, if available. Without them, the file
            beside the checkpoint counts, whatever images it was made from.
    """

    def __init__(
        self,
        config: Config,
        checkpoint: str,
        model: RCA,
        settings: Settings,
        dataset: BaseDataset | None = None,
    ) -> None:
        self.config, self.model, self.settings = config, model, settings
        self.infos = None if dataset is None else data_infos(dataset)
        # A link to a checkpoint shares its file.
        self.path = Path(f'{Path(checkpoint).resolve()}.calibration.json')
        self.made_with = {
            'checkpoint_sha256': file_digest(checkpoint),
            'scales': list(settings.scales),
            'flip': settings.flip,
            'maps': vars(model.test_cfg),
        }

    def background(self) -> tuple[float, float | None]:
        """Choose constant background thresholds without masks.

        Returns:
            As :func:`mmrca.ops.threshold.choose_threshold`, of 300 images
            that show a class and 100 that show none, and that after
            refinement (:func:`mmrca.ops.threshold.carry_threshold`); None
            without, or where the refinement changes a constant background.

        Raises:
            ValueError: If no image can be read.
        """
        any_score = self.settings.with_threshold(_ANY, None)
        labeller = Labeller(any_score, self.model.test_cfg.normalization)
        made = [self.settings.refinement, labeller.digests]
        threshold, refined = self._kept(
            'background_threshold',
            functools.partial(self._choose_background, labeller),
            refinement=json.loads(json.dumps(made, default=str)),
        )
        return threshold, refined

    def classes(self) -> Tensor:
        """Choose from which score on a class is predicted.

        Returns:
            float32 [L], the thresholds of the best F1 on 1000 images;
            infinity for a class that none of them shows.

        Raises:
            ValueError: If no image can be read.
        """
        found = self._kept('classes', self._choose_classes)
        return torch.tensor([math.inf if t is None else t for t in found])

    def keep_scores(self, scores: Mapping[str, Tensor]) -> None:
        """Keep the scores that label making computed, for :meth:`classes`.

        Args:
            scores: float32 [L] by the image's ID. Of images that are missing
                here, :meth:`classes` computes them.
        """
        if self.infos is None or self._entry('classes') is not None:
            return
        sample = [i['img_id'] for i in self._sample(self.infos, _FOR_CLASSES)]
        found = self._entry('scores') or {}
        found |= {n: scores[n].tolist() for n in sample if n in scores}
        if len(found) < len(sample):
            self._keep('scores', found)
        else:
            self._keep('classes', self._thresholds(self.infos, found))

    def _choose_background(
        self, labeller: Labeller, infos: _Infos
    ) -> tuple[float, float | None]:
        shown = [info for info in infos if info['gt_label']]
        found, present, absent, pixels = self._look_for_background(
            labeller, self._sample(shown, _FOR_BACKGROUND)
        )
        if not found:
            raise ValueError(_NOTHING)
        normals = [info for info in infos if not info['gt_label']]
        looked = self._look(self._sample(normals, _NORMALS))
        for turn, (_, image) in enumerate(looked):
            absent += self._absent(image, (), turn)
        several = sum(len(info['gt_label'] or ()) > 1 for info in shown)
        if several >= _CROWDED * len(shown):
            print(
                f'{several} of {len(shown)} images show several classes; if '
                'they fill their images, and nothing is background, set '
                'pseudo_label.background.threshold=0',
                flush=True,
            )
        if all(map(math.isnan, found)):
            print(
                'in no image do the colours tell a background threshold; '
                'look at the labels',
                flush=True,
            )
        floor = absence_threshold(present, absent, labeller.normalization)
        threshold = choose_threshold(found, floor)
        if pixels is None:
            return threshold, None
        return threshold, carry_threshold(threshold, *pixels)

    def _look_for_background(
        self, labeller: Labeller, infos: _Infos
    ) -> tuple[list[float], list[Tensor], list[Tensor], Tensor | None]:
        """Go through images that show a class.

        Returns:
            Each one's :func:`colour_threshold`, its maps, one of a class that
            it does not show, and [2, T], how many pixels have their highest
            score in each of T equal parts of 0..1, before and after
            refinement; None if the refinement changes the background.
        """
        found, present, absent = [], [], []
        pixels = torch.zeros(2, _LEVELS) if labeller.refinements else None
        for info, image in self._look(infos):
            classes = list(info['gt_label'] or ())
            cams = self._cams(image, classes)
            stages = None
            if labeller.needs_stages:
                (stages,) = stages_of_each(self.model, [image])
            scores = labeller.score(image, cams, info['img_id'], stages)
            colours = torch.from_numpy(image)
            found.append(colour_threshold(colours, scores.plain[1:]))
            if pixels is not None:
                highest = [s[1:].amax(0).clamp(0, 1) for s in scores]
                pixels += torch.stack(
                    [s.histc(_LEVELS, 0, 1) for s in highest]
                )
                if (scores.refined[0] - _ANY).abs().max() > _SAME:
                    # As a CRF does, which sets the classes against it.
                    pixels, labeller = None, labeller.without_refinement()
            views = 1 + self.settings.flip
            present.append(cams.maps[0].float() / views)
            absent += self._absent(image, classes, len(found))
        return found, present, absent, pixels

    def _absent(
        self, image: np.ndarray, shown: Sequence[int], turn: int
    ) -> list[Tensor]:
        """Compute the map of a class that an image does not show, in turn."""
        others = [c for c in range(self.model.num_classes) if c not in shown]
        if not others:
            return []
        one = others[turn % len(others)]
        scale = self.settings.scales[:1]
        (cams,) = infer_cams(self.model, [image], [[one]], scale, False)
        return [cams.maps[0].float()]

    def _choose_classes(self, infos: _Infos) -> list[float | None]:
        known = dict(self._entry('scores') or {})
        sample = self._sample(infos, _FOR_CLASSES)
        missing = [info for info in sample if info['img_id'] not in known]
        for info, image in self._look(missing):
            cams = self._cams(image, list(info['gt_label'] or ()))
            known[info['img_id']] = cams.scores.tolist()
        if not known:
            raise ValueError(_NOTHING)
        return self._thresholds(infos, known)

    @staticmethod
    def _thresholds(
        infos: _Infos, known: Mapping[str, Sequence[float]]
    ) -> list[float | None]:
        """Choose by scores that are known."""
        pairs = [
            (torch.tensor(known[info['img_id']]), list(info['gt_label'] or ()))
            for info in infos
            if info['img_id'] in known
        ]
        scores = torch.stack([score for score, _ in pairs])
        labels = torch.zeros_like(scores)
        for label, (_, shown) in zip(labels, pairs, strict=True):
            label[shown] = 1
        found, _ = best_f1(scores, labels)
        # JSON has no infinity.
        return [
            t if math.isfinite(t) else None for t in found.float().tolist()
        ]

    @staticmethod
    def _sample(infos: _Infos, count: int) -> _Infos:
        """Choose so many images at most, evenly spread."""
        return infos[:: max(1, -(-len(infos) // count))]

    def _look(self, infos: _Infos) -> Iterator[tuple[ImageInfo, np.ndarray]]:
        """Go through images that can be read."""
        for info in progress(infos, 'calibration'):
            try:
                image = load_image(
                    info['img_path'], self.model.test_cfg.max_side
                )
            except ImageError:  # named when it is labelled
                continue
            yield info, image

    def _cams(self, image: np.ndarray, classes: Sequence[int]) -> Cams:
        scales, flip = self.settings.scales, self.settings.flip
        return infer_cams(self.model, [image], [classes], scales, flip)[0]

    def _kept(
        self, what: str, choose: Callable[[_Infos], Any], **made_with: Any
    ) -> Any:
        """Look a value up, or choose and keep it."""
        value = self._entry(what, **made_with)
        if value is not None:
            return value
        if self.infos is None:
            dataset = DATASETS.build(self.config.train_dataloader.dataset)
            self.infos = data_infos(dataset)
        value = choose(self.infos)
        self._keep(what, value, **made_with)
        return value

    def _read(self) -> dict:
        try:
            return read_json(self.path)
        except (OSError, ValueError):
            return {}

    def _entry(self, what: str, **made_with: Any) -> Any:
        """Look a value up; None if there is none of this model and images."""
        entry = self._read().get(what)
        if isinstance(entry, dict) and self._fits(entry, made_with):
            return entry['value']
        return None

    def _keep(self, what: str, value: Any, **made_with: Any) -> None:
        kept = self._read()
        kept[what] = {'value': value, **self.made_with, **made_with}
        kept[what]['images'] = _digest(self.infos or ())
        name = escape(self.path.name)
        try:
            remove_parts(self.path.parent, f'.{name}.*.part')
            write_json(self.path, kept)
        except OSError as error:
            print(f'the calibration cannot be kept: {error}', flush=True)

    def _fits(self, entry: dict, made_with: dict) -> bool:
        wanted = {**self.made_with, **made_with}
        if self.infos is not None:
            wanted['images'] = _digest(self.infos)
        return 'value' in entry and all(
            entry.get(key) == value for key, value in wanted.items()
        )


def _digest(infos: _Infos) -> str:
    """Tell data sets apart by their images and labels."""
    names = [(info['img_id'], list(info['gt_label'] or ())) for info in infos]
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()
