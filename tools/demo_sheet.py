"""The demo's sheet: photos, CAMs, pseudo-labels and predictions."""

from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.apis import inference_model, init_model
from picture_sheet import save_sheet
from PIL import Image
from torch import Tensor, nn

from mmrca.checkpoint import load_classifier
from mmrca.datasets.images import load_image
from mmrca.datasets.masks import read_class_map
from mmrca.inference import enlarge_cams, infer_cams
from mmrca.pictures import heat, paint
from mmrca.pseudo_labels.inputs import LabelInput, collect_inputs, data_infos
from mmrca.pseudo_labels.settings import read_settings
from mmrca.registry import DATASETS

PICTURES = 8


def draw_sheet(root: Path, plain: Config, rca: Config, seg: Path) -> Path:
    """Draw the first training images, one row each.

    Args:
        root: The demo's folder.
        plain: Config of the classifier in its ``cam``.
        rca: Config of the one in its ``rca``.
        seg: Config file of the segmenter in its ``deeplab``.

    Returns:
        The picture's file.
    """
    init_default_scope('mmseg')
    dataset = DATASETS.build(rca.train_dataloader.dataset)
    palette = dataset.metainfo['palette']
    models = [
        (
            load_classifier(config, str(root / name / 'last.pth')),
            config,
        )
        for name, config in (('cam', plain), ('rca', rca))
    ]
    deeplab = init_model(str(seg), str(root / 'deeplab' / 'last.pth'), 'cpu')
    rows = []
    inputs, _ = collect_inputs(data_infos(dataset)[:PICTURES])
    for item in inputs:
        image = load_image(item.path)
        maps = [
            heat(image, image_cams(model, item, image, config))
            for model, config in models
        ]
        pseudo = np.array(
            Image.open(root / 'labels_rca' / f'{item.img_id}.png')
        )
        output = inference_model(deeplab, image).pred_sem_seg.data[0].numpy()
        masks = [pseudo, output, read_class_map(item.mask, 'mask')]
        painted = [paint(image, mask, palette) for mask in masks]
        rows.append([image[..., ::-1], *maps, *painted])
    titles = (
        'photo',
        'plain CAM',
        'RCA CAM',
        'pseudo-label',
        'DeepLab',
        'truth',
    )
    return save_sheet(root / 'sheet.png', titles, rows)


def image_cams(
    model: nn.Module, item: LabelInput, image: np.ndarray, config: Config
) -> Tensor:
    """Compute the CAMs of one image as its labels are made: [C, H, W]."""
    settings = read_settings(config)
    (cams,) = infer_cams(
        model, [image], [item.classes], settings.scales, settings.flip
    )
    return enlarge_cams(cams, item.size, model.test_cfg.normalization)
