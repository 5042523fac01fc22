import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mmengine.config import Config

TOOL = Path(__file__).parents[2] / 'tools' / 'demo.py'


@pytest.fixture(scope='module')
def demo():
    spec = importlib.util.spec_from_file_location('demo', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def step(demo, code: str, labels: Path | None = None):
    return demo.Step('try', 'try it', ['-c', code], labels)


def test_a_step_is_taken_once(demo, tmp_path, capsys):
    code = f'open({str(tmp_path / "out")!r}, "a").write("x")'
    for _ in range(2):
        demo.take([step(demo, code)], tmp_path)
    assert (tmp_path / 'out').read_text() == 'x'
    assert 'already done' in capsys.readouterr().out


def test_a_failed_step_names_its_log_and_is_taken_again(demo, tmp_path):
    code = 'import sys; sys.exit("error: no such thing")'
    with pytest.raises(ValueError, match=r'no such thing; see .*try\.log'):
        demo.take([step(demo, code)], tmp_path)
    demo.take([step(demo, 'pass')], tmp_path)
    assert (tmp_path / 'try.done').exists()


def test_steps_run_side_by_side_and_a_failure_spoils_no_other(demo, tmp_path):
    # Each waits for the other's file.
    wait = (
        'import pathlib, sys, time\n'
        f'root = pathlib.Path({str(tmp_path)!r})\n'
        '(root / sys.argv[1]).touch()\n'
        'while not (root / sys.argv[2]).exists(): time.sleep(0.05)\n'
    )
    good = demo.Step('good', '', ['-c', wait, 'a', 'b'])
    bad = demo.Step('bad', '', ['-c', wait + 'sys.exit("no")', 'b', 'a'])
    with pytest.raises(ValueError, match=r'bad .*no; see .*bad\.log'):
        demo.take([good, bad], tmp_path)
    assert (tmp_path / 'good.done').exists()
    assert not (tmp_path / 'bad.done').exists()


def test_a_step_finds_the_data_and_its_labels(demo, tmp_path):
    code = 'import os; print(os.environ["TOY_DATA"], os.environ["LABEL_DIR"])'
    demo.take([step(demo, code, tmp_path / 'masks')], tmp_path)
    printed = (tmp_path / 'try.log').read_text().split()
    assert printed == [str(tmp_path / 'data'), str(tmp_path / 'masks')]


def test_every_command_of_the_road_is_a_tool_with_its_inputs(demo, tmp_path):
    steps = [s for stage in demo.stages(tmp_path) for s in stage.steps]
    assert len({s.name for s in steps}) == len(steps)
    for taken in steps:
        tool, *arguments = taken.command
        assert Path(tool).is_file()
        configs = [a for a in arguments if str(a).endswith('.py')]
        assert all(Path(config).is_file() for config in configs)


def test_the_last_validation_counts(demo, tmp_path):
    for stamp, lines in (
        ('20260101_000001', ['{"loss": 1.0}', '{"mIoU": 40.0, "step": 1}']),
        ('20260101_000002', ['{"mIoU": 50.5, "step": 2}', '{"loss": 0.1}']),
    ):
        folder = tmp_path / stamp / 'vis_data'
        folder.mkdir(parents=True)
        (folder / 'scalars.json').write_text('\n'.join(lines) + '\n')
    assert demo._validated(tmp_path) == 50.5


def test_the_demo_validates_when_its_trainings_end(demo, tmp_path):
    for taken in (s for g in demo.stages(tmp_path) for s in g.steps):
        if Path(taken.command[0]).name != 'train.py':
            continue
        cfg = Config.fromfile(taken.command[1]).train_cfg
        length = cfg.get('max_epochs') or cfg.max_iters
        assert taken.command[-1] == f'train_cfg.val_interval={length}'


def test_the_table_shows_every_metric(demo):
    keys = [
        'plain_cam',
        'rca_cam',
        'pseudo_label_strict',
        'pseudo_label_labelled',
        'coverage',
        'deeplab',
        'deeplab_full',
    ]
    summary = {key: 10.0 + number for number, key in enumerate(keys)}
    text = demo.table(summary)
    assert all(f'{value:.1f}' in text for value in summary.values())


@pytest.mark.skipif(sys.platform != 'linux', reason='asks the Linux kernel')
def test_a_step_ends_with_a_demo_that_is_killed(tmp_path):
    child = 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'
    parent = (
        'import importlib.util as u, pathlib, sys\n'
        f'sys.path.insert(0, {str(TOOL.parent)!r})\n'
        f's = u.spec_from_file_location("demo", {str(TOOL)!r})\n'
        'd = u.module_from_spec(s); s.loader.exec_module(d)\n'
        f'step = d.Step("try", "", ["-c", {child!r}])\n'
        f'd.take([step], pathlib.Path({str(tmp_path)!r}))\n'
    )
    log = tmp_path / 'try.log'
    process = subprocess.Popen([sys.executable, '-c', parent])
    while not (log.exists() and log.read_text().strip()):
        assert process.poll() is None
        time.sleep(0.1)
    process.kill()
    process.wait()
    pid = int(log.read_text())
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
