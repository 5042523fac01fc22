"""What the files of a folder were made with, in the folder itself.

``manifest.json`` holds the recipe: everything that the files depend on. The
files of another recipe are not mixed in.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict

from mmrca import __version__
from mmrca.atomic_write import read_json, write_json
from mmrca.checks import first_few
from mmrca.folder_lock import remove_parts
from mmrca.pseudo_labels.writer import read_stamp

NAME = 'manifest.json'
_THRESHOLDS = 'class_thresholds'


class Notes(TypedDict):
    """What a manifest says beside the recipe, for people to read."""

    config: str
    checkpoint: str
    image_folder: NotRequired[str]
    background_threshold: NotRequired[str]


class ListNotes(Notes):
    """What it says beside, once ``..._classes.csv`` is there.

    ``edited`` are the IDs of the labels that somebody drew; ``list_digests``,
    by file, tell whether a list was changed since.
    """

    edited: list[str]
    list_digests: dict[str, str]


class Recipe(TypedDict):
    """Everything that the files of a folder depend on, as JSON.

    ``class_thresholds`` is there for photos, whose classes are predicted,
    ``refinement_sha256`` if refinements have weights.
    """

    checkpoint_sha256: str
    classes: list[str]
    pseudo_label: dict
    model: dict
    class_thresholds: NotRequired[list[float]]
    refinement_sha256: NotRequired[list[str]]


def digest(recipe: Recipe) -> str:
    """Shorten a recipe to 16 characters that change with it."""
    text = json.dumps(recipe, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_manifest(folder: Path) -> dict:
    """Read the manifest; {} without a file.

    Raises:
        ValueError: If it cannot be read.
    """
    path = folder / NAME
    if not path.exists():
        return {}
    try:
        found = read_json(path)
        return {**found, 'recipe': dict(found['recipe'])}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path} was not written by this program; give another folder, or '
            'delete this file.'
        ) from error


class Claim(NamedTuple):
    """A folder and what is to be in it.

    Attributes:
        folder: It need not be there.
        recipe: What the files depend on, as JSON.
        files: Those that the recipe makes.
        what: Their name, for errors.
    """

    folder: Path
    recipe: Recipe
    files: Sequence[Path]
    what: str


def claim_folders(
    claims: Sequence[Claim], notes: Notes, overwrite: bool
) -> None:
    """Make folders ready for files of a recipe.

    Args:
        claims: The folders.
        notes: For their manifests.
        overwrite: Delete the files that are there first; CAMs only if they
            have another recipe.

    Raises:
        ValueError: If a folder holds files of another recipe, or files of
            these names and no manifest. Nothing is written then.
    """
    for claim in claims:
        if overwrite:
            _make_room(claim, notes)
        _check(claim)
    for claim in claims:
        if read_manifest(claim.folder).get('recipe') != claim.recipe:
            write_manifest(claim.folder, claim.recipe, notes)
        for path in {path.parent for path in claim.files}:
            path.mkdir(parents=True, exist_ok=True)
        remove_parts(claim.folder, '**/.*.part')


def _make_room(claim: Claim, notes: Notes) -> None:
    """Say what is overwritten, and delete it."""
    folder, recipe, files, what = claim
    earlier = read_manifest(folder).get('recipe')
    there = [path for path in files if path.exists()]
    if what == 'CAMs' and earlier == recipe:
        return
    if there:
        made = differences(earlier, recipe) if earlier else 'no manifest'
        edited = [p for p in there if what == 'labels' and not read_stamp(p)]
        also = (
            f', {len(edited)} of them edited or made elsewhere, such as '
            f'{edited[0]}'
            if edited
            else ''
        )
        print(
            f'--overwrite deletes {len(there)} {what} in {folder} '
            f'({made or "made with the same recipe"}){also}',
            flush=True,
        )
    # The new manifest first: killed from here on, the next run finds labels
    # whose stamps say that they are not of it.
    write_manifest(folder, recipe, notes)
    for path in there:
        path.unlink()


def _check(claim: Claim) -> None:
    folder, recipe, files, what = claim
    if folder.exists() and not folder.is_dir():
        raise ValueError(
            f'{folder} is not a folder; give another for the {what}.'
        )
    earlier = read_manifest(folder).get('recipe')
    remedy = f'give another folder, or --overwrite to replace the {what}.'
    there = [path for path in files if path.exists()]
    if earlier is None and there:
        raise ValueError(
            f'{folder} holds {len(there)} {what}, such as {there[0]}, but no '
            f'{NAME} that says what they were made with; {remedy}'
        )
    # Files of other images count, too.
    held = sum(
        1 for path in files[:1] for _ in folder.rglob(f'*{path.suffix}')
    )
    if earlier in (None, recipe) or not held:
        return
    # Only photos of --photos have thresholds.
    before, now = (_THRESHOLDS in found for found in (earlier, recipe))
    if before != now:
        others = (
            'photos whose classes were predicted: give --photos DIR'
            if before
            else 'images whose classes were known: leave --photos out'
        )
        raise ValueError(
            f'{folder} holds {held} {what} of {others}, or {remedy}'
        )
    raise ValueError(
        f'{folder} holds {held} {what} made with '
        f'{differences(earlier, recipe)}; {remedy}'
    )


def differences(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say which keys of two recipes differ."""
    before, after = _flat(earlier), _flat(now)
    keys = [
        key
        for key in {**before, **after}
        if before.get(key, ...) != after.get(key, ...)
    ]
    return first_few(
        [f'{k} = {_short(before, k)} (now {_short(after, k)})' for k in keys]
    )


def write_manifest(folder: Path, recipe: Recipe, notes: Notes) -> None:
    """Write the manifest, and its folder if it is not there.

    Args:
        folder: Where to.
        recipe: As JSON.
        notes: As JSON.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = {**notes, 'mmrca': __version__, 'recipe': recipe}
    write_json(folder / NAME, content)


def _flat(recipe: Mapping[str, Any], prefix: str = '') -> dict:
    flat: dict = {}
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
