"""What a training step of RCA costs beside one of the plain CAM.

Both share the backbone, whose noise would hide the little they differ by. So
it is timed by itself, and what follows it in turns:
(backbone + all parts of RCA) / (backbone + CAM head), forward, backward, the
optimizer's step, and the writing of the memory.
"""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from benchmarks.timing import Ratio, ratio, take_turns
from mmrca.registry import MODELS

RCA_PARTS = ('memory', 'loss_nce', 'aggregation', 'cls_head')


def make_plain(model: Config) -> None:
    """Turn the config of an RCA model into that of its plain CAM."""
    for part in RCA_PARTS:
        model[part] = None


def step_ratio(
    config: Config,
    class_counts: Sequence[int],
    labels: int,
    device: str,
    images: int = 8,
    turns: int = 5,
) -> Ratio:
    """Compare the steps of RCA and plain CAM.

    Args:
        config: Of RCA; its ``data_preprocessor.size`` is the images' size.
        class_counts: [L] memory rows of each class, all filled.
        labels: Classes of each image.
        device: ``'cpu'`` or ``'cuda'``.
        images: Of a step.
        turns: How often each is timed.
    """
    init_default_scope(config.get('default_scope', 'mmseg'))
    model = copy.deepcopy(config.model)
    model.backbone.init_cfg = None
    pixels = torch.randn(images, 3, *model.data_preprocessor.size)
    model.data_preprocessor = None
    backbone = MODELS.build(model.backbone).to(device).train()
    pixels = pixels.to(device, memory_format=torch.channels_last)
    shape = _last(backbone(pixels[:1])).shape[1:]
    # On a CPU a second of it is enough, and costs in proportion to images.
    part = pixels[:2] if device == 'cpu' else pixels
    alone = _stepper(lambda: _last(backbone(part)).mean(), backbone)
    (seconds,) = take_turns(dict(backbone=alone), 2, device).values()
    shared = float(np.median(seconds)) * images / len(part)
    model.backbone = dict(type='torch.nn.Identity')
    plain = copy.deepcopy(model)
    make_plain(plain)
    features = torch.randn(images, *shape, device=device).relu()
    batch = _samples(images, class_counts, labels, shape, device)
    ways = {
        name: _head_step(kind, features, batch, class_counts, device)
        for name, kind in dict(rca=model, plain=plain).items()
    }
    rest = take_turns(ways, turns, device)
    return ratio(*([shared + s for s in rest[k]] for k in ('rca', 'plain')))


def fill(memory: nn.Module, generator: torch.Generator) -> None:
    """Fill all rows of a memory, as they are late in a training.

    Rows are points around three times as many random centres as a class gets
    prototypes, not negative, as a backbone's features are.
    """
    classes, prototypes, channels = memory.prototypes.shape
    for c in range(classes):
        own = (memory.row_class == c).nonzero()[:, 0]
        centers = torch.randn(3 * prototypes, channels, generator=generator)
        for part in own.split(4096):  # what is drawn at once takes memory
            near = torch.randint(
                len(centers), (len(part),), generator=generator
            )
            noise = torch.randn(len(part), channels, generator=generator)
            rows = (centers[near] + 0.7 * noise).clamp_(min=0)
            memory.rows[part] = rows.to(memory.rows.device)
    memory.filled.fill_(True)


def _last(maps: Tensor | Sequence[Tensor]) -> Tensor:
    return maps if isinstance(maps, Tensor) else maps[-1]


def _stepper(
    loss: Callable[[], Tensor], model: nn.Module
) -> Callable[[], None]:
    optimizer = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def _samples(
    images: int,
    class_counts: Sequence[int],
    labels: int,
    shape: Sequence[int],
    device: str,
) -> list[SegDataSample]:
    first = np.cumsum([0, *class_counts[:-1]])
    rng = np.random.default_rng(0)
    samples = []
    for _ in range(images):
        sample = SegDataSample(metainfo=dict(img_shape=tuple(shape[1:])))
        shown = rng.choice(len(class_counts), labels, replace=False)
        label = torch.zeros(len(class_counts))
        row = torch.zeros(len(class_counts), dtype=torch.long)
        label[shown] = 1
        row[shown] = torch.tensor(
            [first[c] + rng.integers(class_counts[c]) for c in shown]
        )
        sample.gt_label, sample.memory_row = label, row
        samples.append(sample.to(device))
    return samples


def _head_step(
    config: Config,
    features: Tensor,
    batch: list[SegDataSample],
    class_counts: Sequence[int],
    device: str,
) -> Callable[[], None]:
    model = MODELS.build(config).to(device).train()
    memory = model.memory
    if memory is not None:
        memory.bind(
            [c for c, n in enumerate(class_counts) for _ in range(n)],
            b'benchmark',
            len(batch),
            labels_per_image=int(batch[0].gt_label.sum()),
        )
        fill(memory, torch.Generator().manual_seed(0))
        memory.prototypes.normal_().relu_()
        memory.prototype_valid.fill_(True)
        memory.contrast_active.fill_(True)
    # The backbone takes a gradient, too.
    inputs = features.clone().requires_grad_()

    def loss() -> Tensor:
        inputs.grad = None
        return sum(model.loss(inputs, batch).values())

    step = _stepper(loss, model)

    def whole() -> None:
        step()
        if memory is not None:
            memory.write(0)

    return whole
