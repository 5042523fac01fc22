"""What all tests share."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

# Cures torchvision before any test module imports an OpenMMLab package.
import mmrca  # noqa: F401

# The tensors are tiny; a second thread costs more than it brings.
torch.set_num_threads(1)
FROZEN: set[str] = set()  # the modules that the garbage collector leaves out


@pytest.fixture(autouse=True)
def same_random_state():
    """Every test starts from the same random numbers."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def same_environment() -> Iterator[None]:
    """A test that runs a tool leaves no variable behind."""
    with patch.dict(os.environ):
        yield


@pytest.fixture(autouse=True)
def what_is_imported_is_no_garbage():
    """mmengine searches all objects for garbage at each data set."""
    if len(sys.modules) > len(FROZEN) + 20:
        FROZEN.update(sys.modules)
        gc.collect()
        gc.freeze()


@pytest.fixture(scope='session', autouse=True)
def configs_are_written_as_they_come() -> Iterator[None]:
    """A Runner writes its config often; yapf takes longer than a training."""
    with patch(
        'yapf.yapflib.yapf_api.FormatCode',
        lambda text, **_: (f'{text}\n', True),
    ):
        yield


@pytest.fixture(scope='session')
def repo() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope='session')
def voc20_mini() -> Path:
    """The folder of real images; without it the test is skipped."""
    return _from_variable('VOC20_MINI')


@pytest.fixture(scope='session')
def mobilenet_v2() -> Path:
    """ImageNet weights of MobileNetV2; without them the test is skipped."""
    return _from_variable('MOBILENET_V2')


def _from_variable(name: str) -> Path:
    if not os.environ.get(name):
        pytest.skip(f'the variable {name} is not set')
    return Path(os.environ[name])
