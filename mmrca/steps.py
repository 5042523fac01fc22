"""Several commands in a row: what is done is skipped, what was cut goes on."""

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from mmengine.config import Config
from rich.console import Console
from rich.progress import Progress

from mmrca.atomic_write import read_json, write_json
from mmrca.cli import load_config, parse_options
from mmrca.folder_lock import sole_user
from mmrca.launch import count_cores, die_with_parent
from mmrca.progress import NOTE

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
        labels: Folder of labels that it learns from. People correct them:
            after that the step is taken again, and those after it.
    """

    name: str
    says: str
    command: Sequence[str | Path]
    variables: Mapping[str, str] = {}
    made_with: str = ''
    work_dir: Path | None = None
    epochs: int = 1
    labels: Path | None = None

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
    loaded = load_config(config, parse_options(options))
    if 'pseudo_label' not in loaded:
        raise ValueError(
            f'{config} has no pseudo_label, so it is not the config of a '
            'classifier; a segmenter is named by --segmenter'
        )
    made_with = config_digest(loaded) + _list_digest(loaded)
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


def take_all(
    steps: Sequence[Step | list[Step]], root: Path, quiet: bool = False
) -> None:
    """Take steps in their order, each unless it is done.

    A step is done when ``NAME.done`` says so, with the same command, the same
    ``made_with`` and the same steps before it. The command of a step that was
    cut is given again: the tools go on by themselves. Where nothing but the
    ``labels`` changed, the step starts anew; what it left is kept beside.

    Args:
        steps: The steps. Those of a list inside need none of one another and
            run side by side, with their output in ``NAME.log``.
        root: Folder of their marks.
        quiet: Show a progress bar and the tools' notes, and keep the output
            in ``NAME.log``, in place of commands and output.

    Raises:
        ValueError: A step fails, is stopped or was done otherwise, or another
            run uses the folder.
    """
    stages = [[s] if isinstance(s, Step) else s for s in steps]
    with sole_user(root):
        _take_all(stages, root, quiet)


def _take_all(
    stages: Sequence[Sequence[Step]], root: Path, quiet: bool
) -> None:
    before = ''
    for number, stage in enumerate(stages, 1):
        marks = [_Mark(step, root, before) for step in stage]
        for mark in marks:
            if mark.changes() == ['labels']:
                later = [step for others in stages[number:] for step in others]
                _start_anew(mark, [_Mark(step, root) for step in later])
        todo = [mark for mark in marks if not mark.is_done()]
        says = ', '.join(step.says for step in stage)
        head = f'[{number}/{len(stages)}] {says}'
        if not todo:
            print(f'{head}: done before', flush=True)
        elif len(stage) > 1:
            print(head, flush=True)
            _run_side_by_side(todo)
        else:
            _run(todo[0], head, quiet)
        before = digest(''.join(mark.state() for mark in marks))


class _Mark:
    """The file that says that a step is done, and with what.

    Args:
        step: The step.
        root: Folder of the marks.
        before: State of the steps before it.
    """

    def __init__(self, step: Step, root: Path, before: str = '') -> None:
        self.step = step
        self.path = root / f'{step.name}.done'
        self.log = root / f'{step.name}.log'
        self.wanted = {
            'command': str(step),
            'made_with': step.made_with,
            'after': before,
        }
        if step.labels:
            self.wanted['labels'] = folder_digest(step.labels)

    def read(self) -> dict[str, str]:
        """Return what the step was done with."""
        return read_json(self.path)

    def write(self) -> None:
        """Say that the step is done."""
        if self.step.work_dir:
            link_checkpoint(self.step.work_dir)
        write_json(self.path, self.wanted)

    def state(self) -> str:
        """Return a text that changes when the step is taken again."""
        return f'{self.path.read_text()}{self.path.stat().st_mtime_ns}'

    def changes(self) -> list[str]:
        """Name what differs from when the step was done; [] if it was not."""
        found = self.read() if self.path.exists() else self.wanted
        return [k for k in self.wanted if found.get(k) != self.wanted[k]]

    def is_done(self) -> bool:
        """Tell whether the step need not be taken.

        Raises:
            ValueError: It was done otherwise.
        """
        changes = self.changes()
        if not changes:
            return self.path.exists()
        earlier = self.read().get('command', '')
        why = {
            'command': f'with {_differences(earlier, str(self.step))}',
            'made_with': 'with other settings or data',
            'after': 'before an earlier step was done again',
        }[changes[0]]
        made = self.step.work_dir or 'what the step made'
        raise ValueError(
            f'step {self.step.name} was done {why}; give another folder in '
            f'place of {self.path.parent}, or delete {self.path} and {made}'
        )


def digest(text: str) -> str:
    """Shorten a text to 16 characters that change with it."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def config_digest(config: Config) -> str:
    """Shorten a config, as it was read, to 16 characters."""
    content = config.to_dict()
    return digest(json.dumps(content, sort_keys=True, default=str))


