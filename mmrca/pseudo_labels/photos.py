"""Photographs without labels: the classifier predicts their classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmrca.checkpoint import dataset_metainfo, load_classifier, locate
from mmrca.datasets.images import (
    IMAGE_SUFFIXES,
    image_ids,
    list_images,
    load_image,
    shrink,
)
from mmrca.inference import infer_cams, stages_of_each
from mmrca.pseudo_labels.calibration import Calibrator
from mmrca.pseudo_labels.inputs import ImageInfo
from mmrca.pseudo_labels.labels import Labeller
from mmrca.pseudo_labels.settings import read_settings
from mmrca.pseudo_labels.writer import palette_of


def photo_infos(
    folder: str | Path, outputs: Sequence[Path | None] = ()
) -> list[ImageInfo]:
    """List the images of a folder and its subfolders.

    Args:
        folder: The folder.
        outputs: Folders that are written to; they may not lie in it.

    Returns:
        Entries as of a data set, with ``gt_label`` None.

    Raises:
        FileNotFoundError: If the folder is missing or holds no image.
        ValueError: If two images have the same name without suffix, or an
            output would lie among them.
    """
    folder = Path(folder).absolute()
    names, _ = list_images(folder)
    for output in outputs:
        if output and output.is_relative_to(folder):
            raise ValueError(
                f'{output} lies in the folder of photos, where the next run '
                'would take labels for photos; give another folder'
            )
    if not names:
        raise FileNotFoundError(
            f'no image is in {folder}; images end in '
            f'{", ".join(IMAGE_SUFFIXES)}'
        )
    ids = image_ids({name: name for name in names})
    return [
        {'img_id': ids[name], 'img_path': str(folder / name), 'gt_label': None}
        for name in names
    ]


def classes_and_palette(
    config: Config,
) -> tuple[list[str], Sequence[Sequence[int]]]:
    """Look up the classes of a config's training set, and their colours."""
    metainfo = dataset_metainfo(config)
    return list(metainfo['classes']), palette_of(metainfo)


class PhotoLabels(NamedTuple):
    """What :class:`PhotoLabeller` sees in a photo.

    Attributes:
        labels: uint8 [H, W]: 0 background, c + 1 for class c, 255 where
            unsure.
        classes: Names of the classes it predicts.
        scores: Of all classes by name, in 0..1.
    """

    labels: np.ndarray
    classes: list[str]
    scores: dict[str, float]


class PhotoLabeller:
    """Labels photos one by one, as ``make_pseudo_labels.py --photos`` does.

    The first one made of a checkpoint looks at training images for the
    classes' thresholds (:class:`Calibrator`); later ones read them from a
    file beside the checkpoint and need no training images::

        label = PhotoLabeller('configs/custom/mine.py', 'epoch_8.pth')
        found = label('holiday.jpg')

    Args:
        config: File that the classifier was trained with.
        checkpoint: File written in training.

    Raises:
        ValueError: If config or checkpoint are wrong, or labels are made
            with saliency maps or segments.
        FileNotFoundError: If a file is missing.
    """

    def __init__(self, config: str | Path, checkpoint: str | Path) -> None:
        cfg = Config.fromfile(config)
        settings = read_settings(cfg)
        if settings.file_checks():
            raise ValueError(
                'a single photo has no saliency map and no segments; set '
                'another pseudo_label.background and pseudo_label.refinement.'
            )
        init_default_scope(cfg.get('default_scope', 'mmseg'))
        checkpoint = str(locate(str(checkpoint)))
        self.model = load_classifier(cfg, checkpoint)
        self.classes = list(dataset_metainfo(cfg)['classes'][1:])
        found = Calibrator(cfg, checkpoint, self.model, settings)
        self.thresholds = found.classes()
        if settings.auto:
            settings = settings.with_threshold(*found.background())
        normalization = self.model.test_cfg.normalization
        self.labeller = Labeller(settings, normalization)

    @torch.no_grad()
    def __call__(self, photo: str | Path | np.ndarray) -> PhotoLabels:
        """Label a photo.

        Args:
            photo: Its file, or uint8 [H, W, 3] in BGR.

        Raises:
            ImageError: If the file cannot be decoded.
        """
        pixels = photo if isinstance(photo, np.ndarray) else load_image(photo)
        settings = self.labeller.settings
        image, stages = shrink(pixels, self.model.test_cfg.max_side), None
        (cams,) = infer_cams(
            self.model,
            [image],
            [None],
            settings.scales,
            settings.flip,
            self.thresholds,
            settings.amp,
        )
        if self.labeller.needs_stages:
            (stages,) = stages_of_each(self.model, [image])
        size = (pixels.shape[0], pixels.shape[1])
        labels = self.labeller(image, cams, 'photo', size, stages).pixels
        scores = zip(self.classes, cams.scores.tolist(), strict=True)
        return PhotoLabels(
            labels, [self.classes[c] for c in cams.classes], dict(scores)
        )
