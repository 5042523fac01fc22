"""Commands in a row: once, in order, again after a fault."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmrca import steps
from mmrca.steps import Step, classifier_steps, how_far, take_all
from tests import tiny


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


def test_a_long_command_is_told_by_the_words_that_differ(tmp_path):
    step = Step('a', 'pass', ['-c', 'pass', '--name', 'x', 'epochs=1'])
    take_all([step], tmp_path)
    other = step._replace(command=['-c', 'pass', '--name', 'x', 'epochs=2'])
    with pytest.raises(ValueError, match='step a was done') as error:
        take_all([other], tmp_path)
    said = str(error.value)
    assert 'epochs=1' in said
    assert 'epochs=2' in said
    assert '--name' not in said


def test_corrected_labels_are_learned_from_anew(tmp_path, capsys):
    labels, trained = tmp_path / 'labels', tmp_path / 'segmenter'
    labels.mkdir()
    (labels / 'x.png').write_text('first')
    copy = (
        'import pathlib, shutil, sys\n'
        f'labels, made = {str(labels)!r}, pathlib.Path({str(trained)!r})\n'
        'made.mkdir()\n'
        'shutil.copy(labels + "/x.png", made / "model.pth")\n'
        '(made / "last_checkpoint").write_text("model.pth")\n'
    )
    train = Step('train', '', ['-c', copy], work_dir=trained, labels=labels)
    road = [writes('a', tmp_path), train, writes('test', tmp_path)]
    take_all(road, tmp_path)
    (labels / 'notes.txt').write_text('no label')
    take_all(road, tmp_path)
    assert (tmp_path / 'out').read_text() == 'atest'
    for number, content in enumerate(['second', 'third'], 1):
        (labels / 'x.png').write_text(content)
        capsys.readouterr()
        take_all(road, tmp_path)
        assert (trained / 'last.pth').read_text() == content
        kept = tmp_path / f'segmenter_{number}'
        assert str(kept) in capsys.readouterr().out
    assert (tmp_path / 'segmenter_1/last.pth').read_text() == 'first'
    assert (tmp_path / 'segmenter_2/last.pth').read_text() == 'second'
    assert (tmp_path / 'out').read_text() == 'atesttesttest'


def test_another_label_list_is_noticed(tmp_path):
    root = tiny.write_images(tmp_path / 'data', [[0], [1]])
    config = tiny.config(root)
    config.pseudo_label = {}
    config.dump(tmp_path / 'config.py')

    def made_with():
        steps = classifier_steps(str(tmp_path / 'config.py'), tmp_path)
        return [step.made_with for step in steps]

    before = made_with()
    assert made_with() == before
    (root / 'labels.txt').write_text('0 0\n1 2\n')
    assert all(a != b for a, b in zip(made_with(), before, strict=True))


def test_the_options_say_how_long_a_training_is(tmp_path):
    config = tiny.config(tmp_path, pseudo_label={})
    config.dump(tmp_path / 'config.py')
    path = str(tmp_path / 'config.py')
    train, _ = classifier_steps(path, tmp_path, ['train_cfg.max_epochs=5'])
    assert train.epochs == 5
    with pytest.raises(ValueError, match='KEY=VALUE'):
        classifier_steps(path, tmp_path, ['train_cfg.max_epochs'])


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
    code = 'print("images 12/25, 3 s left", "note: b, c", "d", sep="\\n")'
    take_all([Step('a', 'count', ['-c', code])], tmp_path, quiet=True)
    shown = capsys.readouterr().out.splitlines()
    assert '[1/1] count: images 12/25' in shown
    assert 'note: b, c' in shown
    assert 'd' not in shown


def test_tools_and_configs_are_there():
    assert (steps.TOOLS / 'make_pseudo_labels.py').is_file()
    assert (steps.CONFIGS / 'custom').is_dir()


def test_steps_run_side_by_side_and_a_failure_spoils_no_other(
    tmp_path, capsys
):
    # Each waits for the other's file.
    wait = (
        'import pathlib, sys, time\n'
        f'root = pathlib.Path({str(tmp_path)!r})\n'
        '(root / sys.argv[1]).touch()\n'
        'while not (root / sys.argv[2]).exists(): time.sleep(0.05)\n'
    )
    good = Step('good', '', ['-c', wait, 'a', 'b'])
    bad = Step('bad', '', ['-c', wait + 'sys.exit("no")', 'b', 'a'])
    with pytest.raises(ValueError, match=r'bad .*no; see .*bad\.log'):
        take_all([[good, bad]], tmp_path)
    assert (tmp_path / 'good.done').exists()
    assert not (tmp_path / 'bad.done').exists()
    mended = bad._replace(command=['-c', wait, 'b', 'a'])
    last = writes('last', tmp_path)
    for _ in range(2):
        take_all([[good, mended], last], tmp_path)
    assert (tmp_path / 'out').read_text() == 'last'
    assert capsys.readouterr().out.count('done before') == 2


@pytest.mark.skipif(sys.platform != 'linux', reason='asks the Linux kernel')
def test_steps_end_with_a_program_that_is_killed(tmp_path):
    child = 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'
    parent = (
        'import pathlib\n'
        'from mmrca.steps import Step, take_all\n'
        f'pair = [Step(n, "", ["-c", {child!r}]) for n in ("try", "other")]\n'
        f'take_all([pair], pathlib.Path({str(tmp_path)!r}))\n'
    )
    log = tmp_path / 'try.log'
    process = subprocess.Popen([sys.executable, '-c', parent])
    last = ''
    while not last.isdigit():  # the command comes first
        assert process.poll() is None
        time.sleep(0.1)
        text = log.read_text() if log.exists() else ''
        last = text.rstrip().rpartition('\n')[2]
    process.kill()
    process.wait()
    pid = int(last)
    deadline = time.monotonic() + 20
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_running(pid)


def is_running(pid: int) -> bool:
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2]
    except FileNotFoundError:
        return False
    return state.split()[0] != 'Z'
