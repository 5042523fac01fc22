"""One run in a folder at a time, and what killed runs have left there."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# A run that was told to stop may still be saving what it has.
PATIENCE = 10.0  # seconds

_held: set[int] = set()


@contextmanager
def sole_user(folder: str | Path) -> Iterator[None]:
    """Keep other runs out of a folder, which is made if it is not there.

    The kernel lets go of it when the process ends, however it ends. Where
    the file system has no locks, nothing is kept out.

    Args:
        folder: The folder.

    Raises:
        ValueError: It is a file, or another run uses it, after some
            patience.
    """
    if Path(folder).exists() and not Path(folder).is_dir():
        raise ValueError(f'{folder} is not a folder; give another')
    Path(folder).mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    _held.add(handle)
    try:
        _lock(handle, folder)
        yield
    finally:
        _held.discard(handle)
        os.close(handle)
        with suppress(OSError):
            os.rmdir(folder)  # if nothing came of it


def _lock(handle: int, folder: str | Path) -> None:
    end = time.monotonic() + PATIENCE
    while fcntl is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise ValueError(
                    f'another run uses the folder {folder}: wait until it '
                    'ends, stop it, or give another folder'
                ) from None
            time.sleep(0.1)
        except OSError:  # a network disk without locks
            return


def _let_go() -> None:
    """Close the locks in a forked child, which may outlive its parent."""
    for handle in _held:
        os.close(handle)
    _held.clear()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_let_go)


def remove_parts(folder: Path, pattern: str = '.*.part') -> None:
    """Delete what :func:`mmrca.atomic_write.atomic_write` left when killed.

    Args:
        folder: The folder; it need not be there.
        pattern: Of the files, as :meth:`pathlib.Path.glob` takes it.
    """
    for part in folder.glob(pattern):
        pid = part.name.split('.')[-2]
        if not (pid.isdigit() and _is_alive(int(pid))):
            part.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    if pid == os.getpid():
        return False  # of an earlier process of this number
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True
