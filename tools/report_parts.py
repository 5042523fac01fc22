"""What the report says of a training and of a folder of labels.

All of it stands in files that these wrote; only the prototypes' crops are
looked for anew.
"""

import ast
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import mmcv
import numpy as np
from mmengine.config import Config
from PIL import Image
from report_page import Line, chart_uri, picture_uri
from report_prototypes import prototypes_of

from mmrca.atomic_write import read_json
from mmrca.datasets.images import ImageError, load_image
from mmrca.datasets.masks import read_class_map
from mmrca.inference import enlarge_cams, read_cams
from mmrca.pictures import heat, paint
from mmrca.progress import progress
from mmrca.pseudo_labels.maker import review_file
from mmrca.pseudo_labels.manifest import NAME
from mmrca.pseudo_labels.review import Row, read_review
from mmrca.pseudo_labels.writer import voc_palette

_SIDE = 220  # of a thumbnail
_MATRIX = 25  # classes that a table of all pairs has room for
_PAIRS = 20
# Lines of a chart, by what they mean; losses are found by their name.
_CHARTS = {
    'memory': ('memory_filled', 'gate_passed'),
    'prototypes': ('prototype_shift',),
    'validation': ('mAP', 'cam_mIoU', 'cam_mIoU_best', 'mIoU'),
}
_STAGES = {'cam': 'CAM', 'refined': 'after refinement', 'labels': 'labels'}


def unfold(folder: Path) -> list[Path]:
    """List what a folder of tools/run.py holds; another is itself."""
    names = ('classifier', 'segmenter', 'labels')
    inside = [folder / name for name in names if _kind(folder / name)]
    return [folder] if _kind(folder) else inside or [folder]


def kind_of(folder: Path) -> str:
    """Tell a work dir from a folder of labels.

    Raises:
        ValueError: It is neither.
    """
    kind = _kind(folder)
    if kind is None:
        raise ValueError(
            f'{folder} is neither a folder of labels ({NAME} is missing) nor '
            'the work dir of a training (TIME/vis_data/scalars.json is '
            'missing), nor does it hold them as that of tools/run.py.'
        )
    return kind


def _kind(folder: Path) -> str | None:
    if (folder / NAME).exists():
        return 'labels'
    there = list(folder.glob('*/vis_data/scalars.json'))
    return 'training' if there else None


def _part(folder: Path, **more: Any) -> dict:
    return {'title': folder.name, 'problems': [], 'facts': {}, **more}


def training_part(folder: Path) -> dict:
    """Describe a training: what with, and its curves."""
    part = _part(folder)
    configs = sorted(folder.glob('*.py'), key=lambda f: f.stat().st_mtime)
    part['configs'] = [f.read_text() for f in configs[-1:]]
    if configs:
        try:
            part['facts'] = _training_facts(read_dump(configs[-1]))
        except ValueError as error:
            part['problems'].append(str(error))
    lines, broken = read_scalars(folder)
    if broken:
        part['problems'].append(
            f'{broken} lines of scalars.json were cut off and are left out.'
        )
    part['curves'] = curves(lines)
    return part


def read_dump(path: Path) -> Config:
    """Read the config that a training wrote down, without running it.

    Raises:
        ValueError: It holds more than values.
    """
    try:
        lines = ast.parse(path.read_text(encoding='utf-8')).body
        return Config({one.targets[0].id: _value(one.value) for one in lines})
    # What is no assignment lacks these attributes.
    except (AttributeError, SyntaxError, ValueError, RecursionError) as error:
        raise ValueError(
            f'{path} is not the config that a training writes, so it is not '
            f'read: {error}'
        ) from error


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Call(func=ast.Name(id='dict'), args=[], keywords=pairs):
            return {str(pair.arg): _value(pair.value) for pair in pairs}
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return {ast.literal_eval(k): _value(v) for k, v in pairs}
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item) for item in items]
    return ast.literal_eval(node)


