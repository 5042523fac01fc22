"""A trained classifier from its config and its checkpoint."""

from collections.abc import Sequence
from pickle import UnpicklingError

import torch
from mmengine.runner import CheckpointLoader
from torch import nn

from mmrca.registry import MODELS

_HEAD = 'cam_head.conv.weight'  # [L, D, 1, 1]
_NAMED = 3  # keys an error names


def load_model(
    config: dict, checkpoint: str, classes: Sequence[str]
) -> nn.Module:
    """Build the model and give it the checkpoint's weights.

    Args:
        config: The config's ``model``.
        checkpoint: File written in training.
        classes: The data set's classes, ``'background'`` first.

    Returns:
        The model in eval mode, on the GPU if there is one.

    Raises:
        ValueError: If config, checkpoint and data set are not of the same
            classes, the checkpoint's weights are not the model's, or it is
            no checkpoint.
    """
    model = MODELS.build(config)
    if model.num_classes != len(classes) - 1:
        raise ValueError(
            f'the model has {model.num_classes} classes (cam_head.num_classes)'
            f' and the data set {len(classes) - 1}; make them agree'
        )
    saved = _read(checkpoint)
    state = saved.get('state_dict', saved)
    _check_classes(checkpoint, saved, state, classes)
    _load(model, state, checkpoint)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    return model.to(device).eval()


def _read(checkpoint: str) -> dict:
    try:
        saved = CheckpointLoader.load_checkpoint(checkpoint, 'cpu', 'silent')
    except (RuntimeError, UnpicklingError, EOFError) as error:
        raise ValueError(f'{checkpoint} is no checkpoint: {error}') from error
    if not isinstance(saved, dict):
        raise ValueError(f'{checkpoint} is no checkpoint: it holds no dict')
    return saved


def _check_classes(
    checkpoint: str, saved: dict, state: dict, classes: Sequence[str]
) -> None:
    found, wanted = len(state.get(_HEAD, classes[1:])), len(classes) - 1
    if found != wanted:
        raise ValueError(
            f'checkpoint {checkpoint} was trained for {found} classes, the '
            f'config has {wanted}; use the config it was trained with'
        )
    names = saved.get('meta', {}).get('dataset_meta', {}).get('classes')
    for theirs, ours in zip(names or (), classes, strict=False):
        if theirs != ours:
            raise ValueError(
                f'checkpoint {checkpoint} was trained with class {theirs!r} '
                f'where the config has {ours!r}; use the config it was '
                'trained with'
            )


def _load(model: nn.Module, state: dict, checkpoint: str) -> None:
    try:
        outcome = model.load_state_dict(state, strict=False)
    except (RuntimeError, ValueError) as error:  # of another shape
        raise ValueError(
            f'checkpoint {checkpoint} does not fit the model: {error}'
        ) from error
    for keys, fault in (
        (outcome.missing_keys, 'lacks'),
        (outcome.unexpected_keys, 'has, but the model has not,'),
    ):
        if keys:
            raise ValueError(
                f'checkpoint {checkpoint} {fault} {len(keys)} weights, such '
                f'as {", ".join(keys[:_NAMED])}; use the config it was '
                'trained with'
            )
