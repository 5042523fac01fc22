"""Tools answer before they import what takes seconds."""

import json
import os
import subprocess
import sys

import pytest

from mmrca.cli import run

SLOW = {'torch', 'mmcv', 'mmseg', 'matplotlib', 'numba', 'sklearn'}
TOOLS = (
    *('train', 'test', 'make_pseudo_labels', 'eval_pseudo_labels'),
    *('demo', 'make_toy_data', 'export_labels', 'report', 'run'),
    *('dataset_converters/coco', 'dataset_converters/cvat'),
    *('dataset_converters/folders', 'dataset_converters/label_studio'),
    *('dataset_converters/masks', 'dataset_converters/table'),
    *('dataset_converters/voc', 'fill_prototypes'),
)
# A new interpreter takes most of the time, so one runs all the commands.
RUN_ALL = """
import contextlib, io, json, runpy, sys
answers = []
for tool, *arguments in json.load(sys.stdin):
    sys.argv = [tool, *arguments]
    sys.path[0] = tool.rpartition('/')[0]
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            status = runpy.run_path(tool, run_name='__main__') and 0
        except SystemExit as end:
            status = end.code
    answers.append([status, out.getvalue(), list(sys.modules)])
json.dump(answers, sys.stdout)
"""


def answers(repo, commands):
    """Run tools; return status, output and the modules there are then."""
    done = subprocess.run(
        [sys.executable, '-c', RUN_ALL],
        cwd=repo,
        input=json.dumps([[f'tools/{t}.py', *args] for t, *args in commands]),
        env={**os.environ, 'PYTHONPATH': str(repo)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_help_imports_nothing_slow(repo):
    found = answers(repo, [(tool, '--help') for tool in TOOLS])
    for tool, (status, out, modules) in zip(TOOLS, found, strict=True):
        assert status == 0, tool
        assert out.startswith('usage: '), tool
        assert not SLOW & set(modules), tool


def test_every_tool_is_listed_here(repo):
    folder = repo / 'tools'
    programs = {
        path.relative_to(folder).with_suffix('').as_posix()
        for path in folder.rglob('*.py')
        if "if __name__ == '__main__'" in path.read_text()
    }
    assert programs == set(TOOLS)


CONFIG = 'configs/rca/cam_r18_toy.py'


REFUSED = {
    ('train',): 'config',
    ('train', 'nowhere.py'): 'nowhere.py',
    ('train', CONFIG, '--cfg-options', 'modle.x=1'): 'modle',
    ('train', CONFIG, '--cfg-options', 'modle'): 'modle',
    ('train', CONFIG, '--resume', 'gone.pth'): 'gone.pth',
    ('test', CONFIG, 'gone.pth'): 'gone.pth',
    ('make_pseudo_labels', CONFIG, 'gone.pth', '--out-dir', 'x'): 'gone.pth',
    (
        *('make_pseudo_labels', CONFIG, CONFIG, '--out-dir', 'x'),
        *('--photos', 'gone'),
    ): 'gone',
    ('fill_prototypes', CONFIG, 'gone.pth', 'x.pth'): 'gone.pth',
    ('eval_pseudo_labels', 'a', 'b', '--split', 'gone'): 'gone',
    ('run', CONFIG, '--segmenter', 'gone.py'): 'gone.py',
    ('export_labels', 'gone', '--format', 'coco'): 'gone',
    ('dataset_converters/voc', 'a', 'gone', 'x.csv'): 'gone',
}


def test_what_the_file_system_tells_is_refused_before_slow_imports(repo):
    found = answers(repo, REFUSED)
    for command, (status, out, modules) in zip(REFUSED, found, strict=True):
        assert status == 2, command
        assert REFUSED[command] in out.splitlines()[-1]
        assert not SLOW & set(modules), command


WAIT = ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'KMP_BLOCKTIME')


@pytest.mark.parametrize('own', [None, *WAIT])
def test_threads_do_not_spin_unless_the_user_says_so(monkeypatch, own):
    for name in WAIT:
        monkeypatch.delenv(name, raising=False)
    if own:
        monkeypatch.setenv(own, '7')
    command = 'import os; print(os.environ.get("OMP_WAIT_POLICY"))'
    child = [sys.executable, '-S', '-c', command]
    said = []
    run(lambda: said.append(subprocess.check_output(child, text=True)))
    expected = {None: 'PASSIVE', 'OMP_WAIT_POLICY': '7'}.get(own, 'None')
    assert said == [expected + '\n']