def _training_facts(config: Config) -> dict[str, Any]:
    model, train = config.model, config.get('train_dataloader') or {}
    loop = config.get('train_cfg') or {}
    dataset = train.get('dataset') or {}
    classes = (dataset.get('metainfo') or {}).get('classes') or ()
    optimizer = (config.get('optim_wrapper') or {}).get('optimizer') or {}
    backbone = model.get('backbone') or {}
    parts = ('memory', 'loss_nce', 'aggregation', 'cls_head', 'prototype_cam')
    facts = {
        'Work dir': str(config.get('work_dir', '')),
        'Model': f'{model.type}, {backbone.get("type")}',
        'With': ', '.join(p for p in parts if model.get(p)),
        'Classes': len(set(classes) - {'background'}),
        'Label list': dataset.get('ann_file'),
        'Epochs': loop.get('max_epochs'),
        'Iterations': loop.get('max_iters'),
        'Batch size': train.get('batch_size'),
        'Learning rate': optimizer.get('lr'),
        'Initial weights': (backbone.get('init_cfg') or {}).get('checkpoint'),
        'Seed': (config.get('randomness') or {}).get('seed'),
    }
    return {k: v for k, v in facts.items() if v not in (None, '', 0)}


def read_scalars(folder: Path) -> tuple[list[dict], int]:
    """Read what a training logged, over all its runs.

    A run that resumed replaces what a run before logged of the same steps.

    Returns:
        The lines, and how many could not be read.
    """
    kept: dict[tuple, dict] = {}
    broken = 0
    for file in sorted(folder.glob('*/vis_data/scalars.json')):
        for text in file.read_text(errors='replace').splitlines():
            try:
                line = dict(json.loads(text))
                kept[('loss' in line, line['step'])] = line
            except (ValueError, TypeError, KeyError):
                broken += 1
    return list(kept.values()), broken


def curves(lines: Sequence[dict]) -> list[str]:
    """Draw the curves of what was logged, as links."""
    train = [line for line in lines if 'loss' in line]
    val = [line for line in lines if 'loss' not in line]
    losses = sorted({k for line in train for k in line if 'loss' in k})
    charts = [chart_of(train, losses, 'iteration', log=True)]
    for what, keys in _CHARTS.items():
        source = val if what == 'validation' else train
        across = 'step of validation' if what == 'validation' else 'iteration'
        charts.append(chart_of(source, keys, across))
    return [chart for chart in charts if chart]


def chart_of(
    lines: Sequence[dict], keys: Sequence[str], across: str, log: bool = False
) -> str | None:
    """Draw some keys of the log, None if there are none."""
    found: dict[str, Line] = {}
    for key in keys:
        points = [(x['step'], x[key]) for x in lines if key in x]
        if points and (not log or any(y > 0 for _, y in points)):
            found[key] = sorted(points)
    return chart_uri(found, across, log) if found else None


def labels_part(folder: Path, pictures: int, prototype_images: int) -> dict:
    """Describe a folder of labels.

    Args:
        folder: With its ``manifest.json``; ``FOLDER.json`` and
            ``FOLDER_review.csv`` lie beside it.
        pictures: Images a gallery shows at most.
        prototype_images: Images in which prototypes are looked for.

    Raises:
        ValueError: A file beside the folder is missing or of an older
            version.
    """
    folder = folder.absolute()
    record_file = Path(f'{folder}.json')
    if not (record_file.is_file() and review_file(record_file).is_file()):
        raise ValueError(
            f'{folder} lacks {record_file.name} or '
            f'{review_file(record_file).name} beside it: run '
            'tools/make_pseudo_labels.py again as before. It keeps the '
            'labels and writes both.'
        )
    record = read_json(record_file)
    rows = read_review(review_file(record_file))
    part = _part(folder, work_dir=_work_dir(record))
    part['facts'] = _label_facts(record, rows)
    found = record['against_masks'] or {}
    part['stages'] = [
        {'name': name, **found[stage]}
        for stage, name in _STAGES.items()
        if stage in found
    ]
    part['threshold_curve'] = _threshold_curve(found)
    palette = _palette(folder, rows, len(record['classes']))
    part['classes'] = _class_rows(record, rows, palette)
    if 'confusion' in found:
        part['confusion'] = _confusion(found['confusion'], record['classes'])
    if prototype_images:
        try:
            part['prototypes'] = prototypes_of(
                record, rows, folder, prototype_images
            )
        except (ValueError, TypeError, KeyError, OSError) as error:
            part['problems'].append(f'No prototypes are shown: {error}')
    if record['errors']:
        part['problems'].append(
            f'{len(record["errors"])} images have no label that could be '
            f'measured, such as: {next(iter(record["errors"].values()))}'
        )
    part['galleries'] = galleries(folder, record, rows, palette, pictures)
    return part


