"""Dense CRF: pulls the scores of an image to its colour edges.

Mean-field inference in a fully connected CRF (Kraehenbuehl and Koltun,
NeurIPS 2011) by the package pydensecrf2.
"""

from types import ModuleType

import numpy as np

# Scores reach the CRF as -log of their share. The floor keeps a class whose
# CAM is 0 at a pixel possible there, so that the edges can overrule the CAM.
_FLOOR = 1e-5


def dense_crf(
    image: np.ndarray,
    scores: np.ndarray,
    *,
    iterations: int = 10,
    gaussian_sxy: float = 3,
    gaussian_compat: float = 3,
    bilateral_sxy: float = 80,
    bilateral_srgb: float = 13,
    bilateral_compat: float = 10,
) -> np.ndarray:
    """Refine the scores of the classes present in one image.

    The defaults are the values customary for PASCAL VOC photographs of about
    500 x 366 pixels; lengths in pixels, so smaller images may want less.

    Args:
        image: uint8 [H, W, 3], RGB.
        scores: [C+1, H, W], finite and nonnegative, background first, then
            the C classes present in the image. At each pixel they are
            divided by their sum; all-zero pixels are undecided.
        iterations: Mean-field steps.
        gaussian_sxy: Reach of the smoothness term: standard deviation of
            the distance, in pixels.
        gaussian_compat: Weight of the smoothness term.
        bilateral_sxy: Reach of the appearance term, in pixels.
        bilateral_srgb: Colour likeness of the appearance term: standard
            deviation of the colour difference, in steps of 0..255.
        bilateral_compat: Weight of the appearance term.

    Returns:
        float32 [C+1, H, W]: the marginals, which sum to 1 over the channels.

    Raises:
        ImportError: If pydensecrf2 is not installed.
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
    labels, height, width = scores.shape
    crf = _pydensecrf().DenseCRF2D(width, height, labels)
    crf.setUnaryEnergy(_unary(scores))
    crf.addPairwiseGaussian(sxy=gaussian_sxy, compat=gaussian_compat)
    crf.addPairwiseBilateral(
        sxy=bilateral_sxy,
        srgb=bilateral_srgb,
        rgbim=np.ascontiguousarray(image),
        compat=bilateral_compat,
    )
    marginals = np.asarray(crf.inference(iterations), dtype=np.float32)
    return marginals.reshape(scores.shape)


def _unary(scores: np.ndarray) -> np.ndarray:
    total = scores.sum(0, keepdims=True)
    share = np.where(total > 0, scores, 1) / np.where(
        total > 0, total, len(scores)
    )
    energy = -np.log(share.clip(_FLOOR, 1))
    return energy.reshape(len(scores), -1).astype(np.float32)


def _check(image: np.ndarray, scores: np.ndarray) -> None:
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
    if not (np.isfinite(scores).all() and (scores >= 0).all()):
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
            'the CRF needs the package pydensecrf2: pip install pydensecrf2 '
            '(it compiles, so a C++ compiler must be there), or set crf=None'
        ) from error
    return densecrf
