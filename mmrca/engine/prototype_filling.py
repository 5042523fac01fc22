"""Makes the prototypes of the prototype CAM from the training images.

Shape shorthand: L classes, D channels, R rows. A row is the mean feature of
one image's region; class number L stands for the background.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import (
    all_gather_object,
    broadcast,
    get_dist_info,
    is_main_process,
)
from mmengine.logging import print_log
from torch import Generator, Tensor

from mmrca.datasets import ImageLevelDataset
from mmrca.datasets.images import load_image
from mmrca.inference import image_stages, present_classes
from mmrca.models.prototype_cam import PrototypeCAM
from mmrca.models.rca import RCA
from mmrca.ops.kmeans import kmeans
from mmrca.ops.region import confident_masks, region_embeddings


def fill(
    model: RCA,
    dataset: ImageLevelDataset,
    region: float = 0.9,
    background: float = 0.1,
    rounds: int = 2,
    seed: int = 0,
) -> None:
    """Make the prototypes of all images, without augmentation.

    The rows of each class, and of the background, are clustered by K-means.
    An image that shows no class gives rows of the background only: of all its
    cells, and of those that look most like each class. Images are read as
    labelling reads them. Processes share the images; all end with the same
    prototypes.

    Args:
        model: :class:`mmrca.models.RCA` with a prototype CAM, not in a
            wrapper. It is in eval mode meanwhile.
        dataset: :class:`mmrca.datasets.ImageLevelDataset`; its pipeline is
            not used.
        region: Share of a map's maximum that a class's cells exceed.
        background: Share of their maximum below which the maps of all
            present classes lie in the background.
        rounds: Times that regions are looked for: first by the plain CAM,
            then by the map of the round before.
        seed: Of K-means.

    Raises:
        ValueError: No image has a region.
    """
    assert model.prototype_cam is not None
    model.prototype_cam.filled.fill_(False)
    for _ in range(rounds):
        _fill_once(model, dataset, region, background, seed)


def _fill_once(
    model: RCA,
    dataset: ImageLevelDataset,
    region: float,
    background: float,
    seed: int,
) -> None:
    rank, world = get_dist_info()
    own = range(rank, len(dataset), world)
    shares = all_gather_object(
        collect_rows(model, dataset, own, region, background)
    )
    rows, kinds, images = (
        torch.cat([part for part in parts if len(part)])
        for parts in zip(*shares, strict=True)
    )
    # In the data set's order, whatever the number of processes.
    order = images.argsort(stable=True)
    rows, kinds = rows[order], kinds[order]
    _report(kinds, len(dataset), dataset.metainfo['classes'][1:])
    prototype_cam = model.prototype_cam
    assert prototype_cam is not None
    prototype_cam.widen(rows.shape[1])
    if is_main_process():
        _cluster(prototype_cam, rows, kinds, Generator().manual_seed(seed))
    for tensor in prototype_cam.buffers():
        broadcast(tensor)


@torch.no_grad()
def collect_rows(
    model: RCA,
    dataset: ImageLevelDataset,
    indices: Sequence[int],
    region: float = 0.9,
    background: float = 0.1,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the rows of some images.

    Args:
        model: As :func:`fill`.
        dataset: As :func:`fill`.
        indices: Of the images.
        region: As :func:`fill`.
        background: As :func:`fill`.

    Returns:
        Rows [R, D] of length 1, their class [R] and their image [R], on the
        CPU.
    """
    training = model.training
    model.eval()
    found, kinds, images = [], [], []
    step = max(1, len(indices) // 10)
    for done, index in enumerate(indices, 1):
        info = dataset.get_data_info(index)
        rows, classes = _image_rows(model, info, region, background)
        found.append(rows)
        kinds.append(classes)
        images.append(torch.full_like(classes, index))
        if done % step == 0 and len(indices) > 1:
            print_log(
                f'Prototype CAM: {done} of {len(indices)} images', 'current'
            )
    model.train(training)
    if not found:
        return torch.zeros(0, 0), torch.zeros(0).long(), torch.zeros(0).long()
    return torch.cat(found), torch.cat(kinds), torch.cat(images)


def _image_rows(
    model: RCA, info: dict, region: float, background: float
) -> tuple[Tensor, Tensor]:
    """Compute one image's rows [R, D] of length 1 and their class [R]."""
    image = load_image(info['img_path'], model.test_cfg.max_side)
    stages = image_stages(model, [image])
    prototype_cam = model.prototype_cam
    assert prototype_cam is not None
    present = present_classes([info['gt_label']], model.num_classes)
    present = present.to(stages[-1].device)
    if prototype_cam.filled:
        cam = prototype_cam(stages, present)
    else:
        cam = model.cam_head(stages[-1])
    everywhere = torch.ones_like(cam[:, 0], dtype=torch.bool)
    masks, rest = confident_masks(cam, present, everywhere, region, background)
    normal = not present.any()
    if normal:
        # What looks most like a class in here is certain background.
        every = torch.ones_like(present)
        masks, _ = confident_masks(cam, every, everywhere, region, background)
    rows, exists = region_embeddings(
        prototype_cam.features(stages),
        torch.cat([masks, rest[:, None]], dim=1),
    )
    rows = F.normalize(rows[exists], dim=1)
    kinds = exists[0].nonzero()[:, 0]
    if normal:
        kinds = torch.full_like(kinds, model.num_classes)
    return rows.cpu(), kinds.cpu()


def _report(kinds: Tensor, images: int, classes: Sequence[str]) -> None:
    """Say what there are rows of, and name the classes without one."""
    counts = torch.bincount(kinds, minlength=len(classes) + 1).tolist()
    *regions, background = counts
    if not any(regions):
        raise ValueError(
            f'none of {images} images has a region for the prototype CAM: '
            "no class's CAM is positive where the class is present; train "
            'longer or leave model.prototype_cam out.'
        )
    text = (
        f'Prototype CAM: {sum(regions)} rows of classes and {background} of '
        f'the background from {images} images'
    )
    missing = [c for c, n in zip(classes, regions, strict=True) if not n]
    if missing:
        text += f'; without a row, so without a map: {", ".join(missing)}'
    print_log(text, 'current')


def _cluster(
    prototype_cam: PrototypeCAM,
    rows: Tensor,
    kinds: Tensor,
    generator: Generator,
) -> None:
    """Fill the buffers with the centres of each class's rows."""
    targets = [
        *zip(prototype_cam.prototypes, prototype_cam.valid, strict=True),
        (prototype_cam.background, prototype_cam.background_valid),
    ]
    for kind, (prototypes, valid) in enumerate(targets):
        points = rows[kinds == kind].to(prototypes.device)
        every = points.new_ones(len(points), dtype=torch.bool)
        centers, used, _ = kmeans(
            [points], [every], len(prototypes), generator
        )
        prototypes.copy_(F.normalize(centers[0], dim=1))
        valid.copy_(used[0])
    prototype_cam.filled.fill_(True)
