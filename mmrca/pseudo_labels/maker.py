"""Pseudo-labels for a whole data set: what is to do, who does it, figures."""

import csv
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import all_gather_object, barrier, get_dist_info
from mmengine.registry import init_default_scope

from mmrca.checkpoint import load_classifier
from mmrca.evaluation.label_quality import Journal, Tally, summarize
from mmrca.inference import read_cams
from mmrca.progress import progress
from mmrca.pseudo_labels.calibration import Calibrator
from mmrca.pseudo_labels.curve import write_curve
from mmrca.pseudo_labels.inputs import LabelInput, collect_inputs, data_infos
from mmrca.pseudo_labels.labels import rehearse, settle_threshold
from mmrca.pseudo_labels.line import Batch, Job, run_line
from mmrca.pseudo_labels.manifest import (
    check_folder,
    differences,
    digest,
    read_manifest,
    write_json,
    write_manifest,
)
from mmrca.pseudo_labels.photos import classes_and_palette, photo_infos
from mmrca.pseudo_labels.settings import AUTO, Settings, read_settings
from mmrca.pseudo_labels.writer import read_stamp
from mmrca.registry import DATASETS

# A worker process takes seconds to start: fewer images are labelled faster
# without.
_WORTH_WORKERS = 32


def make_pseudo_labels(
    config: Config,
    checkpoint: str,
    out_dir: str | Path | None,
    *,
    photos: str | Path | None = None,
    cams_dir: str | Path | None = None,
    record: str | Path | None = None,
    overwrite: bool = False,
    strict: bool = False,
    workers: int | None = None,
    batch_size: int = 1,
) -> dict:
    """Label every image of ``train_dataloader.dataset``, or of a folder.

    A label that is already there and whole is kept, so a stopped run goes
    on where it was. The folder's ``manifest.json`` says what the labels were
    made with; labels of another recipe are not mixed in. Under torchrun each
    process takes its share of the images.

    Args:
        config: With ``model``, ``train_dataloader`` and ``pseudo_label``.
        checkpoint: File written in training.
        out_dir: Folder for the labels ``ID.png``; None to make CAMs only.
        photos: Folder of images to label in place of the data set's; their
            classes are predicted, from the scores on of
            :class:`Calibrator`.
        cams_dir: Folder for the low-resolution CAMs ``ID.npz``; those that
            are there are not computed again.
        record: JSON file for recipe and figures, by default
            ``out_dir + '.json'``; the curves over the threshold lie beside.
        overwrite: Delete the data set's labels in ``out_dir``, and its CAMs
            in ``cams_dir``, if they are of another recipe first.
        strict: Stop at the first image that cannot be labelled.
        workers: Processes; by default one for each core, but 0, which is
            none, for a few images.
        batch_size: Images of one size that go through the model together.

    Returns:
        What the record holds: the recipe, the counts, ``faults`` by image
        and the figures in percent (see :func:`summarize`).

    Raises:
        ValueError: If a config key, a file or the checkpoint is at fault, or
            the folder holds labels of another recipe.
        FileNotFoundError: If a file or folder is missing.
        OSError: If a file cannot be written.
    """
    settings = read_settings(config)
    rehearse(settings)
    if workers is not None and workers < 0:
        raise ValueError(f'--workers {workers} must be 0 or more')
    init_default_scope(config.get('default_scope', 'mmseg'))
    out_dir, cams_dir = (p and Path(p).absolute() for p in (out_dir, cams_dir))
    dataset = None
    if photos:
        infos = photo_infos(photos, [out_dir, cams_dir])
    else:
        dataset = DATASETS.build(config.train_dataloader.dataset)
        infos = data_infos(dataset)
    inputs, faults = collect_inputs(infos, settings.background.get('dir'))
    stop_at(faults, strict)
    classes, palette = classes_and_palette(config)
    model = load_classifier(config.model, checkpoint, classes)
    notes = {'config': config.filename, 'checkpoint': str(checkpoint)}
    calibrator = Calibrator(config, checkpoint, model, settings, dataset)
    thresholds = _once(calibrator.classes) if photos else None
    if out_dir and settings.background.get('threshold') == AUTO:
        threshold = _once(calibrator.background)
        settings = settle_threshold(settings, threshold)
        notes['background_threshold'] = f'{threshold}, chosen without masks'
    recipe = _recipe(config, checkpoint, settings, classes, thresholds)
    job = Job(
        settings,
        config.model.to_dict(),
        checkpoint,
        classes,
        palette,
        digest(recipe),
        out_dir,
        cams_dir,
        thresholds,
    )
    _claim_folders(job, inputs, recipe, notes, overwrite)
    batches = same_size_batches(inputs, batch_size)
    counts = _label(job, batches, model, workers, strict)
    faults |= counts.pop('faults')
    result = {**notes, **recipe, **counts, 'faults': faults}
    if out_dir and get_dist_info()[0] == 0:
        record = Path(record or out_dir.parent / f'{out_dir.name}.json')
        result |= _figures(job, inputs, record)
        write_json(record, result)
    return result


