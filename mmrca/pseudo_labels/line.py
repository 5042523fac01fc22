"""The line that a batch of images runs through: CAMs, labels, files, counts.

One process runs it, or several, each with a line of its own.
"""

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from mmrca.checkpoint import load_classifier
from mmrca.datasets.images import ImageError, load_image, shrink
from mmrca.evaluation.label_quality import measure
from mmrca.inference import (
    Cams,
    infer_cams,
    read_cams,
    save_cams,
)
from mmrca.pseudo_labels.inputs import LabelInput, load_mask, load_saliency
from mmrca.pseudo_labels.labels import Label, label_image
from mmrca.pseudo_labels.settings import Settings
from mmrca.pseudo_labels.writer import write_label


@dataclass(frozen=True)
class Job:
    """What the line has to know; passes between processes.

    Attributes:
        settings: With a background threshold that is a number.
        model: The config's ``model``.
        checkpoint: Of the classifier.
        classes: The data set's, ``'background'`` first.
        palette: Their colours.
        digest: Of the recipe, for the labels' stamps.
        out_dir: Folder of the labels; None to make CAMs only.
        cams_dir: Folder of saved CAMs, None to save none.
        thresholds: [L], from which score on a class is predicted, for
            images whose classes nobody knows.
    """

    settings: Settings
    model: dict
    checkpoint: str
    classes: Sequence[str]
    palette: Sequence[Sequence[int]]
    digest: str
    out_dir: Path | None
    cams_dir: Path | None
    thresholds: Tensor | None = None

    def stamp(self, item: LabelInput) -> str:
        """Say what an image's label is made with."""
        if item.classes is None:
            return self.digest
        return ' '.join([self.digest, *map(str, item.classes)])

    def label_file(self, item: LabelInput) -> Path | None:
        """Name the file of an image's label."""
        return self.out_dir and self.out_dir / f'{item.img_id}.png'

    def cams_file(self, item: LabelInput) -> Path | None:
        """Name the file of an image's CAMs."""
        return self.cams_dir and self.cams_dir / f'{item.img_id}.npz'


class Batch(NamedTuple):
    """Images of one size that go through the model together.

    Attributes:
        images: All of them.
        wanted: The names of those that are not done yet. The others are
            there because an image's CAM may differ in its last digits with
            the images beside it.
    """

    images: Sequence[LabelInput]
    wanted: set[str]


