"""What importing and installing mmrca does."""

import io
import shutil
import subprocess
import sys
from pickle import UnpicklingError

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub

from mmrca import _compat


def in_fresh_python(code, **options):
    return subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        check=True,
        **options,
    )


def saved(content):
    file = io.BytesIO()
    torch.save(content, file)
    file.seek(0)
    return file


def test_import_is_quiet_and_leaves_torchvision_importable(repo):
    # mmpretrain is the one that fails with torchvision
    code = (
        'import sys, mmrca\n'
        "assert 'torch' not in sys.modules\n"
        'import torchvision, mmpretrain, mmseg.datasets'
    )
    shown = in_fresh_python(code, cwd=repo)
    assert shown.stdout == ''
    assert shown.stderr == ''


def test_the_versions_here_will_do():
    _compat.check_versions()


FORKS = {
    'torch': '2.13.0',
    'onedl-mmengine': '0.10.12',
    'onedl-mmcv': '2.3.6',
    'onedl-mmsegmentation': '1.4.2',
    'onedl-mmpretrain': '1.3.6',
}
UPSTREAM = {
    'torch': '2.4.1',
    'mmengine': '0.10.7',
    'mmcv': '2.1.0',
    'mmsegmentation': '1.2.2',
    'mmpretrain': '1.2.0',
    'ftfy': '6.3',
    'regex': '2024.11.6',
}


@pytest.mark.parametrize('installed', [FORKS, UPSTREAM])
def test_forks_and_upstream_will_do(monkeypatch, installed):
    monkeypatch.setattr(_compat, '_version', installed.get)
    _compat.check_versions()


@pytest.mark.parametrize(
    ('installed', 'changes', 'says'),
    [
        (FORKS, {'onedl-mmcv': None}, 'mmcv.* missing.*"onedl-mmcv>='),
        (FORKS, {'torch': '2.3.1'}, r'torch >=2.4, it is 2\.3\.1'),
        (FORKS, {'mmcv': '2.1.0'}, 'onedl-mmcv and mmcv are both installed'),
        (UPSTREAM, {'mmpretrain': None}, 'missing.*install "mmpretrain>='),
        (UPSTREAM, {'mmcv': '2.2.0'}, r'2\.2\.0.*install "mmcv>=2.0,<2.2"'),
        (UPSTREAM, {'mmcv': None, 'mmcv-lite': '2.1.0'}, 'mmcv-lite'),
        (UPSTREAM, {'ftfy': None}, 'pip install ftfy'),
    ],
)
def test_a_wrong_package_is_named(monkeypatch, installed, changes, says):
    monkeypatch.setattr(_compat, '_version', {**installed, **changes}.get)
    with pytest.raises(ImportError, match=says) as raised:
        _compat.check_versions()
    assert installed is FORKS or 'install "onedl' not in str(raised.value)


def test_training_state_passes_safe_loading():
    hub = MessageHub('saved')
    hub.update_scalar('train/loss', torch.tensor(1.5))
    hub.update_scalar('train/time', 0.25)
    hub.update_info('iter', 3)
    # mmengine's loader may have taken the list back after a checkpoint
    _compat.allow_resuming()
    state = torch.load(saved(hub.state_dict()), weights_only=True)
    loss = state['log_scalars']['train/loss']
    assert loss.current() == 1.5
    assert loss.statistics('mean', 1) == 1.5
    assert state['runtime_info']['iter'] == 3


class Sneaky:
    """Unpickles to a method of another class that is on the list."""

    def __reduce__(self):
        return getattr, (np.ndarray, 'tofile')


def test_safe_loading_still_refuses_everything_else():
    _compat.allow_resuming()
    with pytest.raises(UnpicklingError, match=r'ndarray.* is not allowed'):
        torch.load(saved(Sneaky()), weights_only=True)


@pytest.fixture
def checkout(repo, tmp_path):
    """A copy of what packaging reads."""
    parts = ['setup.py', 'pyproject.toml', 'README.md', 'LICENSE']
    for part in [*parts, 'model-index.yml']:
        shutil.copy(repo / part, tmp_path)
    for part in ('configs', 'tools', 'mmrca'):
        shutil.copytree(
            repo / part,
            tmp_path / part,
            ignore=shutil.ignore_patterns('__pycache__', '.mim'),
        )
    return tmp_path


def same_files(one, other):
    names = {path.relative_to(one) for path in one.rglob('*.py')}
    return names and names == {
        path.relative_to(other) for path in other.rglob('*.py')
    }


def test_a_wheel_holds_copies_for_mim(checkout):
    in_fresh_python(
        'import sys; sys.argv[1:] = ["-q", "build_py"]; import setup',
        cwd=checkout,
    )
    mim = checkout / 'build' / 'lib' / 'mmrca' / '.mim'
    assert (mim / 'model-index.yml').is_file()
    for part in ('configs', 'tools'):
        assert not (mim / part).is_symlink()
        assert same_files(checkout / part, mim / part)


def test_an_editable_install_links_for_mim(checkout):
    code = 'from setuptools import build_meta as b; b.build_editable("out")'
    in_fresh_python(code, cwd=checkout)
    mim = checkout / 'mmrca' / '.mim'
    for part in ('configs', 'tools', 'model-index.yml'):
        assert (mim / part).is_symlink()
        assert (mim / part).samefile(checkout / part)


def test_a_training_imports_neither_the_label_room_nor_what_it_needs(repo):
    code = (
        'import sys, mmrca, mmengine.runner\n'
        'from mmrca import registry as r\n'
        "for n in ('MODELS.RCA', 'HOOKS.PrototypeCAMHook', "
        "'DATASETS.ImageLevelDataset', 'METRICS.CAMMetric'):\n"
        "    where, name = n.split('.')\n"
        '    assert getattr(r, where).get(name), n\n'
        'print(*sys.modules)'
    )
    loaded = set(in_fresh_python(code, cwd=repo).stdout.split())
    assert 'mmrca.engine.prototype_filling' in loaded
    assert not loaded & {'mmrca.pseudo_labels', 'numba', 'sklearn'}
