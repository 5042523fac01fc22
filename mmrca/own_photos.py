"""Own photos, labelled by one call that gives the commands."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmrca.cli import existing_file, existing_folder
from mmrca.steps import (
    CONFIGS,
    TOOLS,
    Step,
    classifier_steps,
    digest,
    take_all,
)

_CONFIG = CONFIGS / 'custom' / 'rca_efficientnet-lite0_custom.py'


class Labels(NamedTuple):
    """What :func:`label` made.

    Attributes:
        labels: Folder of the PNGs: 0 background, c + 1 for class c of
            ``classes``, 255 where unsure.
        classes: Names of the classes, without the background.
        checkpoint: The classifier.
        config: Its config. It reads the variable ``OWN_DATA``.
        data: What ``OWN_DATA`` has to be set to.
        figures: What ``make_pseudo_labels.py`` writes to its JSON file, such
            as the ``share`` of each class in percent.
    """

    labels: Path
    classes: list[str]
    checkpoint: Path
    config: Path
    data: Path
    figures: dict[str, Any]


def label(
    photos: str | Path,
    table: str | Path | None = None,
    out: str | Path | None = None,
    *,
    normal: str | Sequence[str] = (),
    columns: str | Sequence[str] = (),
    config: str | Path = _CONFIG,
    options: str | Sequence[str] = (),
) -> Labels:
    """Train on photos and what they show, and label them.

    The same call again does what is missing, and returns at once when all is
    done. It runs ``table.py`` (or ``folders.py``), ``train.py`` and
    ``make_pseudo_labels.py``; their output is in ``out/*.log``. Every tenth
    photo is held back from training; it gets a label, too::

        found = mmrca.label('photos', 'photos.csv')
        print(found.labels, found.figures['share'])

    Args:
        photos: Folder of the photos.
        table: CSV file that says what each photo shows; None if each class
            has a folder of its own in ``photos``.
        out: Folder for everything; by default ``work_dirs/PHOTOS``.
        normal: Words that mark photos that show none of the classes.
        columns: Of the table, by their headers, the photo's first; by
            default all.
        config: Of the classifier, as those in ``configs/custom``.
        options: Its keys to change, such as ``'train_cfg.max_epochs=30'``.

    Returns:
        Paths and figures.

    Raises:
        FileNotFoundError: Photos, table or config are missing.
        ValueError: A step fails, or was done with other input in ``out``.
    """
    photos = Path(existing_folder(str(photos), 'photos')).absolute()
    root = Path(out or Path('work_dirs') / photos.name).absolute()
    data = root / 'data'
    variables = {'OWN_DATA': str(data)}
    lists = _list_step(table, data, _listed(normal), _listed(columns))
    _link(photos, data / 'images')
    take_all([lists], root, quiet=True)
    os.environ.update(variables)
    made = classifier_steps(str(config), root, _listed(options), variables)
    held_back = data / 'labels' / 'val.csv'
    if held_back.is_file() and held_back.read_text().strip():
        record = root / 'labels_val.json'
        command = [*made[-1].command, '--list', held_back, '--json', record]
        says = 'label the photos that were held back'
        made.append(
            made[-1]._replace(name='labels_val', says=says, command=command)
        )
    take_all([lists, *made], root, quiet=True)
    return Labels(
        root / 'labels',
        (data / 'labels' / 'classes.txt').read_text().splitlines(),
        root / 'classifier' / 'last.pth',
        Path(config),
        data,
        json.loads((root / 'labels.json').read_text()),
    )


def _listed(words: str | Sequence[str]) -> list[str]:
    return [words] if isinstance(words, str) else list(words)


def _link(photos: Path, link: Path) -> None:
    """Put the photos where the recipe looks for them."""
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(photos, target_is_directory=True)
    if not link.samefile(photos):
        raise ValueError(
            f'{link.parents[1]} holds labels of {link.resolve()}, not of '
            f'{photos}; give another folder as out'
        )


def _list_step(
    table: str | Path | None,
    data: Path,
    normal: Sequence[str],
    columns: Sequence[str],
) -> Step:
    images, lists = data / 'images', data / 'labels'
    converters = TOOLS / 'dataset_converters'
    command: list[str | Path] = [converters / 'folders.py']
    made_with = ''
    if table is not None:
        file = Path(existing_file(str(table), 'table')).absolute()
        command = [converters / 'table.py', file]
        made_with = digest(file.read_bytes().hex())
    command += [images, lists / 'train.csv', '--val', lists / 'val.csv']
    for word in normal:
        command += ['--normal', word]
    if columns:
        command += ['--columns', *columns]
    return Step('lists', 'read what the photos show', command, {}, made_with)
