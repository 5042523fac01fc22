"""The second pass: how good the labels in a folder are, and saved CAMs."""

from collections.abc import Sequence
from typing import NotRequired, TypedDict

import torch

from mmrca.datasets.images import ImageError
from mmrca.datasets.masks import read_class_map
from mmrca.evaluation.label_quality import (
    LabelCounts,
    Normals,
    PerClass,
    Quality,
    ScoreCounts,
    ScoreQuality,
    count_file,
    evaluate,
)
from mmrca.ops import IGNORE_INDEX
from mmrca.progress import progress
from mmrca.pseudo_labels.inputs import LabelInput
from mmrca.pseudo_labels.pipeline import Pipeline, in_threads
from mmrca.pseudo_labels.review import Judged
from mmrca.pseudo_labels.writer import read_facts


class AgainstMasks(TypedDict):
    """How good labels are, and with saved CAMs what they were made of.

    ``confusion`` has a row for each true class and a column for each label,
    unlabelled last, in pixels. ``refined`` is there with a refinement only.
    """

    images: int
    labels: Quality
    confusion: list[list[int]]
    cam: NotRequired[ScoreQuality]
    refined: NotRequired[ScoreQuality]


class Shown(TypedDict):
    """Labels of images that show a class, by their tags; how many do not."""

    images: int
    without_foreground: int


class Measured(TypedDict):
    """The labels that there are: ``share`` per class, ``unlabelled`` too."""

    images: int
    share: PerClass
    normals: Normals
    shown: Shown
    against_masks: AgainstMasks | None


def measure(
    pipeline: Pipeline,
    inputs: Sequence[LabelInput],
    errors: dict[str, str],
    workers: int,
) -> tuple[Measured, list[Judged]]:
    """Measure labels, and CAMs where they are kept.

    Args:
        pipeline: That made the labels.
        inputs: Their images.
        errors: By ID, the images without a label; those whose label or mask
            cannot be measured are added.
        workers: Threads.

    Returns:
        The figures, and what :func:`mmrca.pseudo_labels.review.review` needs
        of each label that could be measured.
    """
    job = pipeline.job
    counts = LabelCounts(len(job.classes))
    labelled = [item for item in inputs if item.img_id not in errors]
    judged = []
    for item in progress(labelled, 'measuring labels'):
        normal = None if item.classes is None else not item.classes
        file = job.label_file(item)
        try:
            pixels, iou = count_file(counts, file, item.mask, normal)
            tags = item.classes
            tags = job.predicted(item) if tags is None else tags
            facts = read_facts(file)
            judged.append(Judged(item, tags, pixels, facts, iou))
        except ImageError as error:
            errors[item.img_id] = f'{error}; its label is not measured'
    found: AgainstMasks | None = None
    try:
        counts.check_masks()
    except ValueError as error:
        print(error, flush=True)
    else:
        if counts.evaluated:
            found = {
                'images': counts.evaluated,
                'labels': evaluate(counts.confusion, job.classes),
                'confusion': counts.confusion.tolist(),
            }
    if found and job.cams_dir:
        with_mask = [i for i in labelled if i.img_id not in errors and i.mask]
        scores = _measure_scores(pipeline, with_mask, workers)
        found['cam'] = scores['cam']
        if 'refined' in scores:
            found['refined'] = scores['refined']
    tagged = [label.pixels[1:IGNORE_INDEX] for label in judged if label.tags]
    measured: Measured = {
        'images': counts.images,
        'share': counts.share(job.classes),
        'normals': counts.normals(),
        'shown': {
            'images': len(tagged),
            'without_foreground': sum(not pixels.any() for pixels in tagged),
        },
        'against_masks': found,
    }
    return measured, judged


def _measure_scores(
    pipeline: Pipeline, items: Sequence[LabelInput], workers: int
) -> dict[str, ScoreQuality]:
    """Measure CAMs before and after refinement: ``cam`` and ``refined``."""
    job = pipeline.job
    found = {'cam': ScoreCounts(len(job.classes))}
    if job.labeller.refinements:
        found['refined'] = ScoreCounts(len(job.classes))
    calls = in_threads(pipeline.score, ((item,) for item in items), workers)
    for item, classes, scores in progress(calls, 'measuring CAMs', len(items)):
        assert item.mask is not None
        mask = torch.from_numpy(read_class_map(item.mask, 'mask'))
        for name, values in zip(found, scores, strict=False):
            found[name].add(values, classes, mask)
    return {name: c.evaluate(job.classes) for name, c in found.items()}
