"""Labels from the pipeline beside labels from a straightforward script.

    python -m benchmarks.pseudo_labels CONFIG CHECKPOINT

The script does what is usually found: one image and one view a forward, the
maps of all classes brought to the image's size, pydensecrf over all labels in
the same process, and at the end one pass over CAMs and masks for each of 20
thresholds. The pipeline makes the labels with the classes of the
image only, numba's CRF and two threads. Both label the config's first
images, enlarged to PASCAL VOC's 500 pixels, in turns, so that a busy machine
slows both of them; the ratio of images a second is taken turn by turn. Needs
pydensecrf2.
"""

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image
from torch import nn
from torch.nn.functional import interpolate

from benchmarks.timing import Ratio, ratio
from mmrca.checkpoint import load_classifier
from mmrca.cli import ConfigOptions, existing_file, load_config, run
from mmrca.datasets.masks import read_class_map
from mmrca.ops.metrics import confusion_matrix, strict_iou
from mmrca.ops.pseudo_label import fuse
from mmrca.pseudo_labels import labels, pipeline
from mmrca.pseudo_labels.dense_crf import DenseCRF
from mmrca.pseudo_labels.inputs import LabelInput, collect_inputs, data_infos
from mmrca.pseudo_labels.labels import Labeller
from mmrca.pseudo_labels.photos import classes_and_palette
from mmrca.pseudo_labels.pipeline import Batch, Job, Pipeline, run_pipeline
from mmrca.pseudo_labels.settings import Settings
from mmrca.registry import DATASETS

SIDE = 500
THRESHOLDS = 20
SETTINGS = Settings(
    scales=(0.5, 1.0, 1.5),
    flip=True,
    background=dict(type='constant', threshold=0.3),
    margin=0.0,
    refinement=dict(type='dense_crf', iterations=10),
)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--turns', type=int, default=3)
    parser.add_argument('--images', type=int, default=6, help='of a turn')
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions)
    args = parser.parse_args(argv)
    config = load_config(args.config, args.cfg_options)
    existing_file(args.checkpoint, 'checkpoint')
    init_default_scope(config.get('default_scope', 'mmseg'))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        items = list(enlarged(config, root, args.images * args.turns))
        turns = [items[i :: args.turns] for i in range(args.turns)]
        classes, palette = classes_and_palette(config)
        model = load_classifier(config, args.checkpoint)
        (root / 'ours').mkdir()
        (root / 'script').mkdir()
        job = Job(
            Labeller(SETTINGS, 'class'),
            classes,
            palette,
            '',
            root / 'ours',
            None,
        )
        gain = compare(job, model, turns, args.workers)
        # All images at once: start and end of the queue count less.
        alone, together = zip(
            *(
                [by_pipeline(job, model, items, n) for n in (1, args.workers)]
                for _ in turns
            ),
            strict=True,
        )
        equal = agreement(root, items)
        shares(job, model, turns[0])
    print(
        f'{len(items)} images of {SIDE} pixels: {gain} times the '
        f'images a second, equal labels {100 * np.mean(equal):.3f} % '
        f'(worst image {100 * min(equal):.3f} %)'
    )
    gain = ratio(alone, together)
    print(f'{args.workers} threads: {gain} times the speed of 1')


def enlarged(config: Config, root: Path, count: int) -> Iterator[LabelInput]:
    """Copy images and masks, the longer side of 500 pixels."""
    dataset = DATASETS.build(config.train_dataloader.dataset)
    inputs, _ = collect_inputs(data_infos(dataset)[:count])
    for item in inputs:
        factor = SIDE / max(item.size)
        height, width = (round(side * factor) for side in item.size)
        image = mmcv.imresize(mmcv.imread(item.path), (width, height))
        mask = mmcv.imresize(
            read_class_map(item.mask, 'mask'),
            (width, height),
            interpolation='nearest',
        )
        path, mask_path = (root / f'{item.img_id}.{s}' for s in ('jpg', 'png'))
        cv2.imwrite(str(path), image)
        cv2.imwrite(str(mask_path), mask)
        size = (height, width)
        yield LabelInput(item.img_id, str(path), item.classes, size, mask_path)


