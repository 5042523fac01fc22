"""Several commands in a row: what is done is skipped, what was cut goes on."""

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from rich.console import Console
from rich.progress import Progress

from mmrca.atomic_write import read_json, write_json
from mmrca.cli import load_config
from mmrca.folder_lock import sole_user
from mmrca.launch import die_with_parent

_PACKAGE = Path(__file__).parent
# A training that SIGTERM stopped has it, one that ended has not.
INTERRUPTED = 'interrupted.pth'
_CHECKOUT = (_PACKAGE.parent / 'tools' / 'train.py').is_file()
_HOME = _PACKAGE.parent if _CHECKOUT else _PACKAGE / '.mim'
TOOLS, CONFIGS = _HOME / 'tools', _HOME / 'configs'
# How far a tool is, in its own words or mmengine's.
_EPOCH = re.compile(r'Epoch\(train\)\s+\[(\d+)\]\[\s*(\d+)/(\d+)\]')
_ITER = re.compile(r'Iter\(train\)\s+\[\s*(\d+)/(\d+)\]')
_ITEM = re.compile(r'^(\D+) (\d+)/(\d+), \d+ s left')


class Step(NamedTuple):
    """One command.

    Attributes:
        name: Of its mark and its log.
        says: What it does.
        command: A tool and its arguments.
        variables: What it finds in the environment.
        made_with: What its result depends on beside these: the content of
            files that may change.
        work_dir: Where a training leaves ``last_checkpoint``;
            ``last.pth`` beside it then stands for that file.
        epochs: Of a training by epochs, for its progress.
    """

    name: str
    says: str
    command: Sequence[str | Path]
    variables: Mapping[str, str] = {}
    made_with: str = ''
    work_dir: Path | None = None
    epochs: int = 1

    def __str__(self) -> str:
        """Write the command as a user would type it."""
        words = [f'{k}={shlex.quote(v)}' for k, v in self.variables.items()]
        words += ['python', *(shlex.quote(str(w)) for w in self.command)]
        return ' '.join(words)


def classifier_steps(
    config: str,
    root: Path,
    options: Sequence[str] = (),
    variables: Mapping[str, str] = {},
) -> list[Step]:
    """List the steps from image-level labels to label maps.

    Args:
        config: Of the classifier. It is read here, with the variables that
            this process has.
        root: Folder of everything.
        options: Keys of the config to change, as ``'KEY=VALUE'``.
        variables: That the config reads.

    Raises:
        ValueError: It is not the config of a classifier.
    """
    loaded = load_config(config)
    if 'pseudo_label' not in loaded:
        raise ValueError(
            f'{config} has no pseudo_label, so it is not the config of a '
            'classifier; a segmenter is named by --segmenter'
        )
    made_with = config_digest(loaded)
    folder = root / 'classifier'
    more = ['--cfg-options', *options] if options else []
    train: list[str | Path] = [TOOLS / 'train.py', config]
    train += ['--work-dir', folder, '--resume']
    make: list[str | Path]
    make = [TOOLS / 'make_pseudo_labels.py', config, folder / 'last.pth']
    make += ['--out-dir', root / 'labels']
    return [
        Step(
            'classifier',
            'train the classifier',
            [*train, *more],
            variables,
            made_with,
            folder,
            loaded.get('train_cfg', {}).get('max_epochs', 1),
        ),
        Step('labels', 'make labels', [*make, *more], variables, made_with),
    ]


def take_all(steps: Sequence[Step], root: Path, quiet: bool = False) -> None:
    """Take steps in their order, each unless it is done.

    A step is done when ``NAME.done`` says so, with the same command, the same
    ``made_with`` and the same steps before it. The command of a step that was
    cut is given again: the tools go on by themselves.

    Args:
        steps: The steps.
        root: Folder of their marks.
        quiet: Show a progress bar, and keep the output in ``NAME.log``, in
            place of commands and output.

    Raises:
        ValueError: A step fails, is stopped or was done otherwise, or another
            run uses the folder.
    """
    with sole_user(root):
        _take_all(steps, root, quiet)


def _take_all(steps: Sequence[Step], root: Path, quiet: bool) -> None:
    before = ''
    for number, step in enumerate(steps, 1):
        mark = root / f'{step.name}.done'
        wanted = {
            'command': str(step),
            'made_with': step.made_with,
            'after': before,
        }
        head = f'[{number}/{len(steps)}] {step.says}'
        if _is_done(mark, wanted, step):
            print(f'{head}: done before', flush=True)
        elif quiet:
            _run_quietly(step, root / f'{step.name}.log', head)
        else:
            print(f'{head}\n{step}', flush=True)
            _finish(step, [], _start(step, None).wait())
        if not mark.exists():
            if step.work_dir:
                link_checkpoint(step.work_dir)
            write_json(mark, wanted)
        # Changes when the step is taken again.
        stamp = f'{mark.read_text()}{mark.stat().st_mtime_ns}'
        before = digest(stamp)


