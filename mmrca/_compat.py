"""What has to be right about the other packages before mmrca can use them.

``mmrca/__init__.py`` calls the first four, before anything imports an
OpenMMLab package. None of them imports torch, which takes seconds.
"""

import functools
import logging
import os
import sys
from collections.abc import Callable
from importlib import metadata
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pickle import UnpicklingError
from types import ModuleType
from typing import Any

import numpy as np
from packaging.specifiers import SpecifierSet

# Import name: the packages it may come from, the fork first, and the versions
# that will do.
NEEDED = {
    'torch': {'torch': '>=2.4'},
    'mmengine': {'onedl-mmengine': '>=0.10,<1', 'mmengine': '>=0.10,<1'},
    'mmcv': {'onedl-mmcv': '>=2.3', 'mmcv': '>=2.0,<2.2'},
    'mmseg': {
        'onedl-mmsegmentation': '>=1.2,<2',
        'mmsegmentation': '>=1.2,<2',
    },
    'mmpretrain': {'onedl-mmpretrain': '>=1.2,<2', 'mmpretrain': '>=1.2,<2'},
}
# What upstream's mmsegmentation imports but does not require.
UNDECLARED = ('ftfy', 'regex')

NUMPY_SCALARS = (
    np.bool_,
    *(np.int8, np.int16, np.int32, np.int64),
    *(np.uint8, np.uint16, np.uint32, np.uint64),
    *(np.float16, np.float32, np.float64),
)

_MOST_PIXELS = 178_956_970  # twice PIL.Image.MAX_IMAGE_PIXELS

# torch.library.Library objects: a schema lives as long as its library does.
_torchvision_schemas: list = []


def check_versions() -> None:
    """Check that every package mmrca needs is there, once, and fits.

    Nothing is imported: the installed packages' own records are read.

    Raises:
        ImportError: Naming the package and what to install.
    """
    upstream = _version('mmengine') is not None
    for module, packages in NEEDED.items():
        found = {name: _version(name) for name in packages}
        found = {name: v for name, v in found.items() if v is not None}
        if len(found) > 1:
            raise ImportError(
                f'{" and ".join(found)} are both installed and overwrite '
                "each other's files: uninstall both, then install one of them"
            )
        # Advice from the family that the user already has.
        wanted = next(iter(found), list(packages)[-1 if upstream else 0])
        if not _fits(found.get(wanted), packages[wanted]):
            state = f'it is {found[wanted]}' if found else 'it is missing'
            if module == 'mmcv' and _version('mmcv-lite'):
                state = 'mmcv-lite, without the operators, is (uninstall it)'
            raise ImportError(
                f'mmrca needs {module} {packages[wanted]}, {state}: '
                f'pip install "{wanted}{packages[wanted]}"'
            )
    missing = [name for name in UNDECLARED if _version(name) is None]
    if _version('mmsegmentation') and missing:
        raise ImportError(
            f'mmsegmentation needs {" and ".join(missing)}: '
            f'pip install {" ".join(missing)}'
        )


def _version(package: str) -> str | None:
    """Return the version of an installed package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _fits(version: str | None, versions: str) -> bool:
    return version is not None and SpecifierSet(versions).contains(
        version, prereleases=True
    )


def cure_torchvision() -> None:
    """Make ``import torchvision`` possible beside a CPU build of torch.

    A torchvision built for CUDA cannot load its compiled operators there and
    then fails on their names. Declaring the two it asks for is enough; calling
    one of them still raises. A torchvision that works, or that fails in any
    other way, is left alone. It happens when torchvision is first imported.
    """
    sys.meta_path.insert(0, _TorchvisionFinder())


class _TorchvisionFinder(MetaPathFinder):
    """Finds torchvision, and mends its import where it fails."""

    def find_spec(self, fullname: str, *args: Any) -> ModuleSpec | None:
        if fullname != 'torchvision':
            return None
        spec = PathFinder.find_spec(fullname, *args)
        if spec and spec.loader:
            load = spec.loader.exec_module
            spec.loader.exec_module = functools.partial(  # type: ignore
                _load_torchvision, load
            )
        return spec


def _load_torchvision(
    load: Callable[[ModuleType], None], module: ModuleType
) -> None:
    try:
        load(module)
    except RuntimeError as error:
        if 'operator torchvision::nms does not exist' not in str(error):
            raise
        _declare_nms()
        load(module)


def _declare_nms() -> None:
    import torch

    library = torch.library.Library('torchvision', 'DEF')
    for name in ('nms', 'qnms'):
        library.define(
            f'{name}(Tensor dets, Tensor scores, float iou_threshold)'
            ' -> Tensor'
        )
    _torchvision_schemas.append(library)
    for module in list(sys.modules):
        if module.startswith('torchvision.'):
            del sys.modules[module]


def limit_opencv() -> None:
    """Let OpenCV decode no picture that Pillow takes for a bomb.

    It reads this when it is imported. Its own limit is 6 times higher, and
    what trainings read does not go through Pillow.
    """
    os.environ.setdefault('OPENCV_IO_MAX_IMAGE_PIXELS', str(_MOST_PIXELS))


def hide_debug_prints() -> None:
    """Keep what mmengine's ``print_log`` calls debugging off the screen.

    It prints a message that has no logger, whatever its level; the forks say
    so at each start that a package of theirs is missing.
    """
    from mmengine import logging as mmengine_logging

    print_any = mmengine_logging.print_log

    @functools.wraps(print_any)
    def print_log(
        msg: Any, logger: Any = None, level: int = logging.INFO
    ) -> None:
        if logger is not None or level >= logging.INFO:
            print_any(msg, logger, level)

    mmengine_logging.print_log = print_log


def allow_resuming() -> None:
    """Let torch's safe loading read the training state mmengine saves.

    A checkpoint holds the logged metrics as mmengine's HistoryBuffer and
    numpy scalars, both of which ``torch.load(weights_only=True)`` refuses.
    :mod:`mmrca.checkpoint` calls this before it reads one.
    """
    import torch
    from mmengine.logging import HistoryBuffer

    # numpy's private constructors, which moved with numpy 2.
    constructors: list[Any] = [
        np.empty(0).__reduce__()[0],
        np.float64().__reduce__()[0],
    ]
    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,
            _history_method,
            np.ndarray,
            np.dtype,
            *constructors,
            *{type(np.dtype(scalar)) for scalar in NUMPY_SCALARS},
        ]
    )


def _history_method(owner: type, name: str) -> object:
    """Stand in for ``getattr``, by which HistoryBuffer stores its methods."""
    from mmengine.logging import HistoryBuffer

    if owner is not HistoryBuffer:
        raise UnpicklingError(f'getattr on {owner} is not allowed')
    return getattr(owner, name)


# torch finds a safe global by the name under which the checkpoint holds it.
_history_method.__module__ = 'builtins'
_history_method.__name__ = _history_method.__qualname__ = 'getattr'
