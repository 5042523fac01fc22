"""Pseudo-labels for a whole data set, and how good they are.

Shape shorthand: C classes present in an image, L classes of the data set,
H x W pixels.
"""

import hashlib
import inspect
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image
from torch import Tensor, nn

from mmrca.model_loader import load_model
from mmrca.ops.pseudo_label import (
    IGNORE_INDEX,
    background_constant,
    background_power,
    fuse,
)
from mmrca.progress import progress
from mmrca.pseudo_labels.cams import infer_cams
from mmrca.pseudo_labels.dense_crf import dense_crf
from mmrca.pseudo_labels.figures import Tally, summarize
from mmrca.pseudo_labels.inputs import (
    LabelInput,
    collect_inputs,
    load_image,
    load_saliency,
)
from mmrca.pseudo_labels.writer import write_label
from mmrca.registry import DATASETS

# Background cues and the one option each of them takes.
_CUES = {'constant': 'threshold', 'power': 'alpha', 'saliency': 'dir'}


def make_pseudo_labels(
    config: Config,
    checkpoint: str,
    out_dir: str | Path,
    record: str | Path | None = None,
    overwrite: bool = False,
) -> dict:
    """Label every image of ``train_dataloader.dataset``.

    A label that is already there and whole is kept, so a stopped run goes
    on where it was. The record says what the labels were made with; labels
    of another recipe are not mixed in.

    Args:
        config: With ``model``, ``train_dataloader`` and ``pseudo_label``.
        checkpoint: File written in training.
        out_dir: Folder for the labels ``ID.png``.
        record: JSON file for recipe and figures, by default
            ``out_dir + '.json'``.
        overwrite: Delete the data set's labels in ``out_dir`` first.

    Returns:
        What the record holds: the recipe, the counts and the figures in
        percent (see :func:`summarize`).

    Raises:
        ValueError: If a config key, a file or the checkpoint is at fault, or
            the folder holds labels of another recipe.
        FileNotFoundError: If a file or folder is missing.
    """
    settings = read_settings(config)
    init_default_scope(config.get('default_scope', 'mmseg'))
    dataset = DATASETS.build(config.train_dataloader.dataset)
    inputs = collect_inputs(dataset, settings['background'].get('dir'))
    classes = dataset.metainfo['classes']
    model = load_model(config.model, checkpoint, classes)

    out_dir = Path(out_dir).absolute()
    record = Path(record or out_dir.parent / f'{out_dir.name}.json')
    recipe = _recipe(config, checkpoint)
    earlier = _prepare(out_dir, record, recipe, inputs, overwrite)

    tally = Tally.empty(len(classes))
    todo = [item for item in inputs if not _keep(item, out_dir, tally)]
    for item in progress(todo, 'labels'):
        labels, plain, cams = _label(model, item, settings)
        write_label(
            _file(out_dir, item), labels.numpy(), dataset.metainfo['palette']
        )
        tally.add(item, labels, plain, cams)
    result = {
        **recipe,
        'finished': True,
        'written': len(todo),
        'kept': len(inputs) - len(todo),
        **summarize(tally, classes),
    }
    # The CAMs of kept labels are not computed again, their figures stay.
    result['cam'] = result['cam'] or earlier.get('cam')
    _write_record(record, result)
    return result


def read_settings(config: Config) -> dict:
    """Read ``pseudo_label`` from a config and check it.

    Raises:
        ValueError: If a key is missing or unknown, or a value is no good.
    """
    for key in ('model', 'train_dataloader', 'pseudo_label'):
        if key not in config:
            raise ValueError(f'the config has no {key}')
    needed = {'scales', 'flip', 'background', 'margin'}
    _check_keys('pseudo_label', config.pseudo_label, needed, {'crf'})
    settings = config.pseudo_label.to_dict()
    _check_cue(settings['background'])
    if settings.get('crf') is not None:
        options = inspect.signature(dense_crf).parameters.values()
        known = {o.name for o in options if o.kind == o.KEYWORD_ONLY}
        _check_keys('pseudo_label.crf', settings['crf'], set(), known)
    _rehearse(settings)
    return settings


def _check_cue(background: Any) -> None:
    where = 'pseudo_label.background'
    kind = background.get('type') if isinstance(background, dict) else None
    if kind not in _CUES:
        raise ValueError(
            f'{where}.type is {kind!r}; it must be one of {", ".join(_CUES)}'
        )
    _check_keys(where, background, {'type', _CUES[kind]}, set())


def _check_keys(
    where: str, given: Any, needed: set[str], optional: set[str]
) -> None:
    if not isinstance(given, dict):
        raise ValueError(f'{where} must be a dict, not {given!r}')
    for key in given:
        if key not in needed | optional:
            known = ', '.join(sorted(needed | optional))
            raise ValueError(f'{where} has no option {key!r}; it has {known}')
    for key in sorted(needed):
        if key not in given:
            raise ValueError(f'{where} needs the option {key!r}')


def _rehearse(settings: dict) -> None:
    """Label a tiny image, so that a bad value shows before the long work."""
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    cams = torch.full((1, 2, 2), 0.5)
    try:
        cue = background_cue(cams, settings['background'], np.zeros((2, 2)))
        label_pixels(image, cams, cue, [0], settings)
    except (TypeError, ImportError) as error:
        raise ValueError(f'pseudo_label: {error}') from error