def _list_digest(config: Config) -> str:
    """Shorten the label list of the training images, if it is a file."""
    dataset = config.get('train_dataloader', {}).get('dataset', {})
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    path = Path(dataset.get('data_root') or '', dataset.get('ann_file') or '')
    return digest(path.read_bytes().hex()) if path.is_file() else ''


def link_checkpoint(work_dir: Path) -> Path:
    """Give the last checkpoint a name that does not hold the schedule."""
    link = work_dir / 'last.pth'
    last = Path((work_dir / 'last_checkpoint').read_text().strip())
    link.unlink(missing_ok=True)
    link.symlink_to(last.name)
    return link


def folder_digest(folder: Path) -> str:
    """Shorten the PNGs of a folder to 16 characters that change with them."""
    content = hashlib.sha256()
    for path in sorted(folder.rglob('*.png')):
        pixels = hashlib.sha256(path.read_bytes()).hexdigest()
        content.update(f'{path.relative_to(folder)} {pixels}\n'.encode())
    return content.hexdigest()[:16]


def _start_anew(mark: _Mark, later: Sequence[_Mark]) -> None:
    """Keep what a step left, and forget that it and others were done."""
    step, kept = mark.step, ''
    if step.work_dir and step.work_dir.exists():
        number = 1
        while (aside := Path(f'{step.work_dir}_{number}')).exists():
            number += 1
        step.work_dir.rename(aside)
        kept = f'; what it left is now in {aside}'
    # The first mark last: killed before, this is done again.
    for other in reversed([mark, *later]):
        other.path.unlink(missing_ok=True)
    print(
        f'{step.labels} has changed since step {step.name} was done, so it '
        f'is done again{kept}',
        flush=True,
    )


def _differences(before: str, now: str) -> str:
    """Say in which words two commands differ."""
    old, new = shlex.split(before), shlex.split(now)
    gone = [word for word in old if word not in new]
    come = [word for word in new if word not in old]
    if not gone + come:
        return 'the same words in another order'
    return f'{shlex.join(gone) or "nothing"} where there is now ' + (
        shlex.join(come) or 'nothing'
    )


def _start(
    step: Step, output: int | IO | None, threads: str | None = None
) -> subprocess.Popen:
    environment = {**os.environ, **step.variables}
    if threads:
        environment.setdefault('OMP_NUM_THREADS', threads)
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


def _run(mark: _Mark, head: str, quiet: bool) -> None:
    if quiet:
        last, status = _run_quietly(mark, head)
    else:
        print(f'{head}\n{mark.step}', flush=True)
        last, status = '', _start(mark.step, None).wait()
    _finish(mark, last, status)


def _run_side_by_side(marks: Sequence[_Mark]) -> None:
    """Run steps that share the cores; a failure spoils no other."""
    start = time.monotonic()
    threads = str(max(1, count_cores() // len(marks)))
    running = []
    for mark in marks:
        with mark.log.open('a') as file:
            print(mark.step, file=file, flush=True)
            running.append(_start(mark.step, file, threads))
    failed = []
    for mark, process in zip(marks, running, strict=True):
        status = process.wait()
        lines = mark.log.read_text(errors='replace').strip().splitlines()
        try:
            _finish(mark, lines[-1], status)
        except ValueError as error:
            failed.append(error)
    if failed:
        raise failed[0]
    print(f'{(time.monotonic() - start) / 60:.1f} minutes', flush=True)


def _finish(mark: _Mark, last: str, status: int) -> None:
    """Write the mark, or say why there is none.

    Args:
        mark: Of the step.
        last: Line of its log, '' if it was on the screen.
        status: Of its process.
    """
    if status:
        said = last.removeprefix('error: ')
        said = f': {said}; see {mark.log}' if said else ''
        raise ValueError(
            f'step {mark.step.name} ended with status {status}{said}; when '
            'that is mended, the same call goes on'
        )
    folder = mark.step.work_dir
    if folder and (folder / INTERRUPTED).exists():
        raise ValueError(
            f'step {mark.step.name} was stopped by SIGTERM; the same call '
            'goes on'
        )
    mark.write()


def _run_quietly(mark: _Mark, head: str) -> tuple[str, int]:
    """Return the last line of the output, and the status."""
    last = ''
    with mark.log.open('a') as file, _bar(head) as show:
        print(mark.step, file=file, flush=True)
        running = _start(mark.step, subprocess.PIPE)
        assert running.stdout is not None
        try:
            for line in running.stdout:
                file.write(line)
                file.flush()
                last = line.strip() or last
                show.line(line, mark.step.epochs)
            return last, running.wait()
        finally:
            if running.poll() is None:  # interrupted
                running.terminate()
                running.wait()


class _Shown:
    """A bar on a terminal or in a notebook, lines elsewhere."""

    def __init__(self, bar: Progress | None, head: str) -> None:
        self.bar, self.head = bar, head
        self.task = bar.add_task(head, total=None) if bar else None

    def line(self, line: str, epochs: int) -> None:
        """Show a tool's note, or how far it is."""
        if line.startswith(NOTE):
            print(line.rstrip(), flush=True)
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
