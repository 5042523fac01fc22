"""How good the review's order is, against masks and planted wrong tags.

    python -m benchmarks.review rank LABEL_DIR [--planted LIST_planted.csv]
    python -m benchmarks.review plant LIST CLASSES LIST_WRONG.csv

``rank`` reads the review of labels that were made with masks at hand (they
change no label and no order) and says which share of the worst tenth, by IoU,
is among the first fifth; chance is 20 %. ``plant`` gives every twentieth image
one wrong tag in place of a right one. After a training and labels with that
list, ``rank --planted`` says how many of them are among the first tenth; where
cleanlab is installed, in its order too. ``rank --plant`` needs no training: it
swaps tags after it, so the classifier never learned a wrong one, which makes
them easier to find.
"""

import argparse
import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from mmrca.cli import existing_file, existing_folder, run
from mmrca.datasets.label_list import read_classes, read_labels

WORST, FIRST_FIFTH, FIRST_TENTH = 0.1, 0.2, 0.1


def main(argv: Sequence[str] | None = None) -> None:
    """Plant or measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    commands = parser.add_subparsers(dest='command', required=True)
    rank = commands.add_parser('rank')
    rank.add_argument('labels', type=Path, metavar='LABEL_DIR')
    rank.add_argument('--planted', metavar='CSV')
    rank.add_argument('--plant', action='store_true')
    planter = commands.add_parser('plant')
    planter.add_argument('list')
    planter.add_argument('classes')
    planter.add_argument('out', type=Path, metavar='OUT.csv')
    planter.add_argument('--share', type=float, default=0.05)
    planter.add_argument('--seed', type=int, default=0)
    args = parser.parse_args(argv)
    if args.command == 'plant':
        names = read_classes(args.classes)
        labels = read_labels(args.list, names)
        planted = plant(labels, len(names), args.share, args.seed)
        write_lists(args.out, labels, planted, names)
    else:
        existing_folder(str(args.labels), 'labels')
        if args.planted:
            existing_file(args.planted, 'list')
        measure(args.labels, args.planted)
        if args.plant:
            measure_planted(args.labels)


def plant(
    labels: dict[str, list[int]], num_classes: int, share: float, seed: int
) -> dict[str, tuple[int, int]]:
    """Replace a tag in some images by one that the image does not have.

    Args:
        labels: Changed in place. Normal images stay.
        num_classes: L.
        share: Of the images.
        seed: Of the choice. A class is drawn as often as it occurs.

    Returns:
        By image, the right class and the wrong one.
    """
    rng = np.random.default_rng(seed)
    known = [own for own in labels.values() if own]
    often = np.bincount(np.concatenate(known), minlength=num_classes)
    able = [name for name, own in labels.items() if 0 < len(own) < num_classes]
    count = min(len(able), round(share * len(labels)))
    planted = {}
    for name in sorted(rng.choice(able, count, replace=False).tolist()):
        own = labels[name]
        chances = often.astype(float)
        chances[own] = 0
        if not chances.any():
            continue
        place = rng.integers(len(own))
        wrong = int(rng.choice(num_classes, p=chances / chances.sum()))
        planted[name] = own[place], wrong
        own[place] = wrong
    return planted


def write_lists(
    out: Path,
    labels: dict[str, list[int]],
    planted: dict[str, tuple[int, int]],
    names: Sequence[str],
) -> None:
    """Write the label list, and beside it what was planted."""
    with out.open('w', newline='') as file:
        writer = csv.writer(file)
        for image, own in labels.items():
            writer.writerow([image, *(names[c] for c in sorted(own))])
    beside = out.with_name(f'{out.stem}_planted.csv')
    with beside.open('w', newline='') as file:
        writer = csv.writer(file)
        for image, (right, wrong) in planted.items():
            writer.writerow([image, names[right], names[wrong]])
    print(f'{len(planted)} wrong tags in {out}, listed in {beside}')


def measure(folder: Path, planted_file: str | None) -> None:
    """Print how well each part of the doubt, and the sum, put in order."""
    from mmrca.pseudo_labels.maker import review_file
    from mmrca.pseudo_labels.review import Row, read_review

    rows = read_review(review_file(Path(f'{folder.absolute()}.json')))
    orders: dict[str, Callable[[Row], float]] = {
        'doubt': lambda row: row['doubt'],
        'tag_doubt': lambda row: row['tag_doubt'] or 0,
        'missing': lambda row: row['missing'],
        'unlabelled': lambda row: row['unlabelled'],
        '1 - margin': lambda row: 1 - (row['margin'] or 0),
        'disagreement': lambda row: row['disagreement'] or 0,
    }
    values = {
        name: np.array([order(row) for row in rows])
        for name, order in orders.items()
    }
    files = [folder / f'{row["image"]}.png' for row in rows]
    values |= cleanlab_order(*facts_of(files))
    ious = [row['iou_with_masks'] for row in rows]
    if None not in ious:
        worst = np.zeros(len(rows), bool)
        worst[np.argsort(ious)[: round(WORST * len(rows))]] = True
        print(
            f'{len(rows)} labels; of the worst tenth by IoU, among the first'
        )
        print(f'fifth in the order of (chance {FIRST_FIFTH:.0%}):')
        show(values, worst, FIRST_FIFTH)
    if planted_file:
        with open(planted_file, newline='') as file:
            names = {line[0] for line in csv.reader(file)}
        wrong = np.array([row['image'] in names for row in rows])
        print(f'{wrong.sum()} wrong tags; in the first tenth in the order')
        print(f'of (chance {FIRST_TENTH:.0%}):')
        show(values, wrong, FIRST_TENTH)


def show(
    values: dict[str, np.ndarray], wanted: np.ndarray, share: float
) -> None:
    """Print how many are among the first by each order, and their share."""
    for name, value in values.items():
        first = np.argsort(-value, kind='stable')[: round(share * len(value))]
        found = int(wanted[first].sum())
        print(f'  {name:26} {found:4}  {found / max(1, wanted.sum()):.0%}')


def measure_planted(folder: Path, seeds: int = 5) -> None:
    """Swap tags of labels that were made of the right ones, and rank them."""
    from mmrca.inference import present_classes
    from mmrca.ops.doubt import tag_doubt

    files = sorted(folder.rglob('*.png'))
    right, scores = facts_of(files)
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        tags = {str(n): list(own) for n, own in enumerate(right)}
        planted = plant(tags, scores.shape[1], 0.05, seed)
        wrong = np.array([name in planted for name in tags])
        present = present_classes(list(tags.values()), scores.shape[1])
        values = {
            'tag_doubt': tag_doubt(torch.from_numpy(scores), present).amax(1)
        } | cleanlab_order(list(tags.values()), scores)
        for name, value in values.items():
            first = np.argsort(-np.asarray(value), kind='stable')
            first = first[: round(FIRST_TENTH * len(wrong))]
            share = wrong[first].sum() / max(1, wrong.sum())
            found.setdefault(name, []).append(share)
    print(f'{wrong.sum()} tags of {len(wrong)} images swapped after the')
    print(f'training, {seeds} times; in the first tenth in the order of:')
    for name, shares in found.items():
        mean, low, high = np.mean(shares), min(shares), max(shares)
        print(f'  {name:26} {mean:.0%} ({low:.0%} to {high:.0%})')


def facts_of(files: Sequence[Path]) -> tuple[list[list[int]], np.ndarray]:
    """Read tags and scores [N, L] off labels."""
    from mmrca.pseudo_labels.writer import read_facts, read_stamp

    scores = np.array([read_facts(file)['scores'] for file in files])
    stamps = [read_stamp(file).split(' ')[1:] for file in files]
    return [list(map(int, stamp)) for stamp in stamps], scores


def cleanlab_order(
    tags: list[list[int]], scores: np.ndarray
) -> dict[str, np.ndarray]:
    """Let cleanlab rank the tags by the same scores; {} without it."""
    try:
        from cleanlab.multilabel_classification import rank
    except ImportError:
        return {}
    return {
        f'cleanlab {method}': -rank.get_label_quality_scores(
            tags, scores, method=method
        )
        for method in ('self_confidence', 'normalized_margin')
    }


if __name__ == '__main__':
    run(main)
