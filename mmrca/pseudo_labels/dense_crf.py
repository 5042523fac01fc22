"""Dense CRF: pulls the scores of an image to its colour edges.

Mean-field inference in a fully connected CRF (Kraehenbuehl and Koltun,
NeurIPS 2011): here are its checks, its features and the choice of who
computes.

Shape shorthand: L labels, N = H * W pixels.
"""

from types import ModuleType

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from mmrca.ops import dense_crf as torch_crf
from mmrca.pseudo_labels import numba_crf

# Scores reach the CRF as -log of their share. The floor keeps a class whose
# CAM is 0 at a pixel possible there, so that the edges can overrule the CAM.
_FLOOR = 1e-5
_BACKENDS = ('numba', 'torch', 'pydensecrf')


def dense_crf(
    image: np.ndarray,
    scores: np.ndarray | Tensor,
    *,
    backend: str = 'numba',
    half_resolution: bool = False,
    iterations: int = 10,
    gaussian_sxy: float = 3,
    gaussian_compat: float = 3,
    bilateral_sxy: float = 80,
    bilateral_srgb: float = 13,
    bilateral_compat: float = 10,
) -> np.ndarray | Tensor:
    """Refine the scores of the classes present in one image.

    The defaults are the values customary for PASCAL VOC photographs of about
    500 x 366 pixels; lengths in pixels, so smaller images may want less.

    Args:
        image: uint8 [H, W, 3], RGB.
        scores: [L, H, W], finite and nonnegative, background first, then
            the classes present in the image. At each pixel they are
            divided by their sum; all-zero pixels are undecided.
        backend: Who computes; the results are the same but for rounding.
            ``'numba'`` on the CPU without the GIL, ``'torch'`` where the
            scores lie, ``'pydensecrf'`` by the package pydensecrf2.
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

    Returns:
        float32 [L, H, W]: the marginals, which sum to 1 over the labels. An
        array for an array, a tensor on the same device for a tensor.

    Raises:
        ImportError: If pydensecrf2 is chosen and not installed.
        ValueError: If shapes, types or values are none of the above.
    """
    _check(image, scores)
    _check_positive(
        iterations=iterations,
        gaussian_sxy=gaussian_sxy,
        gaussian_compat=gaussian_compat,
        bilateral_sxy=bilateral_sxy,
        bilateral_srgb=bilateral_srgb,
        bilateral_compat=bilateral_compat,
    )
    if backend not in _BACKENDS:
        raise ValueError(
            f'crf option backend={backend!r} must be one of '
            f'{", ".join(_BACKENDS)}'
        )
    if isinstance(scores, Tensor):
        share = _share(scores.detach().float())
    else:
        share = _share(torch.from_numpy(scores.astype(np.float32)))
    pixels = image
    if half_resolution:
        # Averages over 2 x 2 pixels would blur the very edges.
        pixels, share = image[::2, ::2], share[:, ::2, ::2]
        gaussian_sxy, bilateral_sxy = gaussian_sxy / 2, bilateral_sxy / 2
    kernels = [
        (_features(pixels, gaussian_sxy), gaussian_compat),
        (_features(pixels, bilateral_sxy, bilateral_srgb), bilateral_compat),
    ]
    energy = -share.clamp(_FLOOR, 1).log()
    energy = energy.flatten(1).contiguous()
    marginals = _infer(backend, energy, kernels, iterations)
    marginals = marginals.reshape(share.shape)
    if half_resolution:
        marginals = _double(marginals, *image.shape[:2])
    return marginals if isinstance(scores, Tensor) else marginals.numpy()


def _share(scores: Tensor) -> Tensor:
    total = scores.sum(0, keepdim=True)
    even = torch.full_like(scores, 1 / len(scores))
    return torch.where(total > 0, scores / total, even)


def _double(marginals: Tensor, height: int, width: int) -> Tensor:
    """Fill in the pixels between those that were kept."""
    size = [2 * length - 1 for length in marginals.shape[1:]]
    fine = interpolate(
        marginals[None], size=size, mode='bilinear', align_corners=True
    )
    missing = (0, width - size[1], 0, height - size[0])
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


def _infer(
    backend: str,
    energy: Tensor,
    kernels: list[tuple[np.ndarray, float]],
    iterations: int,
) -> Tensor:
    """Run the mean field on energies [L, N].

    Returns:
        float32 [L, N].
    """
    if backend == 'torch':
        placed = [(torch.from_numpy(f).to(energy), w) for f, w in kernels]
        return torch_crf.mean_field(energy, placed, iterations)
    infer = numba_crf.mean_field if backend == 'numba' else _pydensecrf_field
    marginals = infer(energy.cpu().numpy(), kernels, iterations)
    return torch.from_numpy(marginals).to(energy)


def _pydensecrf_field(
    energy: np.ndarray,
    kernels: list[tuple[np.ndarray, float]],
    iterations: int,
) -> np.ndarray:
    labels, pixels = energy.shape
    crf = _pydensecrf().DenseCRF(pixels, labels)
    crf.setUnaryEnergy(energy)
    for features, weight in kernels:
        crf.addPairwiseEnergy(features, weight)
    return np.array(crf.inference(iterations), dtype=np.float32)


def _check(image: np.ndarray, scores: np.ndarray | Tensor) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f'image must be uint8 [H, W, 3], not {image.dtype} '
            f'{list(image.shape)}'
        )
    if scores.ndim != 3 or scores.shape[1:] != image.shape[:2]:
        raise ValueError(
            f'scores of shape {list(scores.shape)} do not fit an image of '
            f'shape {list(image.shape)}'
        )
    # NaN is not >= 0 either.
    if not ((scores >= 0).all() and (scores < np.inf).all()):
        raise ValueError('scores must be finite and nonnegative')


def _check_positive(**options: float) -> None:
    for name, value in options.items():
        if not value > 0:
            raise ValueError(f'crf option {name}={value} must be positive')


def _pydensecrf() -> ModuleType:
    try:
        import pydensecrf.densecrf as densecrf
    except ImportError as error:
        raise ImportError(
            "crf option backend='pydensecrf' needs the package pydensecrf2: "
            'pip install pydensecrf2 (it compiles, so a C++ compiler must be '
            "there), or leave the default, backend='numba'"
        ) from error
    return densecrf
