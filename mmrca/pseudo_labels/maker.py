"""Pseudo-labels for a whole data set, in two passes.

The first makes labels and never sees a mask; the second
(:mod:`mmrca.pseudo_labels.measurement`) measures the files of the first.
"""

import json
import os
from collections.abc import Callable, Sequence
from glob import escape
from pathlib import Path
from typing import Any, TypedDict

import torch
from mmengine.config import Config
from mmengine.dist import all_gather_object, barrier, get_dist_info
from mmengine.registry import init_default_scope
from torch import Tensor

from mmrca.atomic_write import read_json, write_json
from mmrca.checkpoint import file_digest, load_classifier, locate
from mmrca.datasets.image_level_dataset import unwrap_dataset
from mmrca.folder_lock import remove_parts
from mmrca.launch import count_cores
from mmrca.progress import progress
from mmrca.pseudo_labels.calibration import Calibrator
from mmrca.pseudo_labels.corrections import (
    check_tags_file,
    file_text_digest,
    find_corrections,
    put_in_place,
    tags_after,
    with_tags,
    write_tags,
)
from mmrca.pseudo_labels.inputs import LabelInput, collect_inputs, data_infos
from mmrca.pseudo_labels.labels import Labeller
from mmrca.pseudo_labels.manifest import (
    Claim,
    ListNotes,
    Notes,
    Recipe,
    claim_folders,
    digest,
    read_manifest,
    write_manifest,
)
from mmrca.pseudo_labels.measurement import Measured, measure
from mmrca.pseudo_labels.photos import classes_and_palette, photo_infos
from mmrca.pseudo_labels.pipeline import Batch, Job, Pipeline, run_pipeline
from mmrca.pseudo_labels.review import review, write_review
from mmrca.pseudo_labels.settings import read_settings
from mmrca.registry import DATASETS


class Labelled(TypedDict):
    """The first pass.

    ``edited`` are the IDs of labels that were edited or made elsewhere, among
    those ``kept``. ``errors`` say by ID what is wrong with an image.
    """

    written: int
    kept: int
    edited: list[str]
    errors: dict[str, str]


class Result(Notes, Recipe, Labelled, Measured):
    """What the record holds. A run without labels is not :class:`Measured`.

    ``cams`` is the folder of the CAMs, None if they were not kept.
    """

    cams: str | None