def compare(
    job: Job,
    model: nn.Module,
    turns: Sequence[Sequence[LabelInput]],
    workers: int,
) -> Ratio:
    """Label the images of each turn in both ways.

    Returns:
        The ratio of images a second.
    """
    script_seconds, own_seconds = [], []
    for turn in turns:
        start = time.perf_counter()
        script(job, model, turn)
        theirs = (time.perf_counter() - start) / len(turn)
        ours = by_pipeline(job, model, turn, workers)
        script_seconds.append(theirs)
        own_seconds.append(ours)
        print(
            f'images a second: script {1 / theirs:.2f}, '
            f'pipeline {1 / ours:.2f}',
            flush=True,
        )
    return ratio(script_seconds, own_seconds)


def by_pipeline(
    job: Job, model: nn.Module, turn: Sequence[LabelInput], workers: int
) -> float:
    """Measure seconds an image."""
    batches = [Batch([item], {item.img_id}) for item in turn]
    start = time.perf_counter()
    for outcome in run_pipeline(Pipeline(job, model), batches, workers):
        assert outcome.error is None, outcome
    return (time.perf_counter() - start) / len(turn)


@torch.no_grad()
def script(
    job: Job,
    model: nn.Module,
    items: Sequence[LabelInput],
    backend: str = 'pydensecrf',
) -> None:
    """Label and evaluate the way a short script does."""
    folder, count = job.out_dir.parent / 'script', model.num_classes
    cams = {}
    for item in items:
        image = mmcv.imread(item.path)
        total = torch.zeros(count, *item.size)
        for scale in SETTINGS.scales:
            size = [round(side * scale) for side in item.size[::-1]]
            for flip in (False, True):
                view = mmcv.imresize(image, size)
                view = np.ascontiguousarray(view[:, ::-1] if flip else view)
                pixels = [torch.from_numpy(view.transpose(2, 0, 1).copy())]
                data = model.data_preprocessor(
                    {'inputs': pixels, 'data_samples': None}
                )
                maps = model(data['inputs'], mode='tensor').relu()
                maps = interpolate(maps, item.size, mode='bilinear')[0]
                total += maps.flip(-1) if flip else maps
        shown = torch.zeros(count, 1, 1)
        shown[list(item.classes)] = 1
        total *= shown
        total /= total.amax((1, 2), keepdim=True).clamp(min=1e-5)
        cams[item.img_id] = total.numpy()
        scores = np.concatenate(
            [np.full((1, *item.size), 0.3, np.float32), total.numpy()]
        )
        crf = DenseCRF(backend=backend)
        refined = crf(image[..., ::-1], torch.from_numpy(scores))
        found = refined.numpy().argmax(0).astype(np.uint8)
        Image.fromarray(found).save(folder / f'{item.img_id}.png')
    for step in range(THRESHOLDS):
        confusion = 0
        for item in items:
            maps = torch.from_numpy(cams[item.img_id])
            cue = torch.full(item.size, step / THRESHOLDS)
            found = fuse(maps, cue, range(count), 0)
            mask = torch.from_numpy(read_class_map(item.mask, 'mask'))
            confusion += confusion_matrix(found, mask, count + 1)
        strict_iou(confusion).nanmean()


def agreement(root: Path, items: Sequence[LabelInput]) -> list[float]:
    """Compare the labels of both ways: share of equal pixels by image."""
    equal = []
    for item in items:
        ours, theirs = (
            np.asarray(Image.open(root / way / f'{item.img_id}.png'))
            for way in ('ours', 'script')
        )
        equal.append((ours == theirs).mean())
    return equal


def shares(job: Job, model: nn.Module, items: Sequence[LabelInput]) -> None:
    """Print which stage takes how much of its time."""
    spent: Counter = Counter()

    def timed(name: str, function: Callable) -> Callable:
        def call(*args: object, **options: object) -> object:
            start = time.perf_counter()
            result = function(*args, **options)
            spent[name] += time.perf_counter() - start
            return result

        return call

    stages = {
        'load_image': pipeline,
        'infer_cams': pipeline,
        'enlarge_cams': labels,
        'write_label': pipeline,
    }
    kept = {name: getattr(home, name) for name, home in stages.items()}
    for name, home in stages.items():
        setattr(home, name, timed(name, kept[name]))
    try:
        for item in items:
            Pipeline(job, model)(Batch([item], {item.img_id}))
    finally:
        for name, home in stages.items():
            setattr(home, name, kept[name])
    total = sum(spent.values())
    print('stage: images a second in one process, share of the time')
    for name in stages:
        rate, share = len(items) / spent[name], 100 * spent[name] / total
        print(f'  {name:13}{rate:8.1f}{share:6.0f} %')


if __name__ == '__main__':
    run(main)
