"""Break runs at random moments, and see that the same command goes on.

    python -m tests.faults.inject --count 500 --out work_dirs/faults

Tools run in forks of this process, which has imported what they import: a
run takes about a second in place of ten. Each injection breaks a run once;
then the same command is given until it ends, and what it leaves is compared,
byte for byte, with what an unbroken run left. ``summary.json`` counts by kind;
the same call goes on where it was.
"""

import argparse
import contextlib
import json
import os
import random
import resource
import runpy
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from mmrca.atomic_write import read_json, write_json
from tests.faults.place import REPO, WORKS, Work

_LIMIT = 300.0  # seconds that a run may take
_TRIES = 4  # of the same command after a fault


def start(
    command: list[str], log: Path, before: Callable | None = None
) -> int:
    """Start a tool in a fork that is a process group of its own.

    Args:
        command: The tool, relative to the repository, and its arguments.
        log: Gets its output.
        before: Called in the fork.

    Returns:
        The process's number.
    """
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setsid()
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        if before is not None:
            before()
        tool = str(REPO / command[0])
        sys.argv = [tool, *command[1:]]
        sys.path.insert(0, str(Path(tool).parent))
        runpy.run_path(tool, run_name='__main__')
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        _end_workers()
        os._exit(status)


def _end_workers() -> None:
    import multiprocessing

    for child in multiprocessing.active_children():
        child.terminate()


def wait(pid: int, limit: float = _LIMIT) -> int | None:
    """Wait for a process; None if it has not ended in time."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    return None


def group(pid: int) -> list[int]:
    """List the processes of a group that still run."""
    found = []
    for path in Path('/proc').glob('[0-9]*'):
        with contextlib.suppress(OSError, ProcessLookupError):
            number = int(path.name)
            zombie = ') Z' in (path / 'stat').read_text()
            if os.getpgid(number) == pid and not zombie:
                found.append(number)
    return found


# ---------------------------------------------------------------------- kinds
# A kind breaks a run of ``work``, which unbroken takes ``length`` seconds.


class Case:
    """One injection.

    Attributes:
        work: What is broken.
        log: Of its runs.
        rng: Says when.
        length: Seconds of an unbroken run.
    """

    def __init__(
        self, work: Work, log: Path, rng: random.Random, length: float
    ) -> None:
        self.work, self.log, self.rng, self.length = work, log, rng, length

    def start(self, before: Callable | None = None) -> int:
        """Start the command."""
        return start(self.work.command(), self.log, before)

    def some_time(self) -> None:
        """Wait for a random part of a run."""
        time.sleep(self.rng.uniform(0, self.length))


def kill(case: Case) -> None:
    """Kill -9 at any moment."""
    pid = case.start()
    case.some_time()
    os.kill(pid, signal.SIGKILL)
    wait(pid)


def kill_at_a_file(case: Case) -> None:
    """Kill -9 while a file is written: when a ``.part`` is seen."""
    pid = case.start()
    turn = case.rng.randrange(4)
    seen: set[str] = set()
    end = time.monotonic() + 3 * case.length
    while (
        time.monotonic() < end
        and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        is None
    ):
        seen |= {p.name for p in case.work.root.rglob('.*.part')}
        if len(seen) > turn:
            break
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    wait(pid)


def terminate(case: Case) -> None:
    """SIGTERM to the whole group, as Slurm does; a training ends with 0."""
    pid = case.start()
    case.some_time()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGTERM)
    status = wait(pid, 60)
    if status is None:
        os.killpg(pid, signal.SIGKILL)
        wait(pid)
        raise AssertionError('it did not end within 60 s of SIGTERM')
    if status not in (0, -signal.SIGTERM):
        raise AssertionError(f'SIGTERM ended it with {status}')


def full_disk(case: Case) -> None:
    """No file may grow beyond a size."""
    size = case.rng.choice([500, 4_000, 30_000, 200_000])

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    expect_sentence(case, case.start(limit))


def file_in_place_of_the_folder(case: Case) -> None:
    """The output folder cannot be made."""
    out = case.work.out()
    out.write_text('')
    expect_sentence(case, case.start())
    out.unlink()


def vanished_file(case: Case) -> None:
    """A data file goes while a run needs it, and comes back."""
    file = case.work.data()
    pid = case.start()
    case.some_time()
    away = file.with_suffix('.away')
    file.rename(away)
    status = wait(pid)
    away.rename(file)
    assert status is not None, 'it hangs'
    assert status in (0, 1, 2), f'it ended with {status}'
    refuse_traceback(case, status)


def dead_worker(case: Case) -> None:
    """A loader's worker is killed."""
    pid = case.start()
    case.some_time()
    workers = [one for one in group(pid) if one != pid]
    if workers:
        os.kill(case.rng.choice(workers), signal.SIGKILL)
    status = wait(pid)
    assert status is not None, 'it hangs'
    refuse_traceback(case, status)


