"""The way of an image through label making: CAMs, label, file.

Shape shorthand: H x W pixels.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from mmrca.datasets.images import ImageError, load_image, shrink
from mmrca.datasets.masks import read_class_map
from mmrca.inference import (
    Cams,
    infer_cams,
    read_cams,
    save_cams,
    stages_of_each,
)
from mmrca.models import RCA
from mmrca.ops import IGNORE_INDEX
from mmrca.pseudo_labels.inputs import LabelInput
from mmrca.pseudo_labels.labels import Labeller, Scores
from mmrca.pseudo_labels.writer import Facts, read_stamp, write_label

Result = TypeVar('Result')


@dataclass(frozen=True)
class Job:
    """What to make.

    Attributes:
        labeller: Makes the labels.
        classes: The data set's, ``'background'`` first.
        palette: Their colours.
        digest: Of the recipe, for the labels' stamps.
        out_dir: Folder of the labels; None to make CAMs only.
        cams_dir: Folder of saved CAMs, None to save none.
        thresholds: [L], from which score on a class is predicted, for
            images whose classes are not known.
    """

    labeller: Labeller
    classes: Sequence[str]
    palette: Sequence[Sequence[int]]
    digest: str
    out_dir: Path | None
    cams_dir: Path | None
    thresholds: Tensor | None = None

    def stamp(self, classes: Sequence[int]) -> str:
        """Say what a label is made with: the recipe and its classes."""
        return ' '.join([self.digest, *map(str, classes)])

    def label_file(self, item: LabelInput) -> Path:
        """Name the file of an image's label."""
        assert self.out_dir is not None
        return self.out_dir / f'{item.img_id}.png'

    def cams_file(self, item: LabelInput) -> Path:
        """Name the file of an image's CAMs."""
        assert self.cams_dir is not None
        return self.cams_dir / f'{item.img_id}.npz'

    def state(self, item: LabelInput) -> str:
        """Look at what is there of an image.

        Returns:
            ``'done'``, ``'missing'`` if it is to be made, or ``'edited'`` if
            its label is a whole PNG without our stamp.
        """
        if self.out_dir is None:
            there = read_cams(self.cams_file(item), item.classes)
            return 'done' if there else 'missing'
        stamp = read_stamp(self.label_file(item))
        if stamp == '':
            return 'edited'
        if item.classes is None:
            fits = (stamp or '').split(' ')[0] == self.digest
        else:
            fits = stamp == self.stamp(item.classes)
        return 'done' if fits else 'missing'

    def predicted(self, item: LabelInput) -> list[int]:
        """Read the classes that were predicted, 0-based, off the label."""
        stamp = read_stamp(self.label_file(item))
        if stamp:
            return [int(number) for number in stamp.split(' ')[1:]]
        values = np.unique(
            read_class_map(self.label_file(item), 'label')
        ).tolist()
        return [v - 1 for v in values if v not in (0, IGNORE_INDEX)]


class Batch(NamedTuple):
    """Images of one size that go through the model together.

    Attributes:
        images: All of them.
        wanted: The IDs of those to label. The others are there because an
            image's CAM may differ in its last digits with the images beside
            it.
    """

    images: Sequence[LabelInput]
    wanted: set[str]


class Seen(NamedTuple):
    """An image and what the model says of it.

    Attributes:
        image: uint8 [H, W, 3], BGR, shrunk to ``max_side``.
        size: H and W before that.
        cams: Its CAMs.
        stages: The backbone's feature maps, if the refinement needs them.
    """

    image: np.ndarray
    size: tuple[int, int]
    cams: Cams
    stages: Sequence[Tensor] | None


@dataclass(frozen=True)
class Outcome:
    """What became of an image; without ``error`` it is labelled.

    ``scores`` [L] are the classifier's, if it looked at the image.
    """

    img_id: str
    error: str | None = None
    scores: Tensor | None = None


