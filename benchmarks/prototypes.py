"""Show what the prototypes of a prototype CAM stand for.

    python -m benchmarks.prototypes CONFIG CHECKPOINT OUT.png

A row for each of the config's first images: the prototype that each cell is
most like, among those of the image's classes, in colours, and of the
background, in greys, one shade a prototype; the maps of the trained head, the
prototype CAM and, where there is one, the map of the second head. It also
prints how many prototypes a class has and how alike they are.
"""

import argparse
import colorsys
from collections.abc import Sequence
from pathlib import Path

import mmcv
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from mmrca.checkpoint import load_classifier
from mmrca.cli import ConfigOptions, existing_file, load_config, run
from mmrca.datasets.images import load_image
from mmrca.datasets.masks import read_class_map
from mmrca.inference import image_stages, present_classes
from mmrca.ops.cam import normalize_cam
from mmrca.pictures import heat, paint
from mmrca.pseudo_labels.inputs import LabelInput, collect_inputs, data_infos
from mmrca.registry import DATASETS
from tools.picture_sheet import save_sheet


def main(argv: Sequence[str] | None = None) -> None:
    """Draw and count."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('out', type=Path)
    parser.add_argument('--images', type=int, default=8)
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions)
    args = parser.parse_args(argv)
    config = load_config(args.config, args.cfg_options)
    existing_file(args.checkpoint, 'checkpoint')
    init_default_scope(config.get('default_scope', 'mmseg'))
    dataset = DATASETS.build(config.train_dataloader.dataset)
    classes, palette = (dataset.metainfo[k] for k in ('classes', 'palette'))
    model = load_classifier(config, args.checkpoint)
    inputs, _ = collect_inputs(data_infos(dataset)[: args.images])
    rows = [draw(model, item, palette) for item in inputs]
    titles = ['photo', 'truth', 'nearest prototype', 'head', 'prototype CAM']
    if model.cls_head is not None:
        titles.append('second head')
    print(save_sheet(args.out, titles, rows))
    count(model, classes[1:])


@torch.no_grad()
def draw(
    model: nn.Module, item: LabelInput, palette: Sequence[Sequence[int]]
) -> list[np.ndarray]:
    """Draw an image's row of the sheet."""
    image = load_image(item.path)
    stages = image_stages(model, [image])
    present = list(item.classes)
    shown = present_classes([present], model.num_classes)
    shown = shown.to(stages[-1].device)
    logits = [model.cam_head(stages[-1]), model.prototype_cam(stages, shown)]
    if model.cls_head is not None:
        logits.append(model.head_logits(stages[-1]))
    maps = [
        heat(image, enlarge(maps[0, present], item.size)) for maps in logits
    ]
    cells, shades = nearest_prototypes(model.prototype_cam, stages, present)
    nearest = mmcv.imresize(cells, item.size[::-1], interpolation='nearest')
    painted = [
        paint(
            image,
            read_class_map(item.mask, 'mask'),
            palette,
        ),
        paint(image, nearest, shades),
    ]
    return [image[..., ::-1], *painted, *maps]


def enlarge(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Make CAMs of an image's size of logits [C, h, w]."""
    maps = F.interpolate(logits[None].relu(), size, mode='bilinear')
    return normalize_cam(maps[0])


def nearest_prototypes(
    part: nn.Module, stages: Sequence[Tensor], present: Sequence[int]
) -> tuple[np.ndarray, list[tuple[float, ...]]]:
    """Number each cell's nearest prototype, uint8 [h, w], and colour them."""
    keys = [part.background[part.background_valid]]
    colours = [(g, g, g) for g in np.linspace(40, 215, len(keys[0]))]
    for c in present:
        keys.append(part.prototypes[c][part.valid[c]])
        hue = 0.381966 * c % 1  # Palettes have greys and like hues.
        for value in np.linspace(0.45, 1, len(keys[-1])):
            colour = colorsys.hsv_to_rgb(hue, 0.9, value)
            colours.append(tuple(255 * v for v in colour))
    cells = part.features(stages)[0]
    cosine = torch.einsum('kd,dhw->khw', torch.cat(keys), cells)
    return cosine.argmax(dim=0).cpu().numpy().astype(np.uint8), colours


def count(model: nn.Module, classes: Sequence[str]) -> None:
    """Print prototypes a class and how alike they are."""
    part = model.prototype_cam
    kinds = [*zip(classes, part.prototypes, part.valid, strict=True)]
    kinds.append(('background', part.background, part.background_valid))
    print('prototypes, mean cosine between them, and to the background')
    far = part.background[part.background_valid]
    for name, prototypes, valid in kinds:
        keys = prototypes[valid]
        own = (keys @ keys.T).fill_diagonal_(torch.nan).nanmean()
        print(f'{name:12}{len(keys):4}{own:7.2f}{(keys @ far.T).mean():7.2f}')


if __name__ == '__main__':
    run(main)
