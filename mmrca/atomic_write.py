"""Files that are whole or not there."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Write a file under another name, and rename it when it is complete.

    Args:
        path: The file; an existing one is replaced.

    Yields:
        The hidden file beside it to write to. It is deleted if the block
        raises; a killed program leaves it behind, ``path`` untouched.
    """
    path = Path(path)
    part = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read_json(path: str | Path) -> dict:
    """Read a JSON file that holds an object.

    Raises:
        ValueError: It holds something else.
        OSError: It cannot be read.
    """
    try:
        return dict(json.loads(Path(path).read_text(encoding='utf-8')))
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(
            f'{path} was not written by this program: {error or "nested"}; '
            'give another, or delete it'
        ) from error


def write_json(path: str | Path, content: Any) -> None:
    """Write a JSON file, whole or not at all."""
    with atomic_write(path) as part:
        part.write_text(json.dumps(content, indent=2) + '\n')
