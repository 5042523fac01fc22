"""A training that SIGTERM stops goes on as if it had not."""

import os
import resource
import signal
import uuid

import pytest
import torch
from mmengine.hooks import Hook

from mmrca.checkpoint import write_checkpoint
from mmrca.engine.runner import Runner
from mmrca.folder_lock import sole_user
from mmrca.steps import INTERRUPTED, Step, take_all
from tests import tiny

LABELS = [[0], [1], [2], [0, 1], [1, 2], [0, 2], [0, 1, 2], []]


class Terminate(Hook):
    """Sends SIGTERM to the training, and to its loaders' workers."""

    def __init__(self, iteration):
        self.iteration = iteration

    def after_train_iter(self, runner, **_):
        if runner.iter == self.iteration:
            os.kill(os.getpid(), signal.SIGTERM)
            workers = getattr(runner.train_loop.dataloader, '_iterator', None)
            for worker in getattr(workers, '_workers', ()):
                os.kill(worker.pid, signal.SIGTERM)


def config(root, by_epoch, workers):
    cfg = tiny.config(root, **{'train_dataloader.batch_size': 2})
    cfg.train_dataloader.num_workers = workers
    cfg.train_dataloader.persistent_workers = workers > 0
    if not by_epoch:
        cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=8)
        cfg.train_dataloader.sampler.type = 'InfiniteSampler'
        cfg.default_hooks.memory_bank.update(
            by_epoch=False, warm_up=2, refresh_interval=3
        )
        cfg.default_hooks.checkpoint = dict(
            type='CheckpointHook', by_epoch=False, interval=8
        )
    return cfg


def train(cfg, folder, iteration=-1, **resume):
    cfg = cfg.copy()
    cfg.work_dir = str(folder)
    cfg.update(resume)
    cfg.experiment_name = f'tiny_{uuid.uuid4().hex}'
    runner = Runner.from_cfg(cfg)
    runner.register_hook(Terminate(iteration))
    runner.train()


def weights(folder):
    name = (folder / 'last_checkpoint').read_text()
    return torch.load(name, weights_only=False)


@pytest.mark.parametrize(
    ('by_epoch', 'workers', 'iteration'),
    [(True, 0, 1), (True, 2, 5), (True, 0, 3), (False, 0, 4)],
)
def test_it_goes_on_inside_an_epoch(tmp_path, by_epoch, workers, iteration):
    root = tiny.write_images(tmp_path / 'data', LABELS)
    cfg = config(root, by_epoch, workers)
    train(cfg, tmp_path / 'whole')
    broken = tmp_path / 'broken'
    with pytest.raises(SystemExit) as end:
        train(cfg, broken, iteration)
    assert end.value.code == 0
    saved = torch.load(broken / INTERRUPTED, weights_only=False)
    assert saved['meta']['iter'] == iteration + 1
    train(cfg, broken, load_from=str(broken / INTERRUPTED), resume=True)
    one, other = weights(tmp_path / 'whole'), weights(broken)
    for key, value in one['state_dict'].items():
        assert torch.equal(value, other['state_dict'][key]), key
    assert not (broken / INTERRUPTED).exists()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_the_last_iteration_is_not_interrupted(tmp_path):
    cfg = config(tiny.write_images(tmp_path / 'data', LABELS), True, 0)
    train(cfg, tmp_path / 'work', 7)
    assert (tmp_path / 'work/epoch_2.pth').exists()
    assert not (tmp_path / 'work' / INTERRUPTED).exists()


def test_a_step_that_was_stopped_is_not_done(tmp_path):
    work_dir = tmp_path / 'work'
    work_dir.mkdir()
    (work_dir / INTERRUPTED).touch()
    step = Step('train', 'train', ['-c', 'pass'], work_dir=work_dir)
    with pytest.raises(ValueError, match='train was stopped'):
        take_all([step], tmp_path / 'root')
    assert not (tmp_path / 'root/train.done').exists()


def test_another_training_in_the_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr('mmrca.folder_lock.PATIENCE', 0.0)
    cfg = config(tiny.write_images(tmp_path / 'data', LABELS), True, 0)
    with (
        sole_user(tmp_path / 'work'),
        pytest.raises(ValueError, match='another run uses'),
    ):
        train(cfg, tmp_path / 'work')
    train(cfg, tmp_path / 'work')


def test_what_a_killed_training_left_is_removed(tmp_path):
    cfg = config(tiny.write_images(tmp_path / 'data', LABELS), True, 0)
    work_dir = tmp_path / 'work'
    work_dir.mkdir()
    left = work_dir / '.epoch_1.pth.999999999.part'
    alive = work_dir / f'.epoch_1.pth.{os.getppid()}.part'
    for path in (left, alive):
        path.touch()
    train(cfg, work_dir)
    assert [*work_dir.glob('.*.part')] == [alive]


@pytest.mark.parametrize('size', [5_000, 50_000])
def test_a_full_disk_says_so(tmp_path, size):
    """torch's own complaint hides that of the disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        with pytest.raises(OSError, match=r'too large.*a\.pth'):
            write_checkpoint(tmp_path / 'a.pth', dict(w=torch.zeros(99_999)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [*tmp_path.iterdir()] == []
