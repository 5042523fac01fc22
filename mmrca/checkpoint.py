"""Every way weights come in: safely, and whole or not at all."""

import copy
import hashlib
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch
from mmcv.cnn import fuse_conv_bn
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import update_init_info
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from mmrca._compat import allow_resuming
from mmrca.checks import first_few
from mmrca.registry import MODELS, WEIGHT_INITIALIZERS

if TYPE_CHECKING:
    from mmrca.models import RCA

_HEAD = 'cam_head.conv.weight'  # [L, D, 1, 1]


# mmengine's own loader runs the code in a file that safe loading refuses.
# load_from, --resume and every init_cfg use this one.
@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location: str | None = None) -> dict:
    """Read a checkpoint without running code that it may hold.

    Args:
        filename: A file that ``torch.save`` wrote.
        map_location: As in :func:`torch.load`.

    Returns:
        What it holds.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be read, or holds more than weights and the
            state of a training.
    """
    path = Path(filename).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f'weights {path} is not a file; put it there, or change the path '
            'or the variable that the config reads it from'
        )
    allow_resuming()  # mmengine's own loading takes it back
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except (RuntimeError, UnpicklingError, OSError, EOFError) as error:
        raise ValueError(
            f'{path} cannot be read as a checkpoint: it is truncated, another '
            'kind of file, or holds more than weights, which could run code'
        ) from error


def read_checkpoint(path: str) -> dict:
    """Read a file of weights.

    Args:
        path: A state dict, or a dict that has one as its ``state_dict``.

    Returns:
        The dict with its ``state_dict``, the names in it without the
        ``module.`` of a model that was saved in its wrapper.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds no weights.
    """
    saved = load_from_local(path, 'cpu')
    state = saved.get('state_dict', saved) if isinstance(saved, dict) else {}
    weights = {
        str(name).removeprefix('module.'): value
        for name, value in state.items()
        if isinstance(value, Tensor)
    }
    if not weights:
        raise ValueError(f'{path} is not a checkpoint: it holds no weights')
    return {**saved, 'state_dict': weights}


def file_digest(path: str) -> str:
    """Tell checkpoints apart by their content: SHA-256 in hexadecimal."""
    with Path(path).open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def load_weights(
    module: nn.Module, weights: dict[str, Tensor], path: str
) -> list[str]:
    """Give a module all of its weights.

    Args:
        module: Changed in place.
        weights: By name.
        path: Where they come from, for the errors.

    Returns:
        The names of weights that the module does not have.

    Raises:
        ValueError: A weight of the module is missing or of another shape.
    """
    kind = type(module).__name__
    try:
        outcome = module.load_state_dict(weights, strict=False)
    except (RuntimeError, ValueError) as error:  # of another shape
        raise ValueError(
            f'checkpoint {path} does not fit the model: {error}'
        ) from error
    if outcome.missing_keys:
        raise ValueError(
            f'checkpoint {path} lacks {len(outcome.missing_keys)} weights, '
            f'such as {first_few(outcome.missing_keys)}, of {kind}; it has '
            f'{first_few(list(weights))}: take the config and the weights '
            'that belong together'
        )
    return outcome.unexpected_keys


def check_weights(model: nn.Module, path: str) -> None:
    """Refuse a checkpoint of another model; mmengine would only warn.

    Args:
        model: Gets the checkpoint's weights. It may be in a wrapper.
        path: The checkpoint.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be read, or belongs to another model.
    """
    weights = read_checkpoint(path)['state_dict']
    load_weights(unwrap(model), weights, path)


def check_backbone(model: nn.Module, config: dict) -> None:
    """Refuse weights of another backbone that mmengine is about to load.

    Only looks at the type ``'Pretrained'`` of mmengine, which would warn and
    go on, and only at files.

    Args:
        model: It may be in a wrapper.
        config: The config's ``model``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It lacks weights of the backbone.
    """
    init = config.get('backbone', {}).get('init_cfg') or {}
    path = init.get('checkpoint') or ''
    # With a scope it is ours, which refuses them by itself.
    if init.get('type') != 'Pretrained' or '_scope_' in init or '://' in path:
        return
    Pretrained(path, init.get('prefix', 'backbone'))(unwrap(model).backbone)


def unwrap(model: nn.Module) -> Any:
    """Take a model out of its wrappers, if it is in any."""
    found: Any = model
    while hasattr(found, 'module'):  # several processes, augmented views
        found = found.module
    return found


