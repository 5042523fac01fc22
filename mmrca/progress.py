"""Progress: a bar on a terminal, a line now and then anywhere else."""

import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Item = TypeVar('Item')

# Begins a line that a program shows which gives a tool's command for others.
NOTE = 'note: '
_LINES = 10  # of a run, unless items come faster or slower than
_SECONDS = (1, 30)  # between two lines


def progress(
    items: Iterable[Item], what: str, total: int | None = None
) -> Iterator[Item]:
    """Go through items and show how far it is, and the time that is left.

    On a terminal this is a bar. Elsewhere (a file, a pipe) it is a line for
    every tenth of the items, but not more than one a second, nor less than
    one in 30 seconds in which an item is done; what has shown a line ends
    with one. No items show nothing.

    Args:
        items: What to go through.
        what: Name of the items, shown before the bar.
        total: Their number, if they cannot be counted beforehand.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    console = Console()
    if total == 0:
        yield from items
    elif console.is_terminal and not console.is_dumb_terminal:
        yield from _bar(items, what, total, console)
    else:
        yield from _lines(items, what, total)


def _bar(
    items: Iterable[Item], what: str, total: int | None, console: Console
) -> Iterator[Item]:
    columns = (
        '{task.description}',
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(show_speed=True),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        yield from bar.track(items, total=total, description=what)


def _lines(
    items: Iterable[Item], what: str, total: int | None
) -> Iterator[Item]:
    start = shown = time.monotonic()
    tenth = done = said = 0
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        reached = done * _LINES // total if total else 0
        due = _SECONDS[0] if reached > tenth else _SECONDS[1]
        if now - shown >= due:
            text = f'{what} {done}'
            if total:
                left = (now - start) / done * (total - done)
                text += f'/{total}, {left:.0f} s left'
            print(text, flush=True)
            shown, tenth, said = now, reached, done
    if 0 < said < done:
        print(f'{what} {done}' + (f'/{total}' if total else ''), flush=True)
