"""The settings of ``pseudo_label`` in a config, read and checked."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from mmengine.config import Config

from mmrca.checks import is_number
from mmrca.ops.pixel_adaptive import pixel_adaptive
from mmrca.pseudo_labels.dense_crf import dense_crf

# Background cues and the options each of them needs and may have.
_CUES: dict[str, tuple[set[str], set[str]]] = {
    'constant': ({'threshold'}, set()),
    'power': ({'alpha'}, set()),
    'saliency': ({'dir'}, {'conflict'}),
}
REFINEMENTS: dict[str, Callable] = {
    'dense_crf': dense_crf,
    'pixel_adaptive': pixel_adaptive,
}
AUTO = 'auto'


@dataclass(frozen=True)
class Settings:
    """How labels are made.

    Attributes:
        scales: Factors of the image's size, each > 0.
        flip: Whether mirror images take part.
        background: The background's score: ``dict(type='constant',
            threshold=t)`` with t in 0..1 or ``'auto'``, chosen without
            masks; ``dict(type='power', alpha=a)``, (1 - highest CAM) ** a;
            or ``dict(type='saliency', dir=folder)`` of 8-bit ``ID.png``,
            1 - saliency. With ``conflict=True`` the latter leaves the
            pixels open where label and saliency disagree.
        margin: A pixel is left open where its best score leads the second
            by less.
        normalization: As :func:`mmrca.ops.cam.normalize_cams`.
        refinement: None or ``dict(type=..., ...)`` of ``'dense_crf'`` or
            ``'pixel_adaptive'`` with their options.
        conflict: A pixel is left open where two CAMs reach this, in 0..1.
        min_foreground: Share of the pixels that each class of the image
            has at least, in 0..1.
        max_side: Larger images are shrunk to this many pixels on the longer
            side, and their labels enlarged again.
    """

    scales: tuple[float, ...]
    flip: bool
    background: dict
    margin: float
    normalization: str = 'class'
    refinement: dict | None = None
    conflict: float | None = None
    min_foreground: float = 0.0
    max_side: int = 1024


def read_settings(config: Config) -> Settings:
    """Read ``pseudo_label`` from a config and check its keys.

    Ranges are checked by :func:`mmrca.pseudo_labels.labels.rehearse`.

    Raises:
        ValueError: If a key is missing or unknown, or no number where it has
            to be one.
    """
    for key in ('model', 'train_dataloader', 'pseudo_label'):
        if key not in config:
            raise ValueError(f'the config has no {key}')
    given = config.pseudo_label
    required = {'scales', 'flip', 'background', 'margin'}
    optional = {field.name for field in fields(Settings)} - required
    _check_keys('pseudo_label', given, required, optional)
    settings = Settings(**given.to_dict())
    _check_number('pseudo_label.margin', settings.margin)
    _check_number('pseudo_label.min_foreground', settings.min_foreground)
    _check_number('pseudo_label.conflict', settings.conflict, None)
    _check_cue(settings.background)
    _check_refinement(settings.refinement)
    return settings


def _check_cue(background: Any) -> None:
    where = 'pseudo_label.background'
    kind = _kind(where, background, _CUES)
    required, optional = _CUES[kind]
    _check_keys(where, background, {'type', *required}, optional)
    if kind == 'constant':
        _check_number(f'{where}.threshold', background['threshold'], AUTO)
    if kind == 'power':
        _check_number(f'{where}.alpha', background['alpha'])


def _check_refinement(refinement: Any) -> None:
    if refinement is None:
        return
    where = 'pseudo_label.refinement'
    kind = _kind(where, refinement, REFINEMENTS)
    options = inspect.signature(REFINEMENTS[kind]).parameters.values()
    known = {o.name for o in options if o.kind == o.KEYWORD_ONLY}
    _check_keys(where, refinement, {'type'}, known)


def _check_number(where: str, value: Any, *words: Any) -> None:
    if value in words:
        return
    if not is_number(value):
        choice = ' or '.join(['a number', *map(repr, words)])
        raise ValueError(f'{where} is {value!r}; it must be {choice}')


def _kind(where: str, given: Any, known: dict) -> str:
    kind = given.get('type') if isinstance(given, dict) else None
    if kind not in known:
        raise ValueError(
            f'{where}.type is {kind!r}; it must be one of {", ".join(known)}'
        )
    return kind


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
