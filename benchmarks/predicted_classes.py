"""How well the classes of new photos are predicted.

    python benchmarks/predicted_classes.py CONFIG CHECKPOINT

Scores the config's validation images, whose classes nobody tells the
classifier, and compares the prediction with their labels: with the thresholds
that are chosen on the training images, as labelling without labels does, with
.5 for every class, and with the thresholds that these very labels would
choose, which no choice can beat by much.
"""

import argparse
from collections.abc import Sequence

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from mmrca.checkpoint import load_classifier
from mmrca.cli import ConfigOptions, existing_file, load_config, run
from mmrca.datasets.images import load_image
from mmrca.inference import infer_cams
from mmrca.ops.metrics import best_f1
from mmrca.progress import progress
from mmrca.pseudo_labels.calibration import Calibrator
from mmrca.pseudo_labels.inputs import collect_inputs, data_infos
from mmrca.pseudo_labels.settings import Settings, read_settings
from mmrca.registry import DATASETS


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions)
    args = parser.parse_args(argv)
    config = load_config(args.config, args.cfg_options)
    existing_file(args.checkpoint, 'checkpoint')
    init_default_scope(config.get('default_scope', 'mmseg'))
    settings = read_settings(config)
    model = load_classifier(config, args.checkpoint)
    calibrator = Calibrator(config, args.checkpoint, model, settings)
    chosen = calibrator.classes()
    scores, labels = score(config, model, settings)
    best, _ = best_f1(scores, labels)
    ways = {
        'chosen on the training images': chosen,
        '.5': torch.full_like(chosen, 0.5),
        'best, chosen with these labels': best,
    }
    print(f'{len(scores)} validation images')
    print(f'{"threshold":32}precision  recall  F1  F1, mean of classes')
    for name, thresholds in ways.items():
        print(f'{name:32}', *figures(scores >= thresholds, labels > 0))


def score(
    config: Config, model: nn.Module, settings: Settings
) -> tuple[Tensor, Tensor]:
    """Score the validation images: scores [N, L] and labels [N, L]."""
    dataset = DATASETS.build(config.val_dataloader.dataset)
    items, _ = collect_inputs(data_infos(dataset))
    scores, labels = [], []
    for item in progress(items, 'validation images'):
        (cams,) = infer_cams(
            model,
            [load_image(item.path, model.test_cfg.max_side)],
            [item.classes],
            settings.scales,
            settings.flip,
        )
        scores.append(cams.scores)
        labels.append(torch.zeros_like(cams.scores))
        labels[-1][list(item.classes)] = 1
    return torch.stack(scores), torch.stack(labels)


def figures(predicted: Tensor, shown: Tensor) -> list[str]:
    """Precision, recall and F1 of all, and the mean F1 of shown classes."""
    hits = (predicted & shown).sum(0)
    sizes = predicted.sum(0), shown.sum(0)
    precision, recall = (hits.sum() / size.sum() for size in sizes)
    f1 = 2 * hits.sum() / (sizes[0].sum() + sizes[1].sum())
    by_class = (2 * hits / (sizes[0] + sizes[1]))[sizes[1] > 0]
    values = precision, recall, f1, by_class.mean()
    return [f'{100 * v:6.1f}' for v in values]


if __name__ == '__main__':
    run(main)