def make_pseudo_labels(
    config: Config,
    checkpoint: str,
    out_dir: str | Path | None,
    *,
    photos: str | Path | None = None,
    label_list: str | Path | None = None,
    corrections: str | Path | None = None,
    cams_dir: str | Path | None = None,
    record: str | Path | None = None,
    overwrite: bool = False,
    strict: bool = False,
    workers: int | None = None,
    batch_size: int | None = None,
) -> Result:
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
        label_list: A label list in place of the data set's: its images and
            their classes. With ``photos``, the classes of those that it
            names.
        corrections: Folder of labels ``ID.png`` that somebody drew. They are
            used as they are, and count as what their images show.
        cams_dir: Folder for the low-resolution CAMs ``ID.npz``; those that
            are there are not computed again. With them, CAMs are measured
            too.
        record: JSON file for the result, by default ``out_dir + '.json'``.
        overwrite: Delete the data set's labels in ``out_dir``, and its CAMs
            in ``cams_dir`` of another recipe, first.
        strict: Stop at the first image that cannot be labelled or measured.
        workers: Threads; by default one for each core.
        batch_size: Images of one size that go through the model together; by
            default 8 on a GPU and 1 without.

    Returns:
        What the record holds.

    Raises:
        ValueError: If a config key, a file or the checkpoint is wrong, or
            the folder holds labels of another recipe.
        FileNotFoundError: If a file or folder is missing.
        OSError: If a file cannot be written.
    """
    settings = read_settings(config)
    checkpoint = str(locate(checkpoint))
    workers = default_workers() if workers is None else workers
    on_gpu = torch.cuda.is_available()
    batch_size = (8 if on_gpu else 1) if batch_size is None else batch_size
    if settings.amp and not on_gpu:
        raise ValueError('--amp (pseudo_label.amp) needs a GPU; leave it out.')
    if workers < 0:
        raise ValueError(f'--workers must be 0 or more, not {workers}.')
    init_default_scope(config.get('default_scope', 'mmseg'))
    out_dir = Path(out_dir).absolute() if out_dir else None
    cams_dir = Path(cams_dir).absolute() if cams_dir else None
    record = out_dir and Path(record or f'{out_dir}.json')
    _check_record(record)
    classes, palette = classes_and_palette(config)
    given = Path(label_list).absolute() if label_list else None
    dataset = None
    if photos:
        infos = photo_infos(photos, [out_dir, cams_dir])
        infos = with_tags(infos, given, classes[1:]) if given else infos
    else:
        dataset = DATASETS.build(_dataset_config(config, given))
        infos = data_infos(dataset)
    known = all(info['gt_label'] is not None for info in infos)
    inputs, errors = collect_inputs(infos, settings.file_checks())
    stop_at(errors, strict)
    batches = same_size_batches(inputs, batch_size)
    corrected: dict[Path, LabelInput] = {}
    if corrections:
        corrected = find_corrections(Path(corrections), inputs, palette)
    earlier = read_manifest(out_dir) if out_dir else {}
    if record:
        path = classes_file(record)
        written = earlier.get('list_digests', {}).get(path.name)
        check_tags_file(path, written, given)
    model = load_classifier(config, checkpoint)
    training = None if given else dataset
    calibrator = Calibrator(config, checkpoint, model, settings, training)
    notes: Notes = {
        'config': config.filename,
        'checkpoint': str(checkpoint),
    }
    folder = photos or _image_folder(dataset)
    if folder:
        notes['image_folder'] = str(Path(folder).absolute())
    thresholds = None if known else _once(calibrator.classes)
    before = earlier.get('recipe', {}).get('class_thresholds')
    if photos and known and before and not overwrite:
        # Labels of photos whose predicted tags were right stay.
        thresholds = torch.tensor(before)
    if settings.auto and out_dir:
        threshold, refined = _once(calibrator.background)
        settings = settings.with_threshold(threshold, refined)
        moved = '' if refined is None else f', {refined} after refinement'
        notes['background_threshold'] = (
            f'{threshold}{moved}, chosen without masks'
        )
    labeller = Labeller(settings, model.test_cfg.normalization)
    labeller.check_classes(classes)
    recipe = _recipe(config, checkpoint, labeller, classes, thresholds)
    job = Job(
        labeller,
        classes,
        palette,
        digest(recipe),
        out_dir,
        cams_dir,
        thresholds,
    )
    _claim_folders(job, inputs, recipe, notes, overwrite)
    if corrected and get_dist_info()[0] == 0:
        put_in_place(job, corrected)
    barrier()
    pipeline = Pipeline(job, model)
    done, scores = _label(pipeline, batches, workers, strict)
    if training is not None and get_dist_info()[0] == 0:
        calibrator.keep_scores(scores)
    errors |= done['errors']
    result: Any = {**notes, **recipe, **done, 'errors': errors}
    result['cams'] = cams_dir and str(cams_dir)
    if record and get_dist_info()[0] == 0:
        measured, judged = measure(pipeline, inputs, errors, workers)
        result |= measured
        stop_at(errors, strict)
        record.parent.mkdir(parents=True, exist_ok=True)
        remove_parts(record.parent, f'.{escape(record.stem)}*.part')
        write_json(record, result)
        write_review(review_file(record), review(judged, classes[1:]))
        if photos or done['edited']:
            _write_classes(job, inputs, result, notes, recipe, record)
    return result


def review_file(record: Path) -> Path:
    """Name the file of the review beside a record."""
    return record.with_name(f'{record.stem}_review.csv')


def _dataset_config(config: Config, label_list: Path | None) -> dict:
    """Return the training set's config, with another list if one is given."""
    given = config.train_dataloader.dataset
    if label_list is None:
        return given
    inner = given
    while 'dataset' in inner:
        inner = inner['dataset']
    if 'ann_file' not in inner:
        raise ValueError(
            '--list needs a single data set, and train_dataloader.dataset '
            f'is a {inner.get("type")}'
        )
    return {**inner, 'ann_file': str(label_list)}


def _image_folder(dataset: Any) -> str | None:
    """Look up the folder of a data set's images, if there is but one."""
    prefix = getattr(unwrap_dataset(dataset), 'data_prefix', {})
    return prefix.get('img_path')


def _check_record(path: Path | None) -> None:
    """Refuse to overwrite a file that is not an earlier result."""
    if path is None or not path.exists():
        return
    try:
        ours = 'checkpoint_sha256' in read_json(path)
    except (OSError, ValueError):
        ours = False
    if not ours:
        raise ValueError(
            f'{path} exists and is not a result of this program; move '
            'it, or name another file for the result by --json.'
        )


def _once(choose: Callable[[], Any]) -> Any:
    """Calibrate in one process; the others then look it up."""
    rank, _ = get_dist_info()
    if rank == 0:
        found = choose()
    barrier()
    if rank != 0:
        found = choose()
    return found


def default_workers() -> int:
    """Count the cores of this process, 0 if there is but one."""
    cores = count_cores() // int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    return 0 if cores < 2 else cores


