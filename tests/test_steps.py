"""Commands in a row: once, in order, again after a fault."""

from pathlib import Path

import pytest

from mmrca import steps
from mmrca.steps import Step, how_far, take_all


def writes(name: str, folder: Path, **more) -> Step:
    code = f'open({str(folder / "out")!r}, "a").write({name!r})'
    return Step(name, f'write {name}', ['-c', code], **more)


@pytest.mark.parametrize('quiet', [False, True])
def test_a_step_is_taken_once(tmp_path, capfd, quiet):
    both = [writes('a', tmp_path), writes('b', tmp_path)]
    take_all(both[:1], tmp_path, quiet)
    take_all(both, tmp_path, quiet)
    take_all(both, tmp_path, quiet)
    assert (tmp_path / 'out').read_text() == 'ab'
    shown = capfd.readouterr().out
    assert shown.count('done before') == 3
    assert ('python -c' in shown) != quiet


def test_a_step_that_depends_on_another_is_not_kept(tmp_path):
    both = [writes('a', tmp_path), writes('b', tmp_path)]
    take_all(both, tmp_path)
    (tmp_path / 'a.done').unlink()
    with pytest.raises(ValueError, match=r'b .*earlier.*b\.done'):
        take_all(both, tmp_path)


@pytest.mark.parametrize(
    'changes',
    [
        dict(command=['-c', 'pass']),
        dict(variables=dict(LABEL_DIR='x')),
        dict(made_with='y'),
    ],
)
def test_a_step_that_was_done_otherwise_is_named(tmp_path, changes):
    step = writes('a', tmp_path)
    take_all([step], tmp_path)
    with pytest.raises(ValueError, match=r'step a was done .*a\.done'):
        take_all([step._replace(**changes)], tmp_path)
    assert (tmp_path / 'out').read_text() == 'a'


def test_a_fault_is_said_and_the_step_taken_again(tmp_path):
    code = 'import sys; print("words"); sys.exit("error: no such thing")'
    step = Step('a', 'fail', ['-c', code])
    with pytest.raises(ValueError, match=r'a .*: no such thing; .*a\.log'):
        take_all([step], tmp_path, quiet=True)
    assert 'words' in (tmp_path / 'a.log').read_text()
    with pytest.raises(ValueError, match='step a ended with status 1'):
        take_all([step], tmp_path)
    take_all([writes('a', tmp_path)], tmp_path)
    assert (tmp_path / 'out').exists()


def test_a_step_finds_its_variables_and_mmrca(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = 'import os, mmrca; print(os.environ["LABEL_DIR"], mmrca.__file__)'
    step = Step('a', 'say', ['-c', code], {'LABEL_DIR': 'my labels'})
    assert str(step).startswith("LABEL_DIR='my labels' python -c ")
    take_all([step], tmp_path, quiet=True)
    last = (tmp_path / 'a.log').read_text().splitlines()[-1]
    assert last == f'my labels {Path(steps.__file__).parent}/__init__.py'


def test_the_last_checkpoint_has_a_name_of_its_own(tmp_path):
    for number in (1, 2):
        (tmp_path / f'epoch_{number}.pth').write_text(str(number))
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    take_all([writes('a', tmp_path, work_dir=tmp_path)], tmp_path)
    assert (tmp_path / 'last.pth').read_text() == '2'


def test_progress_is_read_off_the_output(tmp_path, capsys):
    """As mmengine, and mmrca's own progress, write it to a file."""
    head = '11/25 13:29:21 - mmengine - INFO - '
    lines = {
        head + 'Epoch(train)  [2][10/40]  lr: 1e-3': ('iterations', 50, 120),
        head + 'Iter(train) [  50/1000]  lr: 1e-3': ('iterations', 50, 1000),
        'images 12/25, 3 s left': ('images', 12, 25),
        head + 'Epoch(val) [1][4/4]  mAP: 3': None,
    }
    for line, expected in lines.items():
        assert how_far(line, 3) == expected
    code = 'print("images 12/25, 3 s left")'
    take_all([Step('a', 'count', ['-c', code])], tmp_path, quiet=True)
    assert '[1/1] count: images 12/25' in capsys.readouterr().out


def test_tools_and_configs_are_there():
    assert (steps.TOOLS / 'make_pseudo_labels.py').is_file()
    assert (steps.CONFIGS / 'custom').is_dir()