def _work_dir(record: dict) -> Path | None:
    """Find the training that the labels come from."""
    folder = Path(record['checkpoint']).absolute().parent
    there = list(folder.glob('*/vis_data/scalars.json'))
    return folder if there else None


def _label_facts(record: dict, rows: Sequence[Row]) -> dict[str, Any]:
    settings, normals = record['pseudo_label'], record['normals']
    facts = {
        'Config': record['config'],
        'Checkpoint': record['checkpoint'],
        'Labels': len(rows),
        'Unlabelled pixels, %': _short(record['share']['unlabelled']),
        'Background': record.get('background_threshold')
        or json.dumps(settings['background']),
        'Refinement': settings['refinement']
        and json.dumps(settings['refinement']),
        'Margin': settings['margin'],
        'CAMs': record['cams'] or 'not kept (--cams DIR keeps them)',
    }
    facts = {name: value or 'none' for name, value in facts.items()}
    if normals['images']:
        facts['Normal images'] = (
            f'{normals["images"]}; {_short(normals["with_foreground"])} % of '
            'their labels show a class'
        )
    return facts


def _short(value: float | None) -> str:
    return 'none' if value is None else f'{value:.1f}'


def _threshold_curve(found: dict) -> str | None:
    lines = {}
    for stage, name in _STAGES.items():
        curve = (found.get(stage) or {}).get('curve')
        if curve:
            points = [(n / len(curve), y) for n, y in enumerate(curve)]
            lines[name] = [(x, y) for x, y in points if y is not None]
    lines = {name: points for name, points in lines.items() if points}
    across = 'constant background threshold (mIoU with masks)'
    return chart_uri(lines, across) if lines else None


def _palette(folder: Path, rows: Sequence[Row], count: int) -> np.ndarray:
    """Take the colours of a label: uint8 [L+1, 3]."""
    for row in rows:
        try:
            with Image.open(folder / f'{row["image"]}.png') as picture:
                colours = picture.getpalette()
        except OSError:
            continue
        if colours and len(colours) >= 3 * count:
            return np.array(colours, np.uint8).reshape(-1, 3)[:count]
    return np.array(voc_palette(count), np.uint8)


def _class_rows(
    record: dict, rows: Sequence[Row], palette: np.ndarray
) -> list[dict]:
    quality = (record['against_masks'] or {}).get('labels') or {}
    tagged = [row['tags'].split('; ') for row in rows]
    return [
        {
            'name': name,
            'colour': '#' + bytes(colour.tolist()).hex(),
            'images': sum(name in tags for tags in tagged) if n else None,
            'share': record['share'][name],
            **{
                short: (quality.get(key) or {}).get(name)
                for short, key in (
                    ('iou', 'IoU_strict'),
                    ('precision', 'precision'),
                    ('recall', 'recall'),
                )
            },
        }
        for n, (name, colour) in enumerate(
            zip(record['classes'], palette, strict=True)
        )
    ]


def _confusion(counts: list[list[int]], classes: Sequence[str]) -> dict:
    """Turn pixel counts into percent of each true class."""
    columns = [*classes, 'unlabelled']
    table = np.array(counts, float)
    table *= 100 / np.maximum(table.sum(1, keepdims=True), 1)
    pairs = [
        {'true': classes[t], 'label': columns[p], 'percent': table[t, p]}
        for t, p in np.ndindex(*table.shape)
        if t != p and table[t, p] >= 1
    ]
    pairs.sort(key=lambda pair: -pair['percent'])
    rows = zip(classes, table.tolist(), strict=True)
    matrix = [{'name': name, 'percent': row} for name, row in rows]
    small = len(classes) <= _MATRIX
    return {
        'columns': columns,
        'matrix': matrix if small else None,
        'pairs': pairs[:_PAIRS],
    }


