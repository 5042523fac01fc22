"""The background threshold chosen without masks beside the best by masks.

    python benchmarks/background_threshold.py CONFIG CHECKPOINT

Computes the CAMs of the config's training images as labelling does and lets
some criteria choose a constant threshold by images, image-level labels and
CAMs alone. Then it looks at the masks: mIoU, background included, at each
choice and at the best threshold. The first criterion is the package's, as
labelling applies it. The last lines say what colours choose on samples of the
images.
"""

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from mmrca.checkpoint import load_classifier
from mmrca.cli import ConfigOptions, existing_file, load_config, run
from mmrca.datasets.images import load_image
from mmrca.datasets.masks import read_class_map
from mmrca.inference import enlarge_cams, infer_cams
from mmrca.ops.cam import threshold_confusion
from mmrca.ops.metrics import strict_iou
from mmrca.ops.threshold import (
    choose_threshold,
    colour_information,
    colour_threshold,
)
from mmrca.progress import progress
from mmrca.pseudo_labels.calibration import Calibrator
from mmrca.pseudo_labels.inputs import collect_inputs, data_infos
from mmrca.pseudo_labels.settings import read_settings
from mmrca.registry import DATASETS

STEPS = 100
SAMPLES = (50, 100, 200)
DRAWS = 200


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions)
    args = parser.parse_args(argv)
    config = load_config(args.config, args.cfg_options)
    existing_file(args.checkpoint, 'checkpoint')
    package, found, information, agreement, counts, confusion = measure(
        config, args.checkpoint
    )
    miou = 100 * torch.stack([strict_iou(c).nanmean() for c in confusion])
    choices = {
        'colours and absent classes': package,
        'colours tell most, mean of images': choose_threshold(found),
        'colours tell most in total': peak(information),
        'image and mirror image agree': peak(agreement),
        'histogram of CAMs splits (Otsu)': peak(split(counts)),
        'best, chosen with masks': peak(miou),
    }
    print(f'{f"{len(found)} training images":33}  threshold  mIoU (%)')
    for name, threshold in choices.items():
        print(f'{name:33}{threshold:11.2f}{at(miou, threshold):10.1f}')
    good = (miou >= miou.max() - 1).nonzero() / STEPS
    print(f'within 1 point of the best: {good.min():.2f} to {good.max():.2f}')
    for size in SAMPLES:
        sampled = choices_of_samples(found, size)
        worst = min(at(miou, threshold) for threshold in sampled)
        low, high = np.percentile(sampled, (5, 95))
        print(
            f'samples of {size}: threshold {low:.2f} to {high:.2f} in nine of '
            f'ten, worst of {DRAWS} {miou.max() - worst:.1f} points below the '
            'best'
        )


def measure(
    config: Config, checkpoint: str
) -> tuple[float, list[float], Tensor, Tensor, Tensor, Tensor]:
    """Go through the images once, and let the package choose.

    Returns:
        The package's choice, the thresholds that colours find in the images
        that show a class, the colours' information [T],
        the agreement with the mirror image [T], counts of the best class's
        CAM values [T] and the confusions [T, L + 1, L + 2].
    """
    init_default_scope(config.get('default_scope', 'mmseg'))
    dataset = DATASETS.build(config.train_dataloader.dataset)
    classes = dataset.metainfo['classes']
    model = load_classifier(config, checkpoint)
    how = read_settings(config)
    calibrator = Calibrator(config, checkpoint, model, how, dataset)
    package, _ = calibrator.background()
    found, information, agreement, counts, confusion = [], [], [], [], []
    for item in progress(collect_inputs(data_infos(dataset))[0], 'images'):
        image, mask = (
            load_image(item.path),
            torch.from_numpy(read_class_map(item.mask, 'mask')),
        )
        maps = torch.zeros(len(classes) - 1, *item.size)
        if not item.normal:
            cams = image_cams(model, image, item.classes, how.scales, how.flip)
            maps[item.classes] = cams
            pixels = torch.from_numpy(image)
            found.append(colour_threshold(pixels, cams))
            information.append(colour_information(pixels, cams, STEPS))
            agreement.append(mirror_agreement(model, image, item.classes))
            counts.append(cams.amax(0).histc(STEPS, 0, 1).double())
        present = torch.ones(len(maps))
        confusion.append(threshold_confusion(maps, present, mask, STEPS))
    return (
        package,
        found,
        sum(information),
        sum(agreement),
        sum(counts),
        sum(confusion),
    )


def image_cams(
    model: nn.Module,
    image: np.ndarray,
    classes: Sequence[int],
    scales: Sequence[float],
    flip: bool,
) -> Tensor:
    """Compute the CAMs of an image at its size: [C, H, W]."""
    (cams,) = infer_cams(model, [image], [classes], scales, flip)
    how = model.test_cfg.normalization
    return enlarge_cams(cams, image.shape[:2], how)


def mirror_agreement(
    model: nn.Module, image: np.ndarray, classes: Sequence[int]
) -> Tensor:
    """Cohen's kappa of the two foregrounds, at every threshold: [T]."""
    cams = image_cams(model, image, classes, [1.0], False)
    mirror = image_cams(model, image[:, ::-1].copy(), classes, [1.0], False)
    # A pixel is foreground at the first `one` and `other` thresholds.
    one, other = (
        (maps.amax(0).flatten() * STEPS).ceil().long()
        for maps in (cams, mirror.flip(-1))
    )
    cells = torch.bincount(
        one * (STEPS + 1) + other, minlength=(STEPS + 1) ** 2
    ).view(STEPS + 1, STEPS + 1)
    share = cells.flip(0, 1).cumsum(0).cumsum(1).flip(0, 1) / len(one)
    p, q, both = share[1:, 0], share[0, 1:], share.diagonal()[1:]
    chance = p * q + (1 - p) * (1 - q)
    kappa = (1 - p - q + 2 * both - chance) / (1 - chance)
    return kappa.nan_to_num(0, 0, 0)


def split(counts: Tensor) -> Tensor:
    """Variance between the values up to and above each threshold: [T]."""
    value = (torch.arange(STEPS) + 0.5) / STEPS
    above = (counts.sum() - counts.cumsum(0) + counts) / counts.sum()
    gap = (counts * value).flip(0).cumsum(0).flip(0) / counts.sum()
    mean = gap[0]
    between = (gap - above * mean) ** 2 / (above * (1 - above))
    return between.nan_to_num(0, posinf=0)


def choices_of_samples(found: list[float], size: int) -> list[float]:
    """Choose on random samples of the images."""
    random = np.random.default_rng(0)
    return [
        choose_threshold(random.choice(found, size, replace=False))
        for _ in range(DRAWS)
    ]


def peak(curve: Tensor) -> float:
    """Return the threshold with the highest value."""
    return curve.argmax().item() / len(curve)


def at(miou: Tensor, threshold: float) -> float:
    """Look up the mIoU of a threshold."""
    return miou[round(threshold * STEPS)].item()


if __name__ == '__main__':
    run(main)
