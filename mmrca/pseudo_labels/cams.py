"""The CAMs of one image, averaged over scales and mirror images.

Shape shorthand: H x W pixels, L classes of the model, C present classes.
"""

from collections.abc import Sequence

import mmcv
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmrca.ops.cam import normalize_cam


@torch.no_grad()
def infer_cams(
    model: nn.Module,
    image: np.ndarray,
    classes: Sequence[int],
    scales: Sequence[float],
    flip: bool,
) -> Tensor:
    """Compute the CAMs of the classes present in one image.

    At every scale the image is resized, the logits of it and of its mirror
    image are cut at 0, brought back to H x W and summed; each class's sum is
    divided by its maximum. Nothing is padded. A side never shrinks below one
    pixel; whether the model takes an image that small is up to its backbone.

    Args:
        model: :class:`mmrca.models.RCA`. It is put into eval mode and stays
            there.
        image: uint8 [H, W, 3], BGR.
        classes: The C class numbers (0-based). May be empty.
        scales: Factors of the image's size, each > 0, at least one.
        flip: Whether the mirror image takes part.

    Returns:
        float32 [C, H, W] in 0..1 on the model's device. A class whose logits
        are nowhere positive is 0 everywhere.

    Raises:
        ValueError: If the image, a class number or a scale is none of the
            above, or the model's preprocessor pads at test time.
    """
    _check(model, image, classes, scales)
    model.eval()
    size = image.shape[:2]
    total = torch.zeros(len(classes), *size, device=_device(model))
    if not classes:
        return total
    for scale in scales:
        inputs = _batch(model, _resize(image, scale), flip)
        maps = model.cam_logits(inputs)[:, list(classes)].relu()
        if flip:
            maps = torch.stack([maps[0], maps[1].flip(-1)])
        maps = F.interpolate(maps.float(), size, mode='bilinear')
        total += maps.sum(0)
    return normalize_cam(total)


def _batch(model: nn.Module, image: np.ndarray, flip: bool) -> Tensor:
    pixels = torch.from_numpy(image.transpose(2, 0, 1).copy())
    images = [pixels, pixels.flip(-1)] if flip else [pixels]
    data = {'inputs': images, 'data_samples': None}
    return model.data_preprocessor(data, training=False)['inputs']


def _resize(image: np.ndarray, scale: float) -> np.ndarray:
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return mmcv.imresize(image, (width, height))


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _check(
    model: nn.Module,
    image: np.ndarray,
    classes: Sequence[int],
    scales: Sequence[float],
) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f'image must be uint8 [H, W, 3], not {image.dtype} '
            f'{list(image.shape)}'
        )
    if not scales or min(scales) <= 0:
        raise ValueError(f'scales {scales} must be one or more numbers > 0')
    if any(not 0 <= number < model.num_classes for number in classes):
        raise ValueError(
            f'classes {list(classes)} must lie in 0..{model.num_classes - 1}'
        )
    if getattr(model.data_preprocessor, 'test_cfg', None):
        raise ValueError(
            'model.data_preprocessor.test_cfg pads images, which a CAM must '
            'not see; remove it from the config'
        )
