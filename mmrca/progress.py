"""A progress bar that keeps quiet in a log file."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Item = TypeVar('Item')


def progress(
    items: Iterable[Item], what: str, total: int | None = None
) -> Iterator[Item]:
    """Go through items under a bar with the time that is left.

    Args:
        items: What to go through.
        what: Name of the items, shown before the bar.
        total: Their number, if they cannot be counted beforehand.
    """
    columns = (
        '{task.description}',
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(show_speed=True),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as bar:
        yield from bar.track(items, total=total, description=what)
