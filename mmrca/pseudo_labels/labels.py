"""From the CAMs of one image to its pseudo-label.

Shape shorthand: C classes of the image, H x W pixels.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import mmcv
import numpy as np
import torch
from torch import Tensor

from mmrca.inference import Cams, enlarge_cams
from mmrca.ops import IGNORE_INDEX
from mmrca.ops.doubt import disagreement, mean_margin
from mmrca.ops.pseudo_label import background_conflict, conflict, fuse
from mmrca.pseudo_labels.settings import Settings


class Scores(NamedTuple):
    """What a label is made of.

    Attributes:
        plain: [C+1, H, W] in 0..1: the background cue, then the CAMs.
        refined: [C+1, H, W] after refinement; ``plain`` without.
    """

    plain: Tensor
    refined: Tensor


class Label(NamedTuple):
    """A label and how sure it is.

    Attributes:
        pixels: uint8 [H, W], as :func:`mmrca.ops.pseudo_label.fuse`.
        margin: As :func:`mmrca.ops.doubt.mean_margin`, after refinement.
        disagreement: As :func:`mmrca.ops.doubt.disagreement`.
    """

    pixels: np.ndarray
    margin: float
    disagreement: float


class Labeller:
    """Turns CAMs into labels: cue, refinement, fusion.

    Args:
        settings: With a background threshold that is a number.
        normalization: As :func:`mmrca.ops.cam.normalize_cams`.

    Raises:
        ValueError: If cue or refinement cannot be built.
    """

    def __init__(self, settings: Settings, normalization: str) -> None:
        self.settings = settings
        self.normalization = normalization
        self.cue = settings.build_cue()
        self.refinements = settings.build_refinements()
        self.needs_stages = any(map(_needs_stages, self.refinements))
        # Of the weights that refinements have.
        self.digests = [
            r.digest for r in self.refinements if hasattr(r, 'digest')
        ]

    def check_classes(self, classes: Sequence[str]) -> None:
        """Check the names of the classes, ``background`` first.

        Raises:
            ValueError: A refinement knows others.
        """
        for refine in self.refinements:
            if hasattr(refine, 'check_classes'):
                refine.check_classes(classes)

    def without_refinement(self) -> 'Labeller':
        """Return a copy that fuses the plain scores."""
        settings = replace(self.settings, refinement=None)
        return Labeller(settings, self.normalization)

    def score(
        self,
        image: np.ndarray,
        cams: Cams,
        img_id: str,
        stages: Sequence[Tensor] | None = None,
    ) -> Scores:
        """Score background and classes at each pixel.

        Args:
            image: uint8 [H, W, 3], BGR.
            cams: As the model gave them.
            img_id: Of the image, for the cue, and for a refinement with
                ``needs_id``.
            stages: [D_s, h_s, w_s] each, the backbone's feature maps, for a
                refinement with ``needs_stages``.

        Raises:
            ImageError: If a file that belongs to the image cannot be used.
        """
        size = (image.shape[0], image.shape[1])
        maps = enlarge_cams(cams, size, self.normalization)
        plain = torch.cat([self.cue(maps, img_id)[None], maps])
        refined = plain
        if cams.classes:
            rgb = image[..., ::-1].copy()
            for refine in self.refinements:
                more: dict[str, Any] = {}
                if _needs_stages(refine):
                    more['stages'] = stages
                if getattr(refine, 'needs_id', False):
                    more['img_id'] = img_id
                refined = refine(rgb, refined, cams.classes, **more)
        background = getattr(self.cue, 'refined', None)
        if self.refinements and background is not None:
            refined = torch.cat(
                [torch.full_like(refined[:1], background), refined[1:]]
            )
        return Scores(plain, refined)

    def __call__(
        self,
        image: np.ndarray,
        cams: Cams,
        img_id: str,
        size: tuple[int, int],
        stages: Sequence[Tensor] | None = None,
    ) -> Label:
        """Label an image that may have been shrunk.

        Args:
            image: As for :meth:`score`.
            cams: As the model gave them.
            img_id: Of the image.
            size: Height and width of the label wanted.
            stages: As for :meth:`score`.

        Returns:
            The label in that size.

        Raises:
            ImageError: If a file that belongs to the image cannot be used.
        """
        if not cams.classes:
            return Label(np.zeros(size, np.uint8), 1.0, 0.0)
        scores = self.score(image, cams, img_id, stages)
        labels = mmcv.imresize(
            self.fuse(scores, cams.classes).numpy(),
            size[::-1],
            interpolation='nearest',
        )
        return Label(
            labels, mean_margin(scores.refined), disagreement(*scores)
        )

    def fuse(self, scores: Scores, classes: Sequence[int]) -> Tensor:
        """Turn scores into labels: uint8 [H, W]."""
        settings, (plain, refined) = self.settings, scores
        labels = fuse(refined[1:], refined[0], classes, settings.margin)
        if settings.conflict is not None:
            both = conflict(plain[1:], settings.conflict)
            labels = labels.masked_fill(both, IGNORE_INDEX)
        if settings.background_conflict:
            wrong = background_conflict(labels, plain[0])
            labels = labels.masked_fill(wrong, IGNORE_INDEX)
        return labels


def _needs_stages(refinement: Any) -> bool:
    return getattr(refinement, 'needs_stages', False)
