"""One process equals many: losses, gradients and memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from tests import programs, tiny
from tests.models.test_rca import batch, build

pytestmark = pytest.mark.timeout(600)
# The last batch is uneven, and with 4 processes one has no region.
LABELS = [[0, 1], [2], [], [0], [1, 2]]


def one_step(config, labels: list[list[int]], rank: int, world: int) -> dict:
    """Losses, gradients and staged regions of a process's share."""
    model = build(config)
    model.memory._batch_size = 8 // world
    model.memory.generator.manual_seed(7)
    data = batch(labels)
    data = {key: value[rank::world] for key, value in data.items()}
    run = DistributedDataParallel(model) if world > 1 else model
    losses = run(**data, mode='loss')
    sum(losses.values()).backward()
    model.memory.gate = 0.0
    passed, there = model.memory.write(1)
    return dict(
        losses={key: value.detach() for key, value in losses.items()},
        gradients={n: p.grad for n, p in model.named_parameters()},
        counts=(passed, there),
        rows=model.memory.rows,
        filled=model.memory.filled,
    )


def process(rank: int, world: int, config, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        'gloo', f'file://{folder}/meeting', rank=rank, world_size=world
    )
    result = one_step(config, LABELS, rank, world)
    torch.save(result, f'{folder}/{rank}.pth')
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize('world', [2, 4])
def test_losses_and_gradients_do_not_depend_on_processes(tmp_path, world):
    config = tiny.config(tiny.write_images(tmp_path, [[0]])).model
    alone = one_step(config, LABELS, 0, 1)
    programs.spawn(process, (world, config, str(tmp_path)), world)
    shares = [torch.load(tmp_path / f'{r}.pth') for r in range(world)]
    # Every process writes the regions of all.
    for share in shares:
        assert share['counts'] == alone['counts']
        assert torch.equal(share['filled'], alone['filled'])
        torch.testing.assert_close(share['rows'], alone['rows'])
        for name, gradient in alone['gradients'].items():
            torch.testing.assert_close(share['gradients'][name], gradient)
    for name in ('loss_cam', 'loss_cls', 'loss_nce'):
        mean = sum(share['losses'][name] for share in shares) / world
        torch.testing.assert_close(mean, alone['losses'][name])


def train(repo: Path, config: Path, work_dir: Path, world: int) -> dict:
    """Train by the tool, alone or under torchrun; return the checkpoint."""
    tool = [str(repo / 'tools/train.py'), str(config)]
    tool += ['--work-dir', str(work_dir)]
    tool += ['--cfg-options', f'train_dataloader.batch_size={4 // world}']
    variables = dict(OMP_NUM_THREADS='1', PYTHONPATH=str(repo))
    if world == 1:
        done = programs.run(*tool, **variables)
    else:
        done = subprocess.run(
            [
                *(sys.executable, '-m', 'torch.distributed.run'),
                *('--standalone', '--nproc-per-node', str(world)),
                *(*tool, '--launcher', 'pytorch'),
            ],
            env=os.environ | variables,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return torch.load(work_dir / 'epoch_2.pth', weights_only=False)


LIST = [[0], [1], [2], [0, 1], [], [0, 2], [0, 1, 2], [], [1], [2], [1]]


# With two processes the last batch has 2 images and 1. Four processes would
# train unequal numbers of batches there, so they get a full one.
@pytest.mark.parametrize(
    ('world', 'labels', 'ring'),
    [
        (2, LIST, False),
        pytest.param(4, [*LIST, [0, 2]], True, marks=pytest.mark.slow),
    ],
)
def test_training_under_torchrun_gives_the_same_model(
    repo, tmp_path, world, labels, ring
):
    cfg = tiny.config(tiny.write_images(tmp_path, labels))
    cfg.train_dataloader.sampler.round_up = False
    cfg.model.memory.ring = ring
    cfg.dump(tmp_path / 'config.py')
    alone, together = (
        train(repo, tmp_path / 'config.py', tmp_path / f'{count}', count)
        for count in (1, world)
    )
    for key, value in alone['state_dict'].items():
        torch.testing.assert_close(
            together['state_dict'][key], value, rtol=1e-3, atol=1e-5, msg=key
        )