def part(weights: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Pick the weights of one part of a model, by their names inside it."""
    prefix = f'{name}.'
    return {
        key.removeprefix(prefix): value
        for key, value in weights.items()
        if key.startswith(prefix)
    }


def dataset_metainfo(config: Config) -> dict:
    """Look up ``metainfo`` of a config's training set, in wrappers or not."""
    given = config.train_dataloader.dataset
    while 'metainfo' not in given:
        given = given['dataset'] if 'dataset' in given else given.datasets[0]
    return given.metainfo


def load_classifier(config: Config, checkpoint: str) -> 'RCA':
    """Build the model and give it the checkpoint's weights.

    Args:
        config: With ``model`` and ``train_dataloader``.
        checkpoint: File written in training.

    Returns:
        The model for inference: in eval mode, on the GPU if there is one,
        batch norms folded into the backbone's convolutions.

    Raises:
        ValueError: If config, checkpoint and data set are not of the same
            classes, the checkpoint's weights are not the model's, its
            prototype CAM is not filled, or it cannot be read.
    """
    classes = dataset_metainfo(config)['classes']
    model = MODELS.build(config.model)
    if model.num_classes != len(classes) - 1:
        raise ValueError(
            f'the model has {model.num_classes} classes (cam_head.num_classes)'
            f' and the data set {len(classes) - 1}; make them agree'
        )
    saved = read_checkpoint(checkpoint)
    weights = saved['state_dict']
    _check_classes(checkpoint, saved, weights, classes)
    unexpected = load_weights(model, weights, checkpoint)
    if unexpected:
        raise ValueError(
            f'checkpoint {checkpoint} has {len(unexpected)} weights that the '
            f'model does not have, such as {first_few(unexpected)}; use the '
            'config it was trained with'
        )
    prototype_cam = getattr(model, 'prototype_cam', None)
    if prototype_cam is not None and not prototype_cam.filled:
        raise ValueError(
            f'checkpoint {checkpoint} is from before the end of its training, '
            'when the prototype CAM is filled; train to the end and take the '
            'last checkpoint'
        )
    _fold_batch_norms(model.eval())
    return model.to('cuda' if torch.cuda.is_available() else 'cpu')


@torch.no_grad()
def _fold_batch_norms(model: 'RCA') -> None:
    """Fold the backbone's batch norms, unless its maps would change."""
    # mmcv pairs layers by the order of their names. In someone's own backbone
    # that need not be the order they are called in.
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator())
    try:
        folded = fuse_conv_bn(copy.deepcopy(model.backbone))
        maps, same = (m(image) for m in (model.backbone, folded))
    except RuntimeError:  # channels do not fit, or the image is too small
        return
    if not isinstance(maps, torch.Tensor):
        maps, same = maps[-1], same[-1]
    if torch.allclose(maps, same, rtol=1e-3, atol=1e-3 * maps.abs().max()):
        model.backbone = folded


def _check_classes(
    checkpoint: str, saved: dict, weights: dict, classes: Sequence[str]
) -> None:
    found, wanted = len(weights.get(_HEAD, classes[1:])), len(classes) - 1
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


@WEIGHT_INITIALIZERS.register_module(name='Pretrained')
class Pretrained:
    """Give a backbone all of its weights, or refuse the file.

    In a config::

        init_cfg=dict(type='Pretrained', _scope_='mmrca', checkpoint=FILE)

    mmengine's own initializer of this name goes on without the weights that
    it does not find. The name is kept because mmengine puts off the type
    ``'Pretrained'``, and no other, until everything else is initialised.

    Args:
        checkpoint: A state dict, a checkpoint with a ``state_dict``, or one
            of a whole model, of which the backbone's part is taken.
        prefix: The name of that part.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be read or lacks weights of the backbone.
    """

    def __init__(self, checkpoint: str, prefix: str = 'backbone') -> None:
        self.checkpoint = checkpoint
        self.prefix = prefix

    def __call__(self, module: nn.Module) -> None:
        """Load the weights and log those that were not needed."""
        saved = read_checkpoint(self.checkpoint)['state_dict']
        weights = part(saved, self.prefix) or saved
        unexpected = load_weights(module, weights, self.checkpoint)
        if hasattr(module, '_params_init_info'):  # for mmengine's log
            update_init_info(module, f'Loaded from {self.checkpoint}')
        print_log(
            f'{type(module).__name__} starts from {self.checkpoint}; '
            f'{len(unexpected)} of its weights are not needed: '
            f'{first_few(unexpected) or "none"}',
            logger='current',
        )