def two_runs(case: Case) -> None:
    """A second run in the same folder is refused or waits."""
    one, other = case.start(), case.start()
    statuses = [wait(one), wait(other)]
    assert None not in statuses, 'one hangs'
    assert 0 in statuses, f'both failed: {statuses}'
    refuse_traceback(case, max(statuses))


def expect_sentence(case: Case, pid: int) -> None:
    status = wait(pid)
    assert status in (0, 1, 2), f'it ended with {status}'
    refuse_traceback(case, status)


def refuse_traceback(case: Case, status: int) -> None:
    text = case.log.read_text(errors='replace')
    assert not status or 'Traceback' not in text, 'a traceback'


ALL = (kill, kill_at_a_file, terminate, full_disk)
KINDS = {
    **{f'{w}: {k.__name__}': (w, k) for w in WORKS for k in ALL},
    **{
        f'{w}: {k.__name__}': (w, k)
        for w in ('training', 'labels')
        for k in (file_in_place_of_the_folder, vanished_file, two_runs)
    },
    'training with loaders: dead_worker': (
        'training with loaders',
        dead_worker,
    ),
}


# --------------------------------------------------------------------- driver


class Bench:
    """The works, what unbroken runs left, and the count of injections."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.works: dict[str, tuple[Work, dict, float]] = {}

    def work(self, name: str) -> tuple[Work, dict, float]:
        """Prepare a work and run it unbroken, once."""
        if name not in self.works:
            root = (self.out / name.replace(' ', '_')).absolute()
            shutil.rmtree(root, ignore_errors=True)
            root.mkdir(parents=True)
            work = WORKS[name](root)
            work.prepare()
            if name == 'report':
                finish(work.labels, root / 'labels.log')
            began = time.monotonic()
            finish(work, root / 'unbroken.log')
            length = time.monotonic() - began
            self.works[name] = work, work.result(), length
        return self.works[name]

    def inject(self, kind: str, seed: int) -> str:
        """Inject one fault; return '' or what is wrong."""
        name, fault = KINDS[kind]
        work, expected, length = self.work(name)
        work.reset()
        log = work.root / 'run.log'
        log.unlink(missing_ok=True)
        try:
            fault(Case(work, log, random.Random(seed), length))
            finish(work, log)
        except AssertionError as error:
            return f'{kind}, seed {seed}: {error}'
        if work.result() != expected:
            return f'{kind}, seed {seed}: another result'
        if work.strays():
            return f'{kind}, seed {seed}: leaves {work.strays()}'
        return ''


def finish(work: Work, log: Path) -> None:
    """Give the command until it ends well."""
    for _ in range(_TRIES):
        pid = start(work.command(), log)
        status = wait(pid)
        if status == 0:
            return
    text = log.read_text(errors='replace')[-2000:]
    raise AssertionError(f'it does not go on: {status}\n{text}')


def rank_killed(out: Path, seed: int) -> str:
    """Kill one of two processes under torchrun; the others end in time."""
    from tests.faults.place import Training

    root = (out / 'torchrun').absolute()
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    work = Training(root)
    work.prepare()
    command = [
        *(sys.executable, '-m', 'torch.distributed.run', '--standalone'),
        *('--nproc-per-node', '2', str(REPO / work.command()[0])),
        *(*work.command()[1:], '--launcher', 'pytorch'),
    ]
    env = os.environ | dict(OMP_NUM_THREADS='1', PYTHONPATH=str(REPO))

    def run() -> subprocess.Popen:
        log = (root / 'run.log').open('a')
        return subprocess.Popen(
            command, env=env, stdout=log, stderr=log, cwd=REPO
        )

    assert run().wait(_LIMIT * 2) == 0, 'it fails unbroken'
    expected = work.result()
    work.reset()
    running = run()
    end = time.monotonic() + _LIMIT
    while not list(work.out().glob('*.pth')) and time.monotonic() < end:
        time.sleep(0.05)
    children = subprocess.run(
        ['ps', '--ppid', str(running.pid), '-o', 'pid='],
        capture_output=True, text=True, check=False,
    ).stdout.split()  # fmt: skip
    victim = int(random.Random(seed).choice(children))
    os.kill(victim, signal.SIGKILL)
    began = time.monotonic()
    status = running.wait(60)
    took = time.monotonic() - began
    if not status:
        return f'torchrun ended with {status}'
    left = [pid for pid in map(int, children) if Path(f'/proc/{pid}').exists()]
    if left:
        return f'processes {left} live on'
    if run().wait(_LIMIT * 2) or work.result() != expected:
        return 'it does not go on, or to another result'
    print(f'torchrun: the other process ended after {took:.1f} s', flush=True)
    return ''


def import_all() -> None:
    """Import what the tools import, so that forks need not."""
    import mmpretrain  # noqa: F401
    import torch

    import mmrca.engine.hooks
    import mmrca.engine.runner
    import mmrca.evaluation
    import mmrca.models
    import mmrca.pseudo_labels.maker  # noqa: F401

    torch.set_num_threads(1)


def main() -> None:
    """Inject faults until there were enough of them."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--count', type=int, default=500)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/faults'))
    parser.add_argument('--minutes', type=float, default=1e9)
    parser.add_argument(
        '--kinds',
        nargs='+',
        default=list(KINDS),
        help='those to inject in turn; torchrun only after all',
    )
    args = parser.parse_args()
    import_all()
    summary_file = args.out / 'summary.json'
    args.out.mkdir(parents=True, exist_ok=True)
    summary = read_json(summary_file) if summary_file.exists() else {}
    kinds = summary.setdefault('kinds', {})
    failures = summary.setdefault('failures', [])
    bench = Bench(args.out)
    end = time.monotonic() + 60 * args.minutes
    done = sum(one['injected'] for one in kinds.values())
    while done < args.count and time.monotonic() < end:
        kind = args.kinds[done % len(args.kinds)]
        wrong = bench.inject(kind, done)
        count = kinds.setdefault(kind, dict(injected=0, recovered=0, lost=0))
        count['injected'] += 1
        count['lost' if wrong else 'recovered'] += 1
        failures += [wrong] if wrong else []
        done += 1
        summary['total'] = {
            key: sum(one[key] for one in kinds.values())
            for key in ('injected', 'recovered', 'lost')
        }
        write_json(summary_file, summary)
        said = wrong.splitlines()[0] if wrong else 'recovered'
        print(f'{done}/{args.count} {kind}: {said}', flush=True)
    wrong = ''
    if args.kinds == list(KINDS):
        wrong = rank_killed(args.out, 0)
        summary['torchrun'] = wrong or 'recovered'
        write_json(summary_file, summary)
    print(json.dumps(summary.get('total')), flush=True)
    sys.exit(bool(failures or wrong))


if __name__ == '__main__':
    main()
