import os
import subprocess
import sys
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import torch

from mmrca.cli import (
    ConfigOptions,
    existing_file,
    existing_folder,
    load_config,
    run,
    sentence,
)
from mmrca.registry import MODELS


class BrokenData(torch.utils.data.Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise ValueError('mask 7.png has no class: give it one')


def test_bad_input_ends_with_one_sentence_and_status_2(capsys):
    def main():
        raise ValueError('no such class: cat')

    with pytest.raises(SystemExit) as end:
        run(main)
    assert end.value.code == 2
    assert capsys.readouterr().err == 'error: no such class: cat\n'


def test_a_missing_file_is_named(capsys, tmp_path):
    with pytest.raises(SystemExit):
        run(lambda: (tmp_path / 'list.txt').read_text())
    assert capsys.readouterr().err == (
        f'error: No such file or directory: {tmp_path}/list.txt\n'
    )


def test_a_path_that_is_no_file_or_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match='path of the config is empty'):
        existing_file('', 'config')
    (tmp_path / 'file').touch()
    with pytest.raises(FileNotFoundError, match=r'photos .*file is not a fo'):
        existing_folder(str(tmp_path / 'file'), 'photos')


def test_an_interrupt_ends_with_its_status():
    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as end:
        run(main)
    assert end.value.code == 130


def test_a_reader_that_has_seen_enough_is_no_error(repo):
    script = "from mmrca.cli import run; run(lambda: print('x' * 99_999))"
    script = (
        f'{sys.executable} -c "{script}" | head -c 1; echo ${{PIPESTATUS}}'
    )
    done = subprocess.run(
        ['bash', '-c', script],
        env={**os.environ, 'PYTHONPATH': str(repo)},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ''
    assert done.stdout == 'x0\n'


def test_a_file_that_a_config_reads_is_to_blame(monkeypatch, tmp_path, repo):
    monkeypatch.setenv('OWN_DATA', str(tmp_path / 'nowhere'))
    name = 'rca_efficientnet-lite0_custom.py'
    with pytest.raises(FileNotFoundError) as caught:
        load_config(str(repo / 'configs/custom' / name))
    said = str(caught.value)
    assert said.startswith(f'{tmp_path}/nowhere/labels/classes.txt')
    assert name not in said


def test_a_variable_that_two_files_read_is_said_once(monkeypatch, tmp_path):
    said = []
    monkeypatch.setattr(
        'mmengine.config.config.print_log', lambda text, **_: said.append(text)
    )
    monkeypatch.setenv('SOME_DIR', 'here')
    (tmp_path / 'base.py').write_text("one = '{{$SOME_DIR:x}}'\n")
    path = tmp_path / 'config.py'
    path.write_text("_base_ = './base.py'\ntwo = '{{$SOME_DIR:x}}'\n")
    found = []
    run(lambda: found.append(load_config(str(path))))
    assert (found[0].one, found[0].two) == ('here', 'here')
    assert len(said) == 1


def test_a_scope_that_is_no_name_is_named(tmp_path):
    (tmp_path / 'config.py').write_text("default_scope = 'mmseg'")
    with pytest.raises(ValueError, match='default_scope is 17'):
        load_config(str(tmp_path / 'config.py'), {'default_scope': 17})


def test_a_bug_keeps_its_traceback():
    with pytest.raises(KeyError):
        run(lambda: {}['missing'])


@pytest.mark.parametrize(
    ('part', 'culprit'),
    [
        (dict(type='mmrca.CAMHeed'), 'mmrca.CAMHeed is not in'),
        (
            dict(type='mmrca.CAMHead', in_chanels=3, num_classes=2),
            'in_chanels',
        ),
        (dict(type='mmrca.CAMHead', num_classes=2), 'in_channels'),
    ],
)
def test_what_a_config_gets_wrong_is_named(capsys, part, culprit):
    with pytest.raises(SystemExit) as end:
        run(lambda: MODELS.build(part))
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith('error: the config cannot be built: ')
    assert culprit in said
    assert said.count('\n') == 1


def test_the_variable_brings_the_traceback_back(monkeypatch):
    monkeypatch.setenv('MMRCA_TRACEBACK', '1')
    with pytest.raises(ValueError):
        run(lambda: int('x'))


def test_an_error_in_a_data_worker_loses_the_workers_traceback():
    loader = torch.utils.data.DataLoader(BrokenData(), num_workers=1)
    with pytest.raises(ValueError) as error:
        next(iter(loader))
    assert 'Traceback' in str(error.value)
    assert sentence(error.value) == 'mask 7.png has no class: give it one'


def test_options_change_the_config(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text('train_cfg = dict(max_epochs=3, val_interval=1)\n')
    config = load_config(str(path), {'train_cfg.max_epochs': 5})
    assert config.train_cfg == {'max_epochs': 5, 'val_interval': 1}


@pytest.mark.parametrize('key', ['train_cfg', 'a.b'])
def test_a_value_for_a_section_is_named(tmp_path, key):
    path = tmp_path / 'config.py'
    path.write_text('train_cfg = dict(max_epochs=3)\na = dict(b=dict(c=1))\n')
    with pytest.raises(ValueError, match=f'{key}=maybe'):
        load_config(str(path), {key: 'maybe'})
    assert load_config(str(path), {key: None})


@pytest.mark.parametrize(
    'text', ['model = dict(', "_base_ = 'nowhere.py'", '1 / 0']
)
def test_an_unreadable_config_is_named(tmp_path, text):
    path = tmp_path / 'config.py'
    path.write_text(text)
    with pytest.raises(ValueError, match=r'config .*config\.py cannot be re'):
        load_config(str(path))


@pytest.mark.parametrize('pair', ['lr', 'scales=[1,2'])
def test_a_malformed_option_is_named(pair, capsys):
    from argparse import ArgumentParser

    parser = ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions)
    with pytest.raises(SystemExit) as end:
        parser.parse_args(['--cfg-options', pair])
    assert end.value.code == 2
    assert pair.split('=')[-1] in capsys.readouterr().err


def test_a_failed_download_says_what_to_do():
    with pytest.raises(URLError) as error:
        urlopen('http://127.0.0.1:9/weights.pth')
    said = sentence(error.value)
    assert 'download' in said
    assert 'model.backbone.init_cfg.checkpoint' in said
