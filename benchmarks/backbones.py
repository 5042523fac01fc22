"""Print a table of the backbones, with a short training of each.

    python tools/make_toy_data.py data/toy
    python benchmarks/backbones.py data/toy

The trainings start from random weights and see 40 drawn images of 64 pixels
for 20 iterations, SGD at ten times the recipes' learning rate: they show that
gradients arrive, not how good a backbone becomes. All models have the paper's
second head. About 1 minute each on one CPU core, ResNet38 about 4.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

import mmrca

CONFIGS = Path(__file__).parents[1] / 'configs' / 'rca'
NAMES = (
    *('rca_vgg16_30e_voc12_paper', 'rca_resnet38_30e_voc12_paper'),
    *('rca_r50-d8_30e_voc12_paper', 'rca_r50-d16_30e_voc12_paper'),
    *('rca_r101-d8_30e_voc12_paper', 'rca_r101-d16_30e_voc12_paper'),
    *('rca_mobilenet-v2_8e_voc20-mini_cosine', 'rca_vit-b16_8e_voc12'),
    'rca_convnext-t_8e_voc12',
)
SIZE, BATCH, IMAGES, EPOCHS = (64, 64), 4, 40, 2


def short(name: str, data: Path, work_dir: Path) -> Config:
    """Make a config short: drawn images, random weights, two epochs."""
    config = Config.fromfile(CONFIGS / f'{name}.py')
    lines = (data / 'labels/train_cls.txt').read_text().splitlines()
    few = work_dir / 'few.txt'
    few.write_text('\n'.join(lines[:IMAGES]) + '\n')
    loader = config.train_dataloader
    loader.update(batch_size=BATCH, num_workers=0, persistent_workers=False)
    loader.dataset.update(data_root=str(data), ann_file=str(few.absolute()))
    for step in loader.dataset.pipeline:
        for key in ('scale', 'crop_size'):
            if key in step:
                step[key] = SIZE
    config.model.data_preprocessor.size = SIZE
    # Random weights have no statistics worth keeping.
    config.model.backbone.update(init_cfg=None)
    for key, value in dict(norm_eval=False, frozen_stages=-1).items():
        if key in config.model.backbone:
            config.model.backbone[key] = value
    if config.optim_wrapper.optimizer.type == 'SGD':
        config.optim_wrapper.optimizer.lr = 0.01  # for random weights
    else:  # blocks have no pretraining to keep
        heads = dict(cam_head=dict(lr_mult=10), cls_head=dict(lr_mult=10))
        config.optim_wrapper = dict(
            type='OptimWrapper',
            optimizer=dict(type='AdamW', lr=5e-5, weight_decay=0.05),
            paramwise_cfg=dict(custom_keys=heads),
        )
    add_second_head(config)
    config.model.memory.gate = 0.0
    config.default_hooks.memory_bank.warm_up = 1
    config.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=EPOCHS)
    for part in ('dataloader', 'evaluator', 'cfg'):
        config[f'val_{part}'] = config[f'test_{part}'] = None
    config.param_scheduler = None
    config.default_hooks.checkpoint = None
    config.default_hooks.logger.interval = 1
    config.work_dir, config.log_level = str(work_dir), 'WARNING'
    config.experiment_name = name
    return config


def add_second_head(config: Config) -> None:
    """Give a recipe without it the paper's."""
    if 'cls_head' in config.model:
        return
    paper = Config.fromfile(CONFIGS.parent / '_base_/rca_paper.py').paper
    config.model.cam_head.update(paper.pop('cam_head'))
    config.model.update(paper)
    del config.model['prototype_cam'], config.default_hooks['prototype_cam']


def measure(backbone: nn.Module) -> tuple[float, int, int]:
    """Return millions of parameters, stride and channels of a backbone."""
    count = sum(p.numel() for p in backbone.parameters())
    backbone.eval()
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, 128, 128))
    last = maps[-1] if isinstance(maps, tuple | list) else maps
    return count / 1e6, 128 // last.shape[-1], last.shape[1]


def main() -> None:
    """Print the table, a line as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('data', type=Path, help='folder of the toy data')
    parser.add_argument('--work-dir', type=Path, default='work_dirs/backbones')
    args = parser.parse_args()
    args.work_dir.mkdir(parents=True, exist_ok=True)
    print(f'mmrca {mmrca.__version__}, {torch.get_num_threads()} threads')
    print('| config | parameters | stride | D | `loss_cls` | seconds |')
    print('|---|---|---|---|---|---|')
    for name in NAMES:
        runner = Runner.from_cfg(short(name, args.data, args.work_dir))
        start = time.perf_counter()
        runner.train()
        seconds = (time.perf_counter() - start) / runner.iter
        losses, _ = runner.message_hub.get_scalar('train/loss_cls').data
        first, last = losses[0], np.mean(losses[-5:])
        count, stride, channels = measure(runner.model.backbone)
        print(
            f'| `{name}` | {count:.1f} M | {stride} | {channels} '
            f'| {first:.2f} to {last:.2f} | {seconds:.1f} |',
            flush=True,
        )


if __name__ == '__main__':
    main()
