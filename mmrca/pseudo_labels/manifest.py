"""What the files of a folder were made with, in the folder itself.

``manifest.json`` holds the recipe: everything that the files depend on. The
files of another recipe are not mixed in.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from mmrca import __version__

NAME = 'manifest.json'
_NAMED = 3  # differences an error gives


def digest(recipe: dict) -> str:
    """Shorten a recipe to 16 characters that change with it."""
    text = json.dumps(recipe, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_manifest(folder: Path) -> dict:
    """Read the manifest, empty if there is none.

    Raises:
        ValueError: If it cannot be read.
    """
    path = folder / NAME
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text())
        return {**found, 'recipe': dict(found['recipe'])}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path} is no manifest of this program; give another folder, or '
            'delete this one'
        ) from error


def check_folder(
    folder: Path, recipe: dict, files: Sequence[Path], what: str
) -> None:
    """See that a folder's files are of this recipe.

    Args:
        folder: It need not be there.
        recipe: What the files depend on, as JSON.
        files: Those that the recipe makes.
        what: Name of the files, for the error.

    Raises:
        ValueError: If the folder is none, or holds files of another recipe.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f'{folder} is no folder; give another for the {what}')
    earlier = read_manifest(folder)
    remedy = f'give another folder, or --overwrite to replace the {what}'
    there = sum(path.exists() for path in files)
    if earlier and earlier['recipe'] != recipe:
        # Of other images, too.
        held = sum(1 for _ in folder.rglob(f'*{files[0].suffix}'))
        changes = differences(earlier['recipe'], recipe)
        if held:
            raise ValueError(
                f'{folder} holds {held} {what} made with {changes}; {remedy}'
            )
    if not earlier and there:
        raise ValueError(
            f'{folder} holds {there} {what} but no {NAME} that says what '
            f'they were made with; {remedy}'
        )


def differences(earlier: dict, now: dict) -> str:
    """Say which keys of two recipes differ."""
    before, after = _flat(earlier), _flat(now)
    keys = [
        key
        for key in {**before, **after}
        if before.get(key, ...) != after.get(key, ...)
    ]
    said = [
        f'{key} = {_short(before, key)} (now {_short(after, key)})'
        for key in keys[:_NAMED]
    ]
    if len(keys) > _NAMED:
        said.append(f'{len(keys) - _NAMED} more differences')
    return ', '.join(said)


def write_manifest(folder: Path, recipe: dict, notes: dict) -> None:
    """Write the manifest, and its folder if it is not there.

    Args:
        folder: Where to.
        recipe: As JSON.
        notes: As JSON.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = {**notes, 'mmrca': __version__, 'recipe': recipe}
    write_json(folder / NAME, content)


def write_json(path: Path, content: dict) -> None:
    """Write a JSON file that is whole or not there."""
    part = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        part.write_text(json.dumps(content, indent=2) + '\n')
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _flat(recipe: dict, prefix: str = '') -> dict:
    flat = {}
    for key, value in recipe.items():
        name = f'{prefix}{key}'
        if isinstance(value, dict) and value:
            flat |= _flat(value, f'{name}.')
        else:
            flat[name] = value
    return flat


def _short(flat: dict, key: str) -> str:
    text = json.dumps(flat[key]) if key in flat else 'not set'
    return text if len(text) <= 40 else f'{text[:37]}...'