class Pipeline:
    """Takes images from their files to their labels.

    Args:
        job: What to make.
        model: From :func:`mmrca.checkpoint.load_classifier`.
    """

    def __init__(self, job: Job, model: RCA) -> None:
        self.job, self.model = job, model

    def __call__(self, batch: Batch) -> list[Outcome]:
        """Label the wanted images of a batch."""
        return [self.finish(item, seen) for item, seen in self.see(batch)]

    def see(self, batch: Batch) -> list[tuple[LabelInput, Seen | ImageError]]:
        """Load the images of a batch, and read or compute their CAMs.

        Returns:
            For each wanted image what is seen, or why it cannot be used.
        """
        saved = self._saved(batch.images)
        wanted = [i for i in batch.images if i.img_id in batch.wanted]
        found: dict[str, Seen | ImageError] = {}
        groups = defaultdict(list)
        for item in wanted if saved else batch.images:
            try:
                image = load_image(item.path)
            except ImageError as error:
                found[item.img_id] = error
                continue
            small = shrink(image, self.model.test_cfg.max_side)
            groups[small.shape].append((item, small, image.shape[:2]))
        for group in groups.values():
            items, images, sizes = zip(*group, strict=True)
            found |= self._see_alike(items, images, sizes, saved)
        return [(item, found[item.img_id]) for item in wanted]

    def _saved(self, items: Sequence[LabelInput]) -> dict[str, Cams]:
        """Read the CAMs of all images, or of none."""
        found: dict[str, Cams] = {}
        for item in items:
            cams = self.job.cams_dir and read_cams(
                self.job.cams_file(item), item.classes
            )
            if not cams:
                return {}
            found[item.img_id] = cams
        return found

    def _see_alike(
        self,
        items: Sequence[LabelInput],
        images: Sequence[np.ndarray],
        sizes: Sequence[tuple[int, int]],
        saved: dict[str, Cams],
    ) -> dict[str, Seen | ImageError]:
        """Send images of one shape through the model."""
        try:
            if saved:
                cams = [saved[item.img_id] for item in items]
            else:
                cams = self._infer(items, images)
            stages: Sequence[Sequence[Tensor] | None] = [None] * len(images)
            if self.job.labeller.needs_stages:
                stages = stages_of_each(self.model, images)
        except RuntimeError as error:  # too small or too large for the model
            reason = str(error).splitlines()[0]
            return {
                item.img_id: ImageError(
                    f'image {item.path} cannot go through the model: {reason}'
                )
                for item in items
            }
        seen = map(Seen, images, sizes, cams, stages)
        return {i.img_id: s for i, s in zip(items, seen, strict=True)}

    def _infer(
        self, items: Sequence[LabelInput], images: Sequence[np.ndarray]
    ) -> list[Cams]:
        settings = self.job.labeller.settings
        cams = infer_cams(
            self.model,
            images,
            [item.classes for item in items],
            settings.scales,
            settings.flip,
            self.job.thresholds,
            settings.amp,
        )
        if self.job.cams_dir:
            for item, one in zip(items, cams, strict=True):
                save_cams(self.job.cams_file(item), one)
        return cams

    def finish(self, item: LabelInput, seen: Seen | ImageError) -> Outcome:
        """Make an image's label and write it."""
        try:
            if isinstance(seen, ImageError):
                raise seen
            if self.job.out_dir:
                self._label(item, seen)
        except ImageError as error:
            return Outcome(item.img_id, str(error))
        scores = seen.cams.scores
        return Outcome(item.img_id, None, scores if len(scores) else None)

    def score(
        self, item: LabelInput
    ) -> tuple[LabelInput, Sequence[int], Scores]:
        """Score an image again, by its saved CAMs.

        Raises:
            ImageError: If a file of it cannot be used.
        """
        ((_, seen),) = self.see(Batch([item], {item.img_id}))
        if isinstance(seen, ImageError):
            raise seen
        scores = self.job.labeller.score(
            seen.image, seen.cams, item.img_id, seen.stages
        )
        return item, seen.cams.classes, scores

    def _label(self, item: LabelInput, seen: Seen) -> None:
        label = self.job.labeller(
            seen.image, seen.cams, item.img_id, seen.size, seen.stages
        )
        facts: Facts = {
            'scores': [round(s, 4) for s in seen.cams.scores.tolist()],
            'margin': round(label.margin, 4),
            'disagreement': round(label.disagreement, 4),
        }
        write_label(
            self.job.label_file(item),
            label.pixels,
            self.job.palette,
            self.job.stamp(seen.cams.classes),
            facts,
        )


def run_pipeline(
    pipeline: Pipeline, batches: Iterable[Batch], workers: int
) -> Iterator[Outcome]:
    """Label batches of images.

    Without a GPU a thread takes a batch from its images to its labels. With
    one, images and CAMs are read and computed here and the threads do the
    rest.

    Args:
        pipeline: Labels them.
        batches: What to do.
        workers: Threads; 0 to do all of it here.

    Yields:
        One outcome for each wanted image, in no order.

    Raises:
        OSError: If a file cannot be written.
    """
    if not next(pipeline.model.parameters()).is_cuda:
        for done in in_threads(pipeline, ((b,) for b in batches), workers):
            yield from done
        return
    seen = (one for batch in batches for one in pipeline.see(batch))
    yield from in_threads(pipeline.finish, seen, workers)


def in_threads(
    work: Callable[..., Result], arguments: Iterable[tuple], workers: int
) -> Iterator[Result]:
    """Call a function many times in several threads.

    Args:
        work: What to call.
        arguments: Of each call; taken as threads get free.
        workers: Threads; 0 to call it here.

    Yields:
        What the calls return, in no order.
    """
    threads = torch.get_num_threads()
    # Several threads add up in another order: the last digits would depend on
    # the machine, and on ``workers``.
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(
        max(workers, 1), initializer=torch.set_num_threads, initargs=(1,)
    )
    try:
        if not workers:
            yield from (work(*given) for given in arguments)
            return
        calls = (pool.submit(work, *given) for given in arguments)
        yield from _in_flight(calls, 2 * workers + 2)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _in_flight(
    calls: Iterator[Future[Result]], limit: int
) -> Iterator[Result]:
    """Keep at most so many calls waiting, and yield what is done."""
    waiting: set[Future[Result]] = set()
    more = True
    while more or waiting:
        while more and len(waiting) < limit:
            call = next(calls, None)
            more = call is not None
            waiting |= {call} if call else set()
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        for finished in done:
            yield finished.result()
