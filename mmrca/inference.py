"""The CAMs of images: as the model gives them, and at the image's size.

The model's maps are small: kept at half precision, with the classes of the
image only, those of all scales take a few kilobytes. So they are what passes
between processes and what is saved.

Shape shorthand: H x W pixels, h x w cells, L classes of the model, C classes
of the image, S scales.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from zipfile import BadZipFile, ZipFile

import mmcv
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mmrca.atomic_write import atomic_write
from mmrca.ops.cam import normalize_cams

if TYPE_CHECKING:
    from mmrca.models import RCA


# Bytes of an image's CAMs; 100 classes at 4 scales take some 30 MB.
_LARGEST = 2**29


class Cams(NamedTuple):
    """What the model says of one image.

    Attributes:
        classes: The C class numbers (0-based) of the maps.
        maps: S maps, float16 [C, h, w] on the CPU: the logits, cut at 0, of
            the image and its mirror image, summed.
        scores: float32 [L] in 0..1, of all classes: the sigmoid of the
            trained head's logits' mean over cells, scales and mirror images.
    """

    classes: Sequence[int]
    maps: Sequence[Tensor]
    scores: Tensor


@torch.no_grad()
def infer_cams(
    model: RCA,
    images: Sequence[np.ndarray],
    classes: Sequence[Sequence[int] | None],
    scales: Sequence[float],
    flip: bool,
    thresholds: Tensor | None = None,
    amp: bool = False,
) -> list[Cams]:
    """Compute the CAMs of images of one size, all in one forward per scale.

    Nothing is padded. A side never shrinks below one pixel; whether the
    model takes an image that small is up to its backbone.

    Args:
        model: :class:`mmrca.models.RCA`. It is put into eval mode and stays
            there.
        images: uint8 [H, W, 3], BGR, all of the same H and W.
        classes: The class numbers (0-based) of each image. May be empty; None
            for an image whose classes are to be predicted.
        scales: Factors of the image's size, each > 0, at least one.
        flip: Whether mirror images take part.
        thresholds: [L] in 0..1: from which score on a class is predicted.
        amp: Whether the network runs in mixed precision.

    Returns:
        One entry per image.

    Raises:
        ValueError: If an image, a class number or a scale is not as
            described, or the model's preprocessor pads at test time.
    """
    _check(model, images, classes, scales)
    model.eval()
    device = next(model.parameters()).device.type
    with torch.autocast(device, enabled=amp):
        views = [_view(model, images, scale, flip) for scale in scales]
    means = torch.stack([view.head.float().mean((-2, -1)) for view in views])
    means = means.unflatten(1, (1 + flip, len(images)))
    scores = means.mean((0, 1)).sigmoid().cpu()
    found = [
        (scores[i] >= thresholds).nonzero()[:, 0].tolist()
        if given is None
        else given
        for i, given in enumerate(classes)
    ]
    present = present_classes(found, model.num_classes)
    maps = [_maps(model, view, present, flip) for view in views]
    return [
        Cams(given, [half(m[i, list(given)]) for m in maps], scores[i])
        for i, given in enumerate(found)
    ]


def image_stages(model: RCA, images: Sequence[np.ndarray]) -> list[Tensor]:
    """Compute the backbone's feature maps of images of one size.

    Args:
        model: :class:`mmrca.models.RCA`.
        images: uint8 [H, W, 3], BGR, all of the same H and W.

    Returns:
        [N, D_s, h_s, w_s] each, F last.
    """
    pixels = [
        torch.from_numpy(image.transpose(2, 0, 1).copy()) for image in images
    ]
    data = {'inputs': pixels, 'data_samples': None}
    inputs = model.data_preprocessor(data, training=False)['inputs']
    return model.extract_feat(inputs)


@torch.no_grad()
def stages_of_each(
    model: RCA, images: Sequence[np.ndarray]
) -> list[list[Tensor]]:
    """Compute the feature maps of images of one size, for a refinement.

    Args:
        model: :class:`mmrca.models.RCA`. It is in eval mode afterwards.
        images: As for :func:`image_stages`.

    Returns:
        For each image float32 [D_s, h_s, w_s] each, on the CPU, F last.
    """
    model.eval()
    stages = [s.float().cpu() for s in image_stages(model, images)]
    return [[s[i] for s in stages] for i in range(len(images))]


def present_classes(
    classes: Sequence[Sequence[int]], num_classes: int
) -> Tensor:
    """Mark the classes of N images: boolean [N, L] of their numbers."""
    present = torch.zeros(len(classes), num_classes, dtype=torch.bool)
    for row, given in zip(present, classes, strict=True):
        row[list(given)] = True
    return present


def half(maps: Tensor) -> Tensor:
    """Round to float16 on the CPU; what is too large becomes its maximum."""
    return maps.clamp(max=torch.finfo(torch.float16).max).half().cpu()


class _View(NamedTuple):
    """What the network says of images at one scale, mirror images last."""

    stages: Sequence[Tensor]
    head: Tensor


def _view(
    model: RCA, images: Sequence[np.ndarray], scale: float, flip: bool
) -> _View:
    views = [_resize(image, scale) for image in images]
    if flip:
        views += [view[:, ::-1] for view in views]
    stages = image_stages(model, views)
    return _View(stages, model.head_logits(stages[-1]))


def _maps(model: RCA, view: _View, present: Tensor, flip: bool) -> Tensor:
    """Sum the cut logits over mirror images: [N, L, h, w]."""
    shown = present.repeat(1 + flip, 1).to(view.head.device)
    maps = model.map_logits(view.stages, view.head, shown).float().relu()
    if flip:
        maps, mirrored = maps.chunk(2)
        maps = maps + mirrored.flip(-1)
    return maps


def _resize(image: np.ndarray, scale: float) -> np.ndarray:
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return mmcv.imresize(image, (width, height))


def enlarge_cams(
    cams: Cams, size: tuple[int, int], normalization: str
) -> Tensor:
    """Bring the maps of all scales to the image's size, sum and normalise.

    Args:
        cams: From :func:`infer_cams`.
        size: H and W.
        normalization: As :func:`mmrca.ops.cam.normalize_cams`.

    Returns:
        float32 [C, H, W] in 0..1. A class whose logits are nowhere positive
        is 0 everywhere.
    """
    total = torch.zeros(len(cams.classes), *size)
    if not cams.classes:
        return total
    for maps in cams.maps:
        total += F.interpolate(maps[None].float(), size, mode='bilinear')[0]
    return normalize_cams(total, normalization)


def save_cams(path: Path, cams: Cams) -> None:
    """Write CAMs as a numpy archive that is whole or not there.

    Args:
        path: ``ID.npz``.
        cams: From :func:`infer_cams`.
    """
    arrays: dict[str, Any] = {
        f'cam_{i}': m.numpy() for i, m in enumerate(cams.maps)
    }
    arrays['classes'] = np.array(cams.classes, dtype=np.int64)
    arrays['scores'] = cams.scores.numpy()
    with atomic_write(path) as part, part.open('wb') as file:
        np.savez(file, **arrays)


def read_cams(path: Path, classes: Sequence[int] | None) -> Cams | None:
    """Read saved CAMs.

    Args:
        path: ``ID.npz``.
        classes: The image's classes, None if they are to be those saved.

    Returns:
        None if they are missing, broken, of other classes or so large that
        they may be a decompression bomb.
    """
    try:
        with ZipFile(path) as archive:
            if sum(i.file_size for i in archive.infolist()) > _LARGEST:
                return None
        with np.load(path) as arrays:
            known = arrays['classes'].tolist()
            if classes is not None and known != list(classes):
                return None
            count = sum(name.startswith('cam_') for name in arrays)
            maps = [torch.from_numpy(arrays[f'cam_{i}']) for i in range(count)]
            scores = torch.from_numpy(arrays['scores'])
    # A header may promise any size.
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, MemoryError):
        return None
    fit = all(m.ndim == 3 and len(m) == len(known) for m in maps)
    return Cams(known, maps, scores) if maps and fit else None


def _check(
    model: RCA,
    images: Sequence[np.ndarray],
    classes: Sequence[Sequence[int] | None],
    scales: Sequence[float],
) -> None:
    for image in images:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(
                f'image must be uint8 [H, W, 3], not {image.dtype} '
                f'{list(image.shape)}'
            )
    if len({image.shape for image in images}) != 1:
        raise ValueError('the images of a batch must be of one size')
    if not scales or min(scales) <= 0:
        raise ValueError(f'scales {scales} must be one or more numbers > 0')
    for given in classes:
        if any(not 0 <= n < model.num_classes for n in given or ()):
            raise ValueError(
                f'classes {list(given or ())} must lie in '
                f'0..{model.num_classes - 1}'
            )
    if getattr(model.data_preprocessor, 'test_cfg', None):
        raise ValueError(
            'model.data_preprocessor.test_cfg pads images, which a CAM must '
            'not see; remove it from the config'
        )
