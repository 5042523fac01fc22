"""Makes the prototypes of the prototype CAM from the training images.

Shape shorthand: N images, L classes, D channels, R rows. A row is the mean
feature of one image's region. Its kind is its class, or L for the background.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dist import all_gather_object, all_reduce, get_dist_info
from mmengine.logging import print_log
from torch import Generator, Tensor

from mmrca.datasets.image_level_dataset import ImageLevelDataset
from mmrca.datasets.images import load_image
from mmrca.inference import image_stages, present_classes
from mmrca.models.prototype_cam import PrototypeCAM
from mmrca.models.rca import RCA
from mmrca.ops.kmeans import kmeans
from mmrca.ops.region import confident_masks, region_embeddings

# On a GPU, images of one size go through the model together.
_BATCH_SIZE = 8
# Images in memory that wait for others of their size.
_WAITING = 64
# Rows between two looks for kinds that have too many.
_FRESH = 4096
# Of a drawn label: cells of a kind that are taken at most, and the share of
# a cell's pixels that is too little.
_CELLS = 30
_LEAST = 0.1


class _Image(NamedTuple):
    number: int
    pixels: np.ndarray
    classes: Sequence[int]
    drawn: np.ndarray | None


@dataclass
class Rows:
    """Rows of several images, on the CPU.

    Attributes:
        rows: float32 [R, D] of length 1.
        kinds: [R], 0..L.
        images: [R], the image of each.
        draws: [R], a random number of each, below 0 for rows of a drawn
            label. Of too many rows those with the lowest are kept, on
            whatever process they are.
    """

    rows: Tensor
    kinds: Tensor
    images: Tensor
    draws: Tensor

    def __getitem__(self, index: Tensor) -> 'Rows':
        """Choose rows by their numbers or by a mask."""
        return Rows(*(value[index] for value in vars(self).values()))

    def lowest(self, limit: int) -> 'Rows':
        """Keep at most ``limit`` rows of each kind, in their order."""
        order = self.draws.argsort(stable=True)
        order = order[self.kinds[order].argsort(stable=True)]
        kinds = self.kinds[order]
        place = torch.arange(len(kinds)) - torch.searchsorted(kinds, kinds)
        return self[order[place < limit].sort().values]


def _join(parts: Sequence[Rows]) -> Rows:
    """Concatenate rows; processes without an image do not know D."""
    there = [part for part in parts if len(part.kinds)] or parts[:1]
    columns = zip(*(vars(part).values() for part in there), strict=True)
    return Rows(*map(torch.cat, columns))


def fill(
    model: RCA,
    dataset: ImageLevelDataset,
    region: float = 0.9,
    background: float = 0.1,
    rounds: int = 2,
    seed: int = 0,
    limit: int = 2000,
    corrections: Mapping[int, np.ndarray] = MappingProxyType({}),
) -> None:
    """Make the prototypes of all images, without augmentation.

    The rows of each class, and of the background, are clustered by K-means.
    An image that shows no class gives rows of the background only: of all its
    cells, and of those that look most like each class. Images are read as
    labelling reads them. Processes share the images and the classes; all end
    with the same prototypes.

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
        seed: Of K-means, and of the rows that are kept.
        limit: Rows of a class, and of the background, that are kept at most;
            more are drawn from at random. Bounds the memory.
        corrections: Labels that somebody drew, uint8 [H, W] each, by the
            image's number. The rows of these images are cells of the label,
            and weigh as much as those of all other images.

    Raises:
        ValueError: No image has a region.
    """
    assert model.prototype_cam is not None
    model.prototype_cam.filled.fill_(False)
    for number in range(1, rounds + 1):
        print_log(f'Prototype CAM: round {number} of {rounds}', 'current')
        _fill_once(
            model, dataset, region, background, seed, limit, corrections
        )


def _fill_once(
    model: RCA,
    dataset: ImageLevelDataset,
    region: float,
    background: float,
    seed: int,
    limit: int,
    drawn: Mapping[int, np.ndarray],
) -> None:
    rank, world = get_dist_info()
    own = range(rank, len(dataset), world)
    collected, counts = collect_rows(
        model, dataset, own, region, background, seed, limit, drawn
    )
    shares = all_gather_object((counts, collected.rows.shape[1]))
    counts = torch.stack([count for count, _ in shares]).sum(dim=0)
    _report(counts.tolist(), len(dataset), dataset.metainfo['classes'][1:])
    prototype_cam = model.prototype_cam
    assert prototype_cam is not None
    prototype_cam.widen(max(width for _, width in shares))
    for buffer in prototype_cam.buffers():
        buffer.zero_()
    for kind in range(len(counts)):
        # One kind at a time: all rows of all processes would be too much.
        found = _join(all_gather_object(collected[collected.kinds == kind]))
        if kind % world == rank:
            found = found.lowest(limit)
            rows = weighed(found[found.images.argsort(stable=True)])
            generator = Generator().manual_seed(seed * len(counts) + kind)
            _cluster(prototype_cam, kind, rows, generator)
    for buffer in prototype_cam.buffers():
        # Others' kinds are 0 here. Not all backends add booleans.
        total = buffer.to(torch.float32)
        all_reduce(total)
        buffer.copy_(total)
    prototype_cam.filled.fill_(True)


def weighed(found: Rows) -> Tensor:
    """Repeat rows of drawn labels until they are as many as the others.

    Args:
        found: Of one kind.

    Returns:
        [R', D].
    """
    drawn = found.draws < 0
    others = found.rows[~drawn]
    rows = found.rows[drawn]
    times = max(1, round(len(others) / max(1, len(rows))))
    return torch.cat([others, rows.repeat(times, 1)])


def collect_rows(
    model: RCA,
    dataset: ImageLevelDataset,
    indices: Sequence[int],
    region: float = 0.9,
    background: float = 0.1,
    seed: int = 0,
    limit: int = 2000,
    drawn: Mapping[int, np.ndarray] = MappingProxyType({}),
) -> tuple[Rows, Tensor]:
    """Compute the rows of some images.

    Args:
        model: As :func:`fill`.
        dataset: As :func:`fill`.
        indices: Of the images.
        region: As :func:`fill`.
        background: As :func:`fill`.
        seed: Of the rows that are kept.
        limit: As :func:`fill`.
        drawn: As ``corrections`` of :func:`fill`.

    Returns:
        The rows that are kept, and how many there were of each kind [L + 1].
    """
    training = model.training
    model.eval()
    empty = torch.zeros(0).long()
    parts = [Rows(torch.zeros(0, 0), empty, empty, torch.zeros(0).double())]
    counts = torch.zeros(model.num_classes + 1).long()
    done = fresh = 0
    size = _BATCH_SIZE if next(model.parameters()).is_cuda else 1
    side = model.test_cfg.max_side
    for batch in _batches(dataset, indices, size, side, drawn):
        parts.append(_batch_rows(model, batch, region, background, seed))
        counts += parts[-1].kinds.bincount(minlength=len(counts))
        fresh += len(parts[-1].kinds)
        if fresh > _FRESH:
            parts, fresh = [_join(parts).lowest(limit)], 0
        before, done = done, done + len(batch)
        tenth = max(1, len(indices) // 10)
        if done // tenth > before // tenth and len(indices) > 1:
            print_log(
                f'Prototype CAM: {done} of {len(indices)} images', 'current'
            )
    model.train(training)
    return _join(parts).lowest(limit), counts


def _batches(
    dataset: ImageLevelDataset,
    indices: Sequence[int],
    size: int,
    max_side: int,
    drawn: Mapping[int, np.ndarray] = MappingProxyType({}),
) -> Iterator[list[_Image]]:
    """Yield at most ``size`` images of one shape together."""
    groups: dict[tuple, list[_Image]] = defaultdict(list)
    for index in indices:
        info = dataset.get_data_info(index)
        pixels = load_image(info['img_path'], max_side)
        group = groups[pixels.shape]
        label = drawn.get(index)
        group.append(_Image(index, pixels, info['gt_label'], label))
        if len(group) == size:
            yield groups.pop(pixels.shape)
        elif sum(map(len, groups.values())) > _WAITING:
            yield groups.pop(max(groups, key=lambda shape: len(groups[shape])))
    yield from groups.values()


@torch.no_grad()
def _batch_rows(
    model: RCA,
    batch: Sequence[_Image],
    region: float,
    background: float,
    seed: int,
) -> Rows:
    """Compute the rows of images of one size."""
    prototype_cam = model.prototype_cam
    assert prototype_cam is not None
    device = next(model.parameters()).device
    # Half precision is slower on most CPUs.
    with torch.autocast(device.type, enabled=device.type == 'cuda'):
        stages = image_stages(model, [one.pixels for one in batch])
        present = present_classes(
            [i.classes for i in batch], model.num_classes
        )
        present = present.to(device)
        if prototype_cam.filled:
            cam = prototype_cam(stages, present)
        else:
            cam = model.cam_head(stages[-1]).float()
    everywhere = torch.ones_like(cam[:, 0], dtype=torch.bool)
    normal = ~present.any(dim=1, keepdim=True)
    # What looks most like a class in a normal image is certain background.
    masks, _ = confident_masks(
        cam, present | normal, everywhere, region, background
    )
    _, rest = confident_masks(cam, present, everywhere, region, background)
    features = prototype_cam.features(stages)
    rows, exists = region_embeddings(
        features,
        torch.cat([masks, rest[:, None]], dim=1),
    )
    image, kind = exists.nonzero().unbind(1)
    kind = torch.where(normal[image, 0], model.num_classes, kind)
    rows = F.normalize(rows[exists], dim=1).cpu()
    number = torch.tensor([one.number for one in batch])
    # Of the image's own, so that they do not depend on the process.
    draws = np.stack(
        [
            np.random.default_rng([seed, n]).random(model.num_classes + 1)
            for n in number.tolist()
        ]
    )
    draw = torch.from_numpy(draws)[exists.cpu()]
    found = Rows(rows, kind.cpu(), number[image.cpu()], draw)
    drawn = [i for i, one in enumerate(batch) if one.drawn is not None]
    if not drawn:
        return found
    certain = [
        _drawn_rows(features[i], batch[i], model.num_classes, seed)
        for i in drawn
    ]
    others = ~torch.isin(found.images, number[drawn])
    return _join([found[others], *certain])


def _drawn_rows(
    features: Tensor, image: _Image, num_classes: int, seed: int
) -> Rows:
    """Take cells of each kind of a drawn label: features [D, h, w]."""
    assert image.drawn is not None
    _, height, width = features.shape
    label = torch.from_numpy(image.drawn)
    values = [*range(1, num_classes + 1), 0]
    rng = np.random.default_rng([seed, image.number])
    cells = F.normalize(features.flatten(1), dim=0).T.cpu()
    rows, kinds = [cells[:0]], []
    for kind, value in enumerate(values):
        there = (label == value).float()[None]
        share = F.adaptive_avg_pool2d(there, (height, width)).flatten()
        # An object smaller than a cell has its best one.
        least = min(0.5, float(share.max()))
        (index,) = ((share >= least) & (share > _LEAST)).nonzero(as_tuple=True)
        chosen = torch.from_numpy(rng.permutation(index.numpy())[:_CELLS])
        rows.append(cells[chosen])
        kinds += [kind] * len(chosen)
    draws = torch.from_numpy(rng.random(len(kinds))) - 1
    numbers = torch.full((len(kinds),), image.number)
    return Rows(torch.cat(rows), torch.tensor(kinds).long(), numbers, draws)


def _report(counts: list[int], images: int, classes: Sequence[str]) -> None:
    """Say what there are rows of, and name the classes without one."""
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
    prototype_cam: PrototypeCAM, kind: int, rows: Tensor, generator: Generator
) -> None:
    """Fill the buffers of a kind with the centres of its rows."""
    if kind < len(prototype_cam.prototypes):
        prototypes = prototype_cam.prototypes[kind]
        valid = prototype_cam.valid[kind]
    else:
        prototypes = prototype_cam.background
        valid = prototype_cam.background_valid
    points = rows.to(prototypes.device)
    every = points.new_ones(len(points), dtype=torch.bool)
    centers, used, _ = kmeans([points], [every], len(prototypes), generator)
    prototypes.copy_(F.normalize(centers[0], dim=1))
    valid.copy_(used[0])
