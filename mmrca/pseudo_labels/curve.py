"""The mIoU over the background threshold, as a table and as a picture."""

import csv
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from mmrca.evaluation.label_quality import (
    THRESHOLDS,
    Tally,
    evaluate,
    mean_ious,
)
from mmrca.ops.metrics import strict_iou
from mmrca.pseudo_labels.settings import Settings

_TITLES = {'cam': 'CAM', 'refined': 'after refinement'}


def write_curve(
    stem: Path, tally: Tally, classes: Sequence[str], settings: Settings
) -> None:
    """Write ``STEM_curve.csv`` and ``STEM_curve.png``.

    The table has the IoUs in percent at each constant background threshold
    for the CAMs and for the scores after refinement, and in its last two
    rows those of the labels.

    Args:
        stem: Path of the files without their ends.
        tally: With counts against masks.
        classes: The data set's, ``'background'`` first.
        settings: What the labels were made with.
    """
    rows = []
    for name in _TITLES:
        for i, confusion in enumerate(tally.counts.get(f'{name}_curve', ())):
            iou = 100 * strict_iou(confusion)
            rows.append([name, i / THRESHOLDS, iou.nanmean(), *iou])
    figures = evaluate(tally.counts['labels'], classes)
    for kind in ('labelled', 'strict'):
        iou = figures[f'IoU_{kind}'].values()
        rows.append([f'labels_{kind}', '', figures[f'mIoU_{kind}'], *iou])
    with Path(f'{stem}_curve.csv').open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['against_masks', 'threshold', 'mIoU', *classes])
        writer.writerows([_show(value) for value in row] for row in rows)
    _draw(Path(f'{stem}_curve.png'), tally, figures, settings)


def _show(value: object) -> object:
    if value is None or isinstance(value, str):
        return value
    return '' if value != value else f'{float(value):.4f}'  # nan


def _draw(path: Path, tally: Tally, figures: dict, settings: Settings) -> None:
    with mpl.rc_context({'font.size': 9}):
        figure = Figure(figsize=(6, 4), layout='constrained')
        axes = figure.add_subplot()
        thresholds = [i / THRESHOLDS for i in range(THRESHOLDS)]
        for name, title in _TITLES.items():
            if f'{name}_curve' in tally.counts:
                curve = 100 * mean_ious(tally.counts[f'{name}_curve'])
                axes.plot(thresholds, curve, label=title)
        for kind, style in (('labelled', '--'), ('strict', ':')):
            axes.axhline(
                figures[f'mIoU_{kind}'],
                color='black',
                linestyle=style,
                linewidth=1,
                label=f'labels, {kind}',
            )
        if settings.background['type'] == 'constant':
            axes.axvline(
                settings.background['threshold'],
                color='grey',
                linewidth=1,
                label='threshold of the labels',
            )
        axes.set_xlabel('background threshold')
        axes.set_ylabel(f'mIoU against {tally.evaluated} masks (%)')
        axes.legend()
        figure.savefig(path, dpi=120)