def run_line(
    job: Job,
    batches: Iterable[Batch],
    model: nn.Module,
    workers: int,
) -> Iterator[dict]:
    """Send batches through the line.

    Without a GPU a worker takes a batch from its images to its labels. With
    one, the CAMs are computed here and the workers do the rest, unless the
    refinement runs on the GPU too.

    Args:
        job: What to make.
        batches: What to do.
        model: From :func:`mmrca.checkpoint.load_classifier`.
        workers: Processes; 0 to do all of it here.

    Yields:
        One record for each wanted image, in no order: its ``image`` and
        ``stamp``, the counts of :func:`measure`, and ``fault``, a sentence,
        if it has no label or no counts against its mask for that reason.

    Raises:
        OSError: If a file cannot be written.
        ValueError: If a worker died.
    """
    line = Line(job, model)
    if not workers or line.device != 'cpu':
        for batch in batches:
            yield from line.whole(batch)
        return
    context = get_context('spawn')
    threads = max(1, torch.get_num_threads() // workers)
    on_gpu = next(model.parameters()).is_cuda
    with ProcessPoolExecutor(
        workers, context, _start, (job, threads, not on_gpu)
    ) as pool:
        if on_gpu:
            calls = (
                pool.submit(_finish, item, cams)
                for batch in batches
                for item, cams in line.infer(batch)
            )
        else:
            calls = (pool.submit(_whole, batch) for batch in batches)
        try:
            yield from _in_flight(calls, 2 * workers + 2)
        except BrokenProcessPool as error:
            raise ValueError(
                'a worker process died, maybe for want of memory; start '
                'again with fewer --workers: what is done is kept'
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _in_flight(calls: Iterator[Future], limit: int) -> Iterator[dict]:
    """Keep at most so many calls waiting, and yield what is done."""
    waiting: set[Future] = set()
    more = True
    while more or waiting:
        while more and len(waiting) < limit:
            call = next(calls, None)
            more = call is not None
            waiting |= {call} if call else set()
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        for finished in done:
            yield from finished.result()


class Line:
    """The line in one process.

    Args:
        job: What to make.
        model: The classifier, None where CAMs come from elsewhere.
    """

    def __init__(self, job: Job, model: nn.Module | None) -> None:
        self.job = job
        self.model = model
        # A refinement in torch runs on the GPU, beside the model.
        refinement = job.settings.refinement or {}
        in_torch = (
            refinement.get('backend') == 'torch'
            or refinement.get('type') == 'pixel_adaptive'
        )
        on_gpu = in_torch and torch.cuda.is_available()
        self.device = 'cuda' if on_gpu else 'cpu'

    def whole(self, batch: Batch) -> list[dict]:
        """Take images from their files to their labels."""
        return [self.finish(item, cams) for item, cams in self.infer(batch)]

    def infer(self, batch: Batch) -> list[tuple[LabelInput, Cams | str]]:
        """Read or compute the CAMs of a batch.

        Returns:
            For each wanted image its CAMs, or what is at fault with it.
        """
        found = self._saved(batch.images) or self._computed(batch.images)
        return [
            (item, found[item.img_id])
            for item in batch.images
            if item.img_id in batch.wanted
        ]

    def _saved(self, items: Sequence[LabelInput]) -> dict[str, Cams | str]:
        """Read the CAMs of all images, or of none."""
        found: dict[str, Cams | str] = {}
        for item in items:
            path = self.job.cams_file(item)
            cams = path and read_cams(path, item.classes)
            if not cams:
                return {}
            found[item.img_id] = cams
        return found

    def _computed(self, items: Sequence[LabelInput]) -> dict[str, Cams | str]:
        found: dict[str, Cams | str] = {}
        images, sound = [], []
        for item in items:
            try:
                images.append(
                    load_image(item.path, self.job.settings.max_side)
                )
                sound.append(item)
            except ImageError as fault:
                found[item.img_id] = str(fault)
        if sound:
            found |= self._compute(sound, images)
        return found

    def _compute(
        self, items: Sequence[LabelInput], images: Sequence[np.ndarray]
    ) -> dict[str, Cams | str]:
        settings = self.job.settings
        classes = [item.classes for item in items]
        try:
            cams = infer_cams(
                self.model,
                images,
                classes,
                settings.scales,
                settings.flip,
                self.job.thresholds,
            )
        except RuntimeError as error:  # too small or too large for the model
            reason = str(error).splitlines()[0]
            return {
                item.img_id: f'image {item.path} cannot go through the '
                f'model: {reason}'
                for item in items
            }
        if self.job.cams_dir:
            for item, cam in zip(items, cams, strict=True):
                save_cams(self.job.cams_file(item), cam)
        return {i.img_id: c for i, c in zip(items, cams, strict=True)}

    def finish(self, item: LabelInput, cams: Cams | str) -> dict:
        """Make an image's label from its CAMs, write and measure it."""
        record = {'image': item.img_id, 'stamp': self.job.stamp(item)}
        if isinstance(cams, str):
            return {**record, 'fault': cams}
        if item.classes is None:
            record['classes'] = list(cams.classes)
        if self.job.out_dir is None:
            return record
        settings = self.job.settings
        saliency = None
        try:
            image = load_image(item.path, settings.max_side)
            if item.saliency:
                saliency = shrink(load_saliency(item), settings.max_side)
        except ImageError as fault:
            return {**record, 'fault': str(fault)}
        labels, label = label_image(
            image, cams, item.size, settings, saliency, self.device
        )
        write_label(
            self.job.label_file(item),
            labels,
            self.job.palette,
            record['stamp'],
        )
        return {**record, **self._measure(item, labels, label, cams)}

    def _measure(
        self, item: LabelInput, labels: np.ndarray, label: Label, cams: Cams
    ) -> dict:
        def counts(mask: Tensor | None) -> dict:
            pixels, total = torch.from_numpy(labels), len(self.job.classes)
            return measure(pixels, label, cams.classes, mask, total)

        if item.mask is None:
            return counts(None)
        try:
            return counts(torch.from_numpy(load_mask(item)))
        except ImageError as error:
            fault = str(error)
        except ValueError as error:  # a value that is no class
            fault = f'mask {item.mask}: {error}'
        return {**counts(None), 'fault': f'{fault}; its label is not measured'}


_line: Line  # of a worker process


def _start(job: Job, threads: int, with_model: bool) -> None:
    global _line
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    init_default_scope('mmseg')
    model = None
    if with_model:
        model = load_classifier(job.model, job.checkpoint, job.classes)
    _line = Line(job, model)


def _end_with_parent() -> None:
    """A worker would outlive a killed program and write on."""
    connection.wait([parent_process().sentinel])
    os._exit(1)


def _whole(batch: Batch) -> list[dict]:
    return _line.whole(batch)


def _finish(item: LabelInput, cams: Cams | str) -> list[dict]:
    return [_line.finish(item, cams)]