def _once(choose: Callable[[], Any]) -> Any:
    """Calibrate in one process; the others then look it up."""
    rank, _ = get_dist_info()
    if rank == 0:
        found = choose()
    barrier()
    if rank != 0:
        found = choose()
    return found


def stop_at(faults: dict[str, str], strict: bool) -> None:
    """Raise the first fault if none is to be passed over.

    Raises:
        ValueError: If there is a fault and ``strict``.
    """
    if strict and faults:
        first, *more = faults.values()
        others = f' ({len(more)} more images are at fault)' if more else ''
        raise ValueError(f'{first}{others}')


def same_size_batches(
    inputs: Sequence[LabelInput], batch_size: int
) -> list[list[LabelInput]]:
    """Put images of one size together, in their order.

    Batches do not depend on what is already done: a batch of other images
    may change the last digits of a CAM.

    Args:
        inputs: The images.
        batch_size: Of a batch, at most.

    Raises:
        ValueError: If ``batch_size`` is not 1 or more.
    """
    if batch_size < 1:
        raise ValueError(f'--batch-size {batch_size} must be 1 or more')
    batches: list[list[LabelInput]] = []
    growing: dict[tuple[int, int], list[LabelInput]] = {}
    for item in inputs:
        batch = growing.get(item.size)
        if batch is None or len(batch) == batch_size:
            batch = growing[item.size] = []
            batches.append(batch)
        batch.append(item)
    return batches


def _recipe(
    config: Config,
    checkpoint: str,
    settings: Settings,
    classes: Sequence[str],
    thresholds: torch.Tensor | None,
) -> dict:
    content = Path(checkpoint).read_bytes()
    recipe = {
        'checkpoint_sha256': hashlib.sha256(content).hexdigest(),
        'classes': list(classes),
        'pseudo_label': vars(settings),
        'model': _without_init(config.model.to_dict()),
    }
    if thresholds is not None:
        recipe['class_thresholds'] = thresholds.tolist()
    return json.loads(json.dumps(recipe, default=str))


def _without_init(model: dict) -> dict:
    """Leave out initial weights: the checkpoint's take their place."""
    return {
        key: _without_init(value) if isinstance(value, dict) else value
        for key, value in model.items()
        if key != 'init_cfg'
    }


def _cams_recipe(recipe: dict) -> dict:
    """Leave out what CAMs do not depend on."""
    kept = {
        key: recipe['pseudo_label'][key]
        for key in ('scales', 'flip', 'max_side')
    }
    return {**recipe, 'pseudo_label': kept}


def _claim_folders(
    job: Job,
    inputs: Sequence[LabelInput],
    recipe: dict,
    notes: dict,
    overwrite: bool,
) -> None:
    """Make the folders ready, in one process while the others wait."""
    if get_dist_info()[0] == 0:
        folders = [
            (folder, needs, [file(item) for item in inputs], what)
            for folder, file, needs, what in (
                (job.out_dir, job.label_file, recipe, 'labels'),
                (job.cams_dir, job.cams_file, _cams_recipe(recipe), 'CAMs'),
            )
            if folder
        ]
        for folder, needs, files, what in folders:
            if overwrite:
                _make_room(folder, needs, notes, files, what)
            check_folder(folder, needs, files, what)
        for folder, needs, files, _ in folders:
            if read_manifest(folder).get('recipe') != needs:
                write_manifest(folder, needs, notes)
            for path in {path.parent for path in files}:
                path.mkdir(parents=True, exist_ok=True)
            for left in folder.rglob('.*.part'):  # of a killed run
                left.unlink()
    barrier()