def stop_at(errors: dict[str, str], strict: bool) -> None:
    """Raise the first error if ``strict``.

    Raises:
        ValueError: If there is an error and ``strict``.
    """
    if strict and errors:
        first, *more = errors.values()
        others = f' (and {len(more)} more images)' if more else ''
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
        ValueError: If ``batch_size`` is below 1.
    """
    if batch_size < 1:
        raise ValueError(f'--batch-size must be 1 or more, not {batch_size}.')
    batches: list[list[LabelInput]] = []
    growing: dict[tuple, list[LabelInput]] = {}
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
    labeller: Labeller,
    classes: Sequence[str],
    thresholds: torch.Tensor | None,
) -> Recipe:
    recipe: Recipe = {
        'checkpoint_sha256': file_digest(checkpoint),
        'classes': list(classes),
        'pseudo_label': vars(labeller.settings),
        'model': _without_init(config.model.to_dict()),
    }
    if thresholds is not None:
        recipe['class_thresholds'] = thresholds.tolist()
    if digests := labeller.digests:
        recipe['refinement_sha256'] = digests
    return json.loads(json.dumps(recipe, default=str))


def _without_init(model: dict) -> dict:
    """Leave out initial weights: the checkpoint's take their place."""
    return {
        key: _without_init(value) if isinstance(value, dict) else value
        for key, value in model.items()
        if key != 'init_cfg'
    }


def _cams_recipe(recipe: Recipe) -> Recipe:
    """Leave out what CAMs do not depend on."""
    needed = ('scales', 'flip', 'amp')
    kept = {key: recipe['pseudo_label'][key] for key in needed}
    cams = recipe.copy()
    cams.pop('refinement_sha256', None)
    return {**cams, 'pseudo_label': kept}


def _claim_folders(
    job: Job,
    inputs: Sequence[LabelInput],
    recipe: Recipe,
    notes: Notes,
    overwrite: bool,
) -> None:
    """Make the folders ready, in one process while the others wait."""
    if get_dist_info()[0] == 0:
        claims = []
        if job.out_dir:
            files = [job.label_file(item) for item in inputs]
            claims.append(Claim(job.out_dir, recipe, files, 'labels'))
        if job.cams_dir:
            files = [job.cams_file(item) for item in inputs]
            needs = _cams_recipe(recipe)
            claims.append(Claim(job.cams_dir, needs, files, 'CAMs'))
        claim_folders(claims, notes, overwrite)
    barrier()


def _label(
    pipeline: Pipeline,
    batches: list[list[LabelInput]],
    workers: int,
    strict: bool,
) -> tuple[Labelled, dict[str, Tensor]]:
    """Label this process's share of the batches.

    Returns:
        What all processes did, and the class scores [L] of the images that
        they labelled.
    """
    rank, world = get_dist_info()
    everything = [item for batch in batches for item in batch]
    states = {i.img_id: pipeline.job.state(i) for i in everything}
    wanted = {name for name, state in states.items() if state == 'missing'}
    # All processes look before any writes.
    barrier()
    mine = [Batch(b, wanted & {i.img_id for i in b}) for b in batches]
    mine = [batch for batch in mine[rank::world] if batch.wanted]
    total = sum(len(batch.wanted) for batch in mine)
    errors, scores = {}, {}
    outcomes = run_pipeline(pipeline, mine, workers)
    for outcome in progress(outcomes, 'images', total):
        if outcome.error is not None:
            errors[outcome.img_id] = outcome.error
            stop_at(errors, strict)
        elif outcome.scores is not None:
            scores[outcome.img_id] = outcome.scores
    shares = all_gather_object((errors, scores))
    errors = {name: e for share, _ in shares for name, e in share.items()}
    scores = {name: s for _, share in shares for name, s in share.items()}
    done: Labelled = {
        'written': len(wanted) - len(errors),
        'kept': len(everything) - len(wanted),
        'edited': [n for n, state in states.items() if state == 'edited'],
        'errors': errors,
    }
    return done, scores


def classes_file(record: Path) -> Path:
    """Name the list of what the images show, beside a record."""
    return record.with_name(f'{record.stem}_classes.csv')


def _write_classes(
    job: Job,
    inputs: Sequence[LabelInput],
    done: Labelled,
    notes: Notes,
    recipe: Recipe,
    record: Path,
) -> None:
    """Write what the images show as a label list, and note it.

    Classes are those known, predicted, or of a label that somebody drew.
    """
    edited = set(done['edited'])
    tags = {
        item.img_id: tags_after(job, item, item.img_id in edited)
        for item in inputs
        if item.img_id not in done['errors']
    }
    path = classes_file(record)
    write_tags(path, tags, job.classes[1:])
    assert job.out_dir is not None
    earlier = read_manifest(job.out_dir)
    others = set(earlier.get('edited', ())) - {i.img_id for i in inputs}
    digests = earlier.get('list_digests', {})
    more: ListNotes = {
        **notes,
        'edited': sorted(edited | others),
        'list_digests': {**digests, path.name: file_text_digest(path)},
    }
    write_manifest(job.out_dir, recipe, more)
