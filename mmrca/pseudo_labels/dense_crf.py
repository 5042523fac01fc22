"""The dense CRF of a config: pulls scores to the colour edges of an image.

Mean-field inference in a fully connected CRF (Kraehenbuehl and Koltun,
NeurIPS 2011, https://arxiv.org/abs/1210.5644).

Shape shorthand: L labels, N = H * W pixels.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from mmrca.checks import Count, Positive
from mmrca.registry import REFINEMENTS

# Scores reach the CRF as -log of their share. The floor keeps a class whose
# CAM is 0 at a pixel possible there, so that the edges can overrule the CAM.
_FLOOR = 1e-5
_Kernels = Sequence[tuple[np.ndarray, float]]


@REFINEMENTS.register_module(name='dense_crf')
class DenseCRF:
    """Refine the scores of the classes of one image.

    The defaults are the values customary for PASCAL VOC photographs of about
    500 x 366 pixels; lengths in pixels, so smaller images may want less.

    Args:
        backend: ``'numba'``, or ``'pydensecrf'`` by the package pydensecrf2;
            the results are the same but for rounding.
        half_resolution: Infer from every second pixel of every second row,
            with the lengths halved too, and interpolate the marginals:
            three times faster, but labels differ at the edges of objects
            and where the scores say little, in a few pixels of a hundred.
        iterations: Mean-field steps.
        gaussian_sxy: Reach of the smoothness term: standard deviation of
            the distance, in pixels.
        gaussian_compat: Weight of the smoothness term.
        bilateral_sxy: Reach of the appearance term, in pixels.
        bilateral_srgb: Colour likeness of the appearance term: standard
            deviation of the colour difference, in steps of 0..255.
        bilateral_compat: Weight of the appearance term.

    Raises:
        ValueError: If pydensecrf2 is chosen and not installed.
    """

    def __init__(
        self,
        backend: Literal['numba', 'pydensecrf'] = 'numba',
        half_resolution: bool = False,
        iterations: Count = 10,
        gaussian_sxy: Positive = 3,
        gaussian_compat: Positive = 3,
        bilateral_sxy: Positive = 80,
        bilateral_srgb: Positive = 13,
        bilateral_compat: Positive = 10,
    ) -> None:
        self.mean_field = _mean_field(backend)
        self.iterations = iterations
        self.step = 2 if half_resolution else 1
        self.gaussian = gaussian_sxy / self.step, gaussian_compat
        self.bilateral = bilateral_sxy / self.step, bilateral_compat
        self.srgb = bilateral_srgb

    def __call__(
        self,
        image: np.ndarray,
        scores: Tensor,
        classes: Sequence[int] = (),
    ) -> Tensor:
        """Infer the marginals.

        Args:
            image: uint8 [H, W, 3], RGB.
            scores: [L, H, W], finite and nonnegative. At each pixel they are
                divided by their sum; all-zero pixels are undecided.
            classes: Not used.

        Returns:
            float32 [L, H, W], sum 1 over the labels.

        Raises:
            ValueError: If the kernels are too narrow for the image.
        """
        share = _share(scores.detach().float())
        # Averages over 2 x 2 pixels would blur the very edges.
        pixels = image[:: self.step, :: self.step]
        share = share[:, :: self.step, :: self.step]
        (near, weight), (far, colour_weight) = self.gaussian, self.bilateral
        kernels = [
            (_features(pixels, near), weight),
            (_features(pixels, far, self.srgb), colour_weight),
        ]
        energy = -share.clamp(_FLOOR, 1).log().flatten(1).contiguous()
        field = self.mean_field(energy.numpy(), kernels, self.iterations)
        marginals = torch.from_numpy(field).reshape(share.shape)
        return marginals if self.step == 1 else _double(marginals, image.shape)


def _mean_field(
    backend: str,
) -> Callable[[np.ndarray, _Kernels, int], np.ndarray]:
    """Import a backend, which takes a while, only when it is asked for."""
    if backend == 'numba':
        from mmrca.ops.dense_crf import mean_field

        return mean_field
    try:
        import pydensecrf.densecrf  # noqa: F401
    except ImportError as error:
        raise ValueError(
            "backend='pydensecrf' needs the package pydensecrf2: pip install "
            'pydensecrf2 (it compiles, so a C++ compiler must be there), or '
            "leave the default, backend='numba'."
        ) from error
    return _by_pydensecrf


def _by_pydensecrf(
    energy: np.ndarray, kernels: _Kernels, iterations: int
) -> np.ndarray:
    from pydensecrf.densecrf import DenseCRF

    labels, pixels = energy.shape
    crf = DenseCRF(pixels, labels)
    crf.setUnaryEnergy(energy)
    for features, weight in kernels:
        crf.addPairwiseEnergy(features, weight)
    return np.array(crf.inference(iterations), dtype=np.float32)


def _share(scores: Tensor) -> Tensor:
    total = scores.sum(0, keepdim=True)
    even = torch.full_like(scores, 1 / len(scores))
    return torch.where(total > 0, scores / total, even)


def _double(marginals: Tensor, shape: Sequence[int]) -> Tensor:
    """Fill in the pixels between those that were kept."""
    size = [2 * length - 1 for length in marginals.shape[1:]]
    fine = interpolate(
        marginals[None], size=size, mode='bilinear', align_corners=True
    )
    missing = (0, shape[1] - size[1], 0, shape[0] - size[0])
    return pad(fine, missing, mode='replicate')[0]


def _features(
    pixels: np.ndarray, sxy: float, srgb: float | None = None
) -> np.ndarray:
    """Place, and colour if asked for, in standard deviations: [2 or 5, N]."""
    height, width = pixels.shape[:2]
    features = np.empty((5 if srgb else 2, height, width), np.float32)
    features[0] = np.arange(width, dtype=np.float32) / np.float32(sxy)
    features[1] = np.arange(height, dtype=np.float32)[:, None]
    features[1] /= np.float32(sxy)
    if srgb:
        features[2:] = pixels.transpose(2, 0, 1)
        features[2:] /= np.float32(srgb)
    return features.reshape(len(features), -1)