def _make_room(
    folder: Path, recipe: dict, notes: dict, files: list[Path], what: str
) -> None:
    """Say what is overwritten, and delete it."""
    earlier = read_manifest(folder).get('recipe')
    there = [path for path in files if path.exists()]
    if what == 'CAMs' and earlier == recipe:
        return
    if there:
        made = differences(earlier, recipe) if earlier else 'no manifest'
        print(
            f'--overwrite deletes {len(there)} {what} in {folder} '
            f'({made or "made with the same recipe"})',
            flush=True,
        )
    # The new manifest first: killed from here on, the next run finds labels
    # whose stamps say that they are not of it.
    write_manifest(folder, recipe, notes)
    Journal(folder).clear()
    for path in there:
        path.unlink()


def _label(
    job: Job,
    batches: list[list[LabelInput]],
    model: torch.nn.Module,
    workers: int | None,
    strict: bool,
) -> dict:
    """Label this process's share of the batches.

    Returns:
        ``written``, ``kept`` and ``faults`` of all processes.
    """
    rank, world = get_dist_info()
    everything = [item for batch in batches for item in batch]
    if workers is None:
        workers = default_workers(len(everything))
    journal = Journal(job.out_dir, rank) if job.out_dir else None
    wanted = _unfinished(job, everything, journal)
    # All processes look before any writes.
    barrier()
    mine = [Batch(b, wanted & {i.img_id for i in b}) for b in batches]
    mine = [batch for batch in mine[rank::world] if batch.wanted]
    total = sum(len(batch.wanted) for batch in mine)
    faults = {}
    written = 0
    records = run_line(job, mine, model, workers)
    for found in progress(records, 'images', total):
        if journal:
            journal.add(found)
        if 'fault' in found:
            faults[found['image']] = found['fault']
        stop_at(faults, strict)
        written += 'fault' not in found or 'pixels' in found
    shares = all_gather_object((written, faults))
    return {
        'written': sum(count for count, _ in shares),
        'kept': len(everything) - len(wanted),
        'faults': {k: v for _, named in shares for k, v in named.items()},
    }


def default_workers(images: int) -> int:
    """Choose a number of processes: none for few images.

    Args:
        images: To label.
    """
    if images < _WORTH_WORKERS:
        return 0
    if hasattr(os, 'sched_getaffinity'):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    shared_by = int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    cores //= shared_by
    return 0 if cores < 2 else cores


def _unfinished(
    job: Job, inputs: Sequence[LabelInput], journal: Journal | None
) -> set[str]:
    if journal is None:
        return {
            item.img_id
            for item in inputs
            if read_cams(job.cams_file(item), item.classes) is None
        }
    records = journal.read()
    return {
        item.img_id
        for item in inputs
        if not counted(records.get(item.img_id), job, item)
        or read_stamp(job.label_file(item)) != job.stamp(item)
    }


def counted(record: dict | None, job: Job, item: LabelInput) -> bool:
    """Tell whether a record holds the counts of an image's label."""
    return (
        record is not None
        and record.get('stamp') == job.stamp(item)
        and 'pixels' in record
    )


def _figures(job: Job, inputs: Sequence[LabelInput], record: Path) -> dict:
    """Sum up the records of all images, and draw the curves."""
    records = Journal(job.out_dir).read()
    found = [
        records[item.img_id]
        for item in inputs
        if counted(records.get(item.img_id), job, item)
    ]
    tally = Tally(found, len(job.classes))
    record.parent.mkdir(parents=True, exist_ok=True)
    if job.thresholds is not None:
        _write_classes(record, found, job.classes)
    if tally.evaluated:
        write_curve(record.with_suffix(''), tally, job.classes, job.settings)
    return summarize(tally, job.classes)


def _write_classes(
    record: Path, found: Sequence[dict], classes: Sequence[str]
) -> None:
    """Write the predicted classes as a label list, ``..._classes.csv``."""
    with record.with_name(f'{record.stem}_classes.csv').open(
        'w', newline='', encoding='utf-8'
    ) as file:
        writer = csv.writer(file)
        for image in found:
            names = [classes[c + 1] for c in image['classes']]
            writer.writerow([image['image'], *names])