def digest(text: str) -> str:
    """Shorten a text to 16 characters that change with it."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def config_digest(config: Config) -> str:
    """Shorten a config, as it was read, to 16 characters."""
    content = config.to_dict()
    return digest(json.dumps(content, sort_keys=True, default=str))


def link_checkpoint(work_dir: Path) -> Path:
    """Give the last checkpoint a name that does not hold the schedule."""
    link = work_dir / 'last.pth'
    last = Path((work_dir / 'last_checkpoint').read_text().strip())
    link.unlink(missing_ok=True)
    link.symlink_to(last.name)
    return link


def _is_done(mark: Path, wanted: dict, step: Step) -> bool:
    if not mark.exists():
        return False
    found = read_json(mark)
    changed = [key for key in wanted if found.get(key) != wanted[key]]
    if not changed:
        return True
    why = {
        'command': f'by another command, {found.get("command")}',
        'made_with': 'with other settings or data',
        'after': 'before an earlier step was done again',
    }[changed[0]]
    raise ValueError(
        f'step {step.name} was done {why}; give another folder in place of '
        f'{mark.parent}, or delete {mark} and what the step made'
    )


def _start(step: Step, output: int | None) -> subprocess.Popen:
    environment = {**os.environ, **step.variables}
    if _CHECKOUT:  # not necessarily the one that is installed
        path = [str(_HOME), os.environ.get('PYTHONPATH', '')]
        environment['PYTHONPATH'] = os.pathsep.join(filter(None, path))
    return subprocess.Popen(
        [sys.executable, *map(str, step.command)],
        env=environment,
        stdout=output,
        stderr=None if output is None else subprocess.STDOUT,
        text=True,
        errors='replace',
        preexec_fn=die_with_parent if sys.platform == 'linux' else None,
    )


def _finish(step: Step, last: Sequence[str], status: int) -> None:
    if status:
        said = f': {last[-1].removeprefix("error: ")}' if last else ''
        raise ValueError(
            f'step {step.name} ended with status {status}{said}; when that is '
            'mended, the same call goes on'
        )
    if step.work_dir and (step.work_dir / INTERRUPTED).exists():
        raise ValueError(
            f'step {step.name} was stopped by SIGTERM; the same call goes on'
        )


def _run_quietly(step: Step, log: Path, head: str) -> None:
    last = ['']
    with log.open('a') as file, _bar(head) as show:
        print(step, file=file, flush=True)
        running = _start(step, subprocess.PIPE)
        assert running.stdout is not None
        try:
            for line in running.stdout:
                file.write(line)
                file.flush()
                if line.strip():
                    last = [line.strip()]
                show.line(line, step.epochs)
            status = running.wait()
        finally:
            if running.poll() is None:  # interrupted
                running.terminate()
                running.wait()
    _finish(step, [f'{last[0]}; see {log}'], status)


class _Shown:
    """A bar on a terminal or in a notebook, lines elsewhere."""

    def __init__(self, bar: Progress | None, head: str) -> None:
        self.bar, self.head = bar, head
        self.task = bar.add_task(head, total=None) if bar else None

    def line(self, line: str, epochs: int) -> None:
        """Look how far a tool is."""
        found = how_far(line, epochs)
        if not found:
            return
        what, done, total = found
        if self.bar is None or self.task is None:
            print(f'{self.head}: {what} {done}/{total}', flush=True)
        else:
            text = f'{self.head}: {what}'
            self.bar.update(
                self.task, description=text, completed=done, total=total
            )


def how_far(line: str, epochs: int) -> tuple[str, int, int] | None:
    """Read a line of progress.

    Args:
        line: Of a tool's output.
        epochs: Of a training by epochs.

    Returns:
        What is counted, how many are done, and of how many.
    """
    if found := _EPOCH.search(line):
        epoch, done, total = map(int, found.groups())
        return 'iterations', (epoch - 1) * total + done, epochs * total
    if found := _ITER.search(line):
        return 'iterations', int(found[1]), int(found[2])
    if found := _ITEM.search(line):
        return found[1], int(found[2]), int(found[3])
    return None


@contextmanager
def _bar(head: str) -> Iterator[_Shown]:
    console = Console()
    if not (console.is_terminal or console.is_jupyter):
        print(head, flush=True)
        yield _Shown(None, head)
        return
    with Progress(console=console) as bar:
        yield _Shown(bar, head)