class _Gallery(NamedTuple):
    title: str
    says: str
    rows: Sequence[Row]
    with_masks: bool = False


def galleries(
    folder: Path,
    record: dict,
    rows: Sequence[Row],
    palette: np.ndarray,
    limit: int,
) -> list[dict]:
    """Choose images and draw them: photo, CAM, label, truth.

    Args:
        folder: Of the labels.
        record: Of the labels.
        rows: Of their review.
        palette: uint8 [L+1, 3].
        limit: Images of a gallery.
    """
    measured = [r for r in rows if r['iou_with_masks'] is not None]
    measured.sort(key=lambda row: row['iou_with_masks'] or 0)
    some = random.Random(0).sample(rows, min(limit, len(rows)))
    empty = [r for r in rows if r['tags'] and not r['foreground']]
    alarms = [r for r in rows if not r['tags'] and r['foreground']]
    file = review_file(Path(f'{folder}.json')).name
    by_iou = 'By the mean IoU over the classes of an image.'
    chosen = (
        _Gallery(
            'Look at these first',
            'By doubt, without masks: one of tags, missing classes, '
            'unlabelled pixels and foreground is unusual among the labels. '
            f'{file} lists all {len(rows)}.',
            rows,
        ),
        _Gallery(
            'Tags to check first',
            'The classifier believes these least, without masks. A wrong tag '
            'is the most useful find.',
            sorted(rows, key=lambda row: -(row['tag_doubt'] or 0)),
        ),
        _Gallery(
            'No class in the label',
            f'{len(empty)} images have a class and their labels none.',
            empty,
        ),
        _Gallery(
            'Normal images with a class',
            f'{len(alarms)} images show no class and their labels one.',
            alarms,
        ),
        _Gallery('Worst labels', by_iou, measured, True),
        _Gallery('Best labels', by_iou, measured[::-1], True),
        _Gallery('Random labels', f'{len(some)} of {len(rows)}.', some),
    )
    drawn = []
    for gallery in chosen:
        shown = progress(gallery.rows[:limit], gallery.title)
        entries = [_entry(folder, record, row, palette) for row in shown]
        if entries:
            drawn.append({**gallery._asdict(), 'entries': entries})
    return drawn


def _entry(
    folder: Path, record: dict, row: Row, palette: np.ndarray
) -> dict[str, Any]:
    iou = row['iou_with_masks']
    return {
        'image': row['image'],
        'tags': row['tags'],
        'why': row['why'],
        'iou': None if iou is None else 100 * iou,
        'pictures': pictures(folder, record, row, palette),
    }


def pictures(
    folder: Path, record: dict, row: Row, palette: np.ndarray
) -> list[dict]:
    """Draw a photo, its CAM, its label and, where there is one, its mask.

    What cannot be read is said in place of the picture.
    """
    try:
        photo = load_image(row['photo'], _SIDE)
    except ImageError:
        return [{'title': 'photo', 'missing': f'no photo {row["photo"]}'}]
    size = photo.shape[:2]
    drawn = {'photo': photo[..., ::-1]}
    if record['cams']:
        cams = read_cams(Path(record['cams']) / f'{row["image"]}.npz', None)
        if cams and cams.classes:
            kind = (record['model'].get('test_cfg') or {}).get('normalization')
            drawn['CAM'] = heat(
                photo, enlarge_cams(cams, size, kind or 'class')
            )
    files = {'label': folder / f'{row["image"]}.png', 'truth': row['mask']}
    missing = []
    for title, file in files.items():
        if not file:
            continue
        try:
            labels = read_class_map(file, title)
        except ImageError:
            missing.append({'title': title, 'missing': f'no {title}'})
            continue
        labels = mmcv.imresize(labels, size[::-1], interpolation='nearest')
        drawn[title] = paint(photo, labels, palette)
    return [
        {'title': title, 'uri': picture_uri(np.ascontiguousarray(picture))}
        for title, picture in drawn.items()
    ] + missing