def background_cue(
    cams: Tensor, background: dict, saliency: np.ndarray | None
) -> Tensor:
    """Compute the background's score.

    Args:
        cams: [C, H, W] in 0..1.
        background: ``pseudo_label.background`` of the config.
        saliency: [H, W] in 0..1, needed by the type ``'saliency'``.

    Returns:
        [H, W] in 0..1.
    """
    if background['type'] == 'constant':
        return background_constant(cams, background['threshold'])
    if background['type'] == 'power':
        return background_power(cams, background['alpha'])
    return 1 - torch.as_tensor(saliency).to(cams)


def label_pixels(
    image: np.ndarray,
    cams: Tensor,
    cue: Tensor,
    classes: Sequence[int],
    settings: dict,
) -> Tensor:
    """Turn scores into labels: CRF if asked for, then fusion.

    Args:
        image: uint8 [H, W, 3], BGR.
        cams: [C, H, W] in 0..1.
        cue: [H, W], the background's score.
        classes: The C class numbers, 0-based.
        settings: ``pseudo_label`` of the config.

    Returns:
        uint8 [H, W] on the CPU, as :func:`mmrca.ops.pseudo_label.fuse`.
    """
    scores = torch.cat([cue[None], cams])
    if settings.get('crf') is not None:
        scores = dense_crf(image[..., ::-1], scores, **settings['crf'])
    scores = scores.cpu()
    return fuse(scores[1:], scores[0], classes, settings['margin'])


def _label(
    model: nn.Module, item: LabelInput, settings: dict
) -> tuple[Tensor, Tensor, Tensor]:
    """Label one image.

    Returns:
        The pseudo-label, what the CAMs alone would say, and the CAMs.
    """
    image = load_image(item)
    try:
        cams = infer_cams(
            model, image, item.classes, settings['scales'], settings['flip']
        )
        saliency = load_saliency(item) if item.saliency else None
        cue = background_cue(cams, settings['background'], saliency)
        labels = label_pixels(image, cams, cue, item.classes, settings)
        plain = fuse(cams, cue, item.classes, margin=0).cpu()
    except ValueError as error:
        raise ValueError(f'image {item.path}: {error}') from error
    return labels, plain, cams


def _file(out_dir: Path, item: LabelInput) -> Path:
    return out_dir / f'{item.img_id}.png'


def _keep(item: LabelInput, out_dir: Path, tally: Tally) -> bool:
    """Count the label that is there; False if there is none or it is broken.

    Broken is what this program would not have written: another size than the
    image, a class that the image has not, no palette.
    """
    try:
        with Image.open(_file(out_dir, item)) as picture:
            mode, labels = picture.mode, torch.tensor(np.asarray(picture))
    except (OSError, SyntaxError):  # missing, or cut off in some chunk
        return False
    if mode != 'P' or tuple(labels.shape) != item.size:
        return False
    known = {0, IGNORE_INDEX, *(number + 1 for number in item.classes)}
    if not known.issuperset(labels.unique().tolist()):
        return False
    tally.add(item, labels)
    return True


def _recipe(config: Config, checkpoint: str) -> dict:
    digest = hashlib.sha256(Path(checkpoint).read_bytes()).hexdigest()
    recipe = {
        'config': config.filename,
        'checkpoint': str(checkpoint),
        'checkpoint_sha256': digest,
        'pseudo_label': config.pseudo_label.to_dict(),
        'model': config.model.to_dict(),
    }
    return json.loads(json.dumps(recipe, default=str))


def _prepare(
    out_dir: Path,
    record: Path,
    recipe: dict,
    inputs: list[LabelInput],
    overwrite: bool,
) -> dict:
    """Make the folder, see that its labels are of this recipe, record it.

    Returns:
        The earlier record of the labels that stay, empty if none do.
    """
    earlier: dict = {}
    labels = [_file(out_dir, item) for item in inputs]
    if overwrite:
        for label in labels:
            label.unlink(missing_ok=True)
    elif any(label.exists() for label in labels):
        earlier = _earlier_record(out_dir, record, recipe)
    for folder in {label.parent for label in labels} | {record.parent}:
        folder.mkdir(parents=True, exist_ok=True)
    _write_record(record, {**recipe, 'finished': False})
    return earlier


def _earlier_record(out_dir: Path, record: Path, recipe: dict) -> dict:
    remedy = 'give another --out-dir, or --overwrite to make them anew'
    try:
        earlier = json.loads(record.read_text())
        made = {key: earlier[key] for key in recipe}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{out_dir} holds labels but {record} does not say what they '
            f'were made with; {remedy}'
        ) from error
    for key in ('checkpoint_sha256', 'pseudo_label', 'model'):
        if made[key] != recipe[key]:
            raise ValueError(
                f'{out_dir} holds labels made with another {key}, see '
                f'{record}; {remedy}'
            )
    return earlier


def _write_record(record: Path, content: dict) -> None:
    part = record.with_name(f'.{record.name}.{os.getpid()}.part')
    part.write_text(json.dumps(content, indent=2) + '\n')
    os.replace(part, record)
