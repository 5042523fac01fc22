"""Files that are whole or not there, however a program ends."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Write a file under a temporary name, then move it into place.

    An existing file is replaced only when the new one is complete::

        with atomic_write('list.txt') as part:
            part.write_text('...')

    Args:
        path: The file to write; its folder must exist.

    Yields:
        The temporary file, in the same folder. It is gone after an error.
    """
    path = Path(path)
    part = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: str | Path, content: Any) -> None:
    """Write a JSON file, whole or not at all."""
    with atomic_write(path) as part:
        part.write_text(json.dumps(content, indent=2) + '\n')
