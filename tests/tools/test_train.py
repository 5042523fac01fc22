"""How tools/train.py and tools/test.py answer a command line."""

import runpy
import sys

import pytest


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'empty.py'
    path.write_text("optim_wrapper = dict(type='OptimWrapper')\n")
    return str(path)


@pytest.fixture
def tool(repo, monkeypatch, capsys, tmp_path):
    """Run a tool that is expected to fail; return status and stderr."""

    def call(name, *args):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, 'argv', [name, *args])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(repo / 'tools' / name), run_name='__main__')
        return end.value.code, capsys.readouterr().err

    return call


@pytest.mark.parametrize('name', ['train.py', 'test.py'])
def test_missing_config(tool, name):
    args = ['nowhere.py'] + ['last.pth'] * (name == 'test.py')
    status, err = tool(name, *args)
    assert status == 2
    assert err == 'error: config nowhere.py is not a file, check the path\n'


@pytest.mark.parametrize(
    'args',
    [
        ('train.py', '--resume', 'nowhere.pth'),
        ('test.py', 'nowhere.pth'),
    ],
)
def test_missing_checkpoint(tool, config, args):
    name, *rest = args
    status, err = tool(name, config, *rest)
    assert status == 2
    assert err == (
        'error: checkpoint nowhere.pth is not a file, check the path\n'
    )


def test_resume_from_a_work_dir_whose_checkpoint_is_gone(
    tool, config, tmp_path
):
    (tmp_path / 'last_checkpoint').write_text('epoch_3.pth')
    status, err = tool(
        'train.py', config, '--work-dir', str(tmp_path), '--resume'
    )
    assert status == 2
    assert 'epoch_3.pth is not a file' in err


def test_amp_on_the_cpu(tool, config, monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    status, err = tool('train.py', config, '--amp')
    assert status == 2
    assert err == 'error: --amp needs a GPU, leave it out on the CPU\n'


def test_unknown_option(tool, config):
    status, err = tool('train.py', config, '--learning-rate', '1')
    assert status == 2
    assert 'unrecognized arguments: --learning-rate' in err


def test_launcher_without_torchrun(tool, config, monkeypatch):
    monkeypatch.delenv('RANK', raising=False)
    status, err = tool('train.py', config, '--launcher', 'pytorch')
    assert status == 2
    assert 'torchrun' in err


@pytest.mark.parametrize(
    ('option', 'key'),
    [
        (('--tta',), 'tta_model'),
        (('--out', 'labels'), 'test_evaluator'),
        (('--show-dir', 'shown'), 'visualization'),
    ],
)
def test_an_option_the_config_is_not_made_for(
    tool, tmp_path, monkeypatch, option, key
):
    path = tmp_path / 'cam.py'
    path.write_text("test_evaluator = dict(type='mmrca.CAMMetric')\n")
    (tmp_path / 'last.pth').touch()
    status, err = tool(
        'test.py', str(path), str(tmp_path / 'last.pth'), *option
    )
    assert status == 2
    assert key in err
