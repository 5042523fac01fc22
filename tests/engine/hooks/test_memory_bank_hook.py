from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from tests import programs, tiny
from tests.ops import references as ref

LABELS = [[0], [1], [2], [0, 1], [1, 2], [0, 2], [0, 1, 2], [0], [1], [2]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tiny.write_images(tmp_path, LABELS)


def frozen(root: Path, **changes):
    """Train without learning: the embeddings stay what they are."""
    changes = {'optim_wrapper.optimizer.lr': 0.0, **changes}
    runner = tiny.runner(tiny.config(root, **changes))
    runner.train()
    return runner


def own_embeddings(runner) -> dict[int, torch.Tensor]:
    """Region embeddings of every row, one image at a time, by loops."""
    model, rows = runner.model.eval(), {}
    for index, item in enumerate(runner.train_dataloader.dataset):
        batch = dict(
            inputs=[item['inputs']], data_samples=[item['data_samples']]
        )
        with torch.no_grad():
            batch = model.data_preprocessor(batch, training=True)
            features = model.extract_feat(batch['inputs'])[-1][0]
            cam = model.cam_head(features[None])[0]
        inside = torch.zeros(cam.shape[1:], dtype=torch.bool)
        # 32 of 40 pixels at 5 cells: the last row and column are padding.
        inside[: 32 * len(inside) // 40, : 32 * len(inside) // 40] = True
        for c in LABELS[index]:
            mask = (cam[c] > cam[c][inside].mean()) & inside
            row = int(item['data_samples'].memory_row[c])
            rows[row] = features[:, mask].mean(dim=1)
    return rows


def test_each_pair_has_a_row_that_holds_its_region(data):
    runner = frozen(data)
    memory = runner.model.memory
    expected = own_embeddings(runner)
    assert sorted(expected) == list(range(sum(map(len, LABELS))))
    assert memory.filled.all()
    for row, region in expected.items():
        torch.testing.assert_close(memory.rows[row], region)


def test_momentum_weighs_the_old_value(data):
    runner = frozen(data, **{'train_cfg.max_epochs': 1})
    memory = runner.model.memory
    expected = own_embeddings(runner)
    memory.rows.add_(1.0)
    runner.train_loop._max_epochs = 2
    runner.train_loop.run()
    for row, region in expected.items():
        torch.testing.assert_close(memory.rows[row], region + 0.9)


def test_rows_are_shared_round_robin_under_a_cap(data):
    cap = {'train_dataloader.dataset.rows_per_class': 2}
    runner = frozen(data, **cap)
    memory, dataset = runner.model.memory, runner.train_dataloader.dataset
    assert memory.row_class.tolist() == [0, 0, 1, 1, 2, 2]
    visits = {0: 0, 1: 0, 2: 0}
    for index, classes in enumerate(LABELS):
        rows = [2 * c + visits[c] % 2 for c in classes]
        assert dataset.get_data_info(index)['memory_row'] == rows
        for c in classes:
            visits[c] += 1


def test_a_gaussian_start_counts_as_the_first_visit(data):
    noise = {'model.memory.gaussian_start': True}
    runner = frozen(data, **noise, **{'model.memory.gate': 1.0})
    start = runner.model.memory.rows
    assert runner.model.memory.filled.all()
    assert start.std() == pytest.approx(1, abs=0.1)
    runner = frozen(data, **noise, **{'train_cfg.max_epochs': 1})
    for row, region in own_embeddings(runner).items():
        torch.testing.assert_close(
            runner.model.memory.rows[row], 0.9 * start[row] + 0.1 * region
        )


def test_a_ring_takes_the_regions_of_a_class_in_turn(data):
    changes = {
        'model.memory.ring': True,
        'model.memory.momentum': 0.0,
        'train_dataloader.sampler.shuffle': False,
        'train_dataloader.dataset.rows_per_class': 3,
    }
    own = frozen(data, **{'model.memory.momentum': 0.0})
    by_row, dataset = own_embeddings(own), own.train_dataloader.dataset
    runner = frozen(data, **changes)
    memory, pointer = runner.model.memory, torch.zeros(3, dtype=torch.long)
    expected = {}
    for first in (0, 4, 8) * 2:
        batch = LABELS[first : first + 4]
        accepted = torch.tensor([[c in ls for c in range(3)] for ls in batch])
        index, pointer = ref.ring_rows(accepted, memory.row_class, pointer)
        pointer = torch.tensor(pointer)
        for (n, c), row in index.items():
            pair = dataset[first + n]['data_samples'].memory_row[c]
            expected.setdefault(row, []).append(by_row[int(pair)])
    assert torch.equal(memory.pointer, pointer)
    assert sorted(expected) == list(range(9))
    for row, regions in expected.items():
        torch.testing.assert_close(memory.rows[row], regions[-1])


@pytest.mark.parametrize('ring', [False, True])
def test_the_gate_lets_nothing_pass_at_one(data, ring):
    changes = {
        'model.memory.gate': 1.0,
        'model.memory.ring': ring,
        # A ring as long as an epoch would end where it began.
        'train_dataloader.dataset.rows_per_class': 3,
    }
    runner = frozen(data, **changes)
    memory = runner.model.memory
    assert not memory.pointer.any()
    assert not memory.filled.any()
    assert not memory.prototype_valid.any()
    log = runner.message_hub.log_scalars
    assert log['train/gate_passed'].current() == 0
    assert all(torch.isfinite(p).all() for p in runner.model.parameters())


@pytest.mark.parametrize('kmeans', ['torch', 'sklearn'])
def test_saved_prototypes_are_means_of_saved_rows(data, kmeans):
    tiny.runner(tiny.config(data, **{'model.memory.kmeans': kmeans})).train()
    saved = torch.load(data / 'work/epoch_2.pth', weights_only=False)
    state = {k: v for k, v in saved['state_dict'].items() if 'memory' in k}
    rows, filled = state['memory.rows'], state['memory.filled']
    for c, prototypes in enumerate(state['memory.prototypes']):
        own = rows[filled & (state['memory.row_class'] == c)]
        owner = torch.cdist(own, prototypes).argmin(dim=1)
        for k, prototype in enumerate(prototypes):
            torch.testing.assert_close(prototype, own[owner == k].mean(dim=0))


class Recorder(Hook):
    """Keeps the prototypes that each iteration starts with."""

    def __init__(self) -> None:
        self.seen = []

    def before_train_iter(self, runner, **_) -> None:
        self.seen.append(runner.model.memory.prototypes.clone())


@pytest.mark.parametrize(
    ('by_epoch', 'expected'), [(True, [6]), (False, [2, 4, 6, 8, 10])]
)
def test_prototypes_change_every_interval_and_then_only(
    data, by_epoch, expected
):
    cfg = stretch(tiny.config(data), by_epoch, 4)
    cfg.default_hooks.memory_bank.refresh_interval = 2
    runner, recorder = tiny.runner(cfg), Recorder()
    runner.register_hook(recorder)
    runner.train()
    pairs = zip(recorder.seen, recorder.seen[1:], strict=False)
    changed = [
        number
        for number, (old, new) in enumerate(pairs, 1)
        if not torch.equal(old, new)
    ]
    assert len(recorder.seen) == 12
    assert changed == expected


def test_the_log_shows_fill_age_gate_inertia_and_shift(data):
    changes = {
        'train_dataloader.sampler.shuffle': False,
        'train_cfg.max_epochs': 1,
    }
    runner = frozen(data, **changes)
    memory, log = runner.model.memory, runner.message_hub.log_scalars

    def last(name: str) -> float:
        return log[f'train/{name}'].current()

    # Three batches of 4, 4 and 2 images: rows were written in 0, 1 and 2.
    ages = [2 - n // 4 for n, classes in enumerate(LABELS) for _ in classes]
    assert last('memory_filled') == 1
    assert last('memory_age') == pytest.approx(sum(ages) / len(ages))
    assert last('gate_passed') == 1
    assert last('prototype_shift') == 0  # there was none before
    nearest = [
        torch.cdist(row[None], memory.prototypes[c])[0].min() ** 2
        for row, c in zip(memory.rows, memory.row_class, strict=True)
    ]
    assert last('kmeans_inertia') == pytest.approx(
        float(sum(nearest) / len(nearest)), rel=1e-3
    )
    before = memory.prototypes.mul_(2.0).clone()
    runner.train_loop._max_epochs = 2
    runner.train_loop.run()
    nearest = [
        min(float((new - old).norm()) for old in before[c])
        for c in range(3)
        for new in memory.prototypes[c]
    ]
    assert last('prototype_shift') == pytest.approx(
        sum(nearest) / len(nearest), rel=1e-3
    )


@pytest.mark.parametrize(
    ('by_epoch', 'warm_up', 'silent'),
    [(True, 2, 6), (False, 2, 2), (True, 0.4, 4), (False, 0.4, 4)],
)
def test_the_contrast_waits_for_the_warm_up(data, by_epoch, warm_up, silent):
    cfg = stretch(tiny.config(data), by_epoch, 3)
    cfg.default_hooks.memory_bank.warm_up = warm_up
    seen = []
    runner = tiny.runner(cfg)
    step = runner.model.train_step
    runner.model.train_step = lambda *a, **k: seen.append(step(*a, **k))
    runner.train()
    losses = [out['loss_nce'].item() for out in seen]
    assert len(losses) == 9
    assert not any(losses[:silent])
    assert all(losses[silent:])


def test_training_without_the_hook_fails_at_once(data):
    cfg = tiny.config(data)
    del cfg.default_hooks.memory_bank
    runner = tiny.runner(cfg)
    with pytest.raises(ValueError, match='MemoryBankHook'):
        runner.train()
    assert runner.iter == 0


def test_regions_that_nobody_writes_are_an_error(data):
    runner = frozen(data)
    model = runner.model
    batch = next(iter(runner.train_dataloader))
    batch = model.data_preprocessor(batch, training=True)
    model.loss(**batch)
    with pytest.raises(ValueError, match='MemoryBankHook'):
        model.loss(**batch)


def test_the_hook_without_a_memory_is_an_error(data):
    cfg = tiny.config(data)
    for part in ('memory', 'loss_nce', 'aggregation', 'cls_head'):
        cfg.model[part] = None
    with pytest.raises(ValueError, match=r'model\.memory'):
        tiny.runner(cfg).train()


def test_a_data_set_without_rows_is_an_error(data):
    cfg = tiny.config(data)
    given = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(
        type='BaseSegDataset',
        data_prefix=given.data_prefix,
        img_suffix='.png',
        metainfo=given.metainfo,
    )
    with pytest.raises(ValueError, match=r'ImageLevelDataset.* BaseSegData'):
        tiny.runner(cfg).train()


def test_validation_and_prediction_write_nothing(data):
    runner = frozen(data)
    before = {k: v.clone() for k, v in runner.model.state_dict().items()}
    runner.val_loop.run()
    after = runner.model.state_dict()
    for key, value in before.items():
        assert torch.equal(value, after[key]), key


def test_another_data_set_is_refused_on_resume(data, tmp_path):
    tiny.runner(tiny.config(data)).train()
    lines = (data / 'labels.txt').read_text().splitlines()
    (data / 'labels.txt').write_text('\n'.join(lines[::-1]) + '\n')
    cfg = tiny.config(data, resume=True, **{'train_cfg.max_epochs': 3})
    with pytest.raises(ValueError, match='another data set'):
        tiny.runner(cfg).train()


def stretch(cfg, by_epoch: bool, periods: int):
    """Train for a number of periods of three iterations each."""
    if by_epoch:
        cfg.train_cfg.max_epochs = periods
        return cfg
    cfg.default_hooks.memory_bank.update(
        by_epoch=False, warm_up=2, refresh_interval=2
    )
    cfg.train_dataloader.sampler.type = 'InfiniteSampler'
    cfg.default_hooks.checkpoint = dict(
        type='CheckpointHook', by_epoch=False, interval=3
    )
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=3 * periods)
    return cfg


def last_checkpoint(folder: Path) -> dict:
    name = Path((folder / 'last_checkpoint').read_text()).name
    return torch.load(folder / name, weights_only=False)


def assert_same_training(one: dict, other: dict) -> None:
    assert one['state_dict'].keys() == other['state_dict'].keys()
    for key, value in one['state_dict'].items():
        assert torch.equal(value, other['state_dict'][key]), key
    ours, theirs = (c['optimizer']['state'] for c in (one, other))
    assert ours.keys() == theirs.keys()
    for key, state in ours.items():
        momentum = state['momentum_buffer']
        assert torch.equal(momentum, theirs[key]['momentum_buffer'])


@pytest.mark.parametrize('by_epoch', [True, False])
@pytest.mark.parametrize('changes', [{}, tiny.AS_RELEASED])
def test_resuming_changes_no_bit(data, by_epoch, changes):
    """Weights, optimizer, memory and prototypes, after 4 and 2 + 2."""

    def train(folder: str, periods: int, **resume) -> dict:
        work_dir = data / folder
        cfg = tiny.config(data, work_dir=str(work_dir), **changes, **resume)
        tiny.runner(stretch(cfg, by_epoch, periods)).train()
        return last_checkpoint(work_dir)

    whole = train('whole', 4)
    train('parts', 2)
    assert_same_training(whole, train('parts', 4, resume=True))


@pytest.mark.slow
def test_a_compiled_training_gives_the_same_model(data):
    def train(folder: str, **changes) -> dict:
        cfg = tiny.config(data, work_dir=str(data / folder), **changes)
        tiny.runner(stretch(cfg, True, 1)).train()
        return last_checkpoint(data / folder)['state_dict']

    plain = train('plain')
    compiled = train('compiled', compile=dict(backend='aot_eager'))
    for key, value in plain.items():
        torch.testing.assert_close(compiled[key], value, msg=key)


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('warm_up', 'soon'),
        ('warm_up', -1),
        ('warm_up', 1.5),
        ('refresh_interval', 0),
    ],
)
def test_a_period_out_of_its_range_is_an_error(data, name, value):
    cfg = tiny.config(data)
    cfg.default_hooks.memory_bank[name] = value
    with pytest.raises(
        ValueError, match=f'MemoryBankHook.{name} is {value!r}'
    ):
        tiny.runner(cfg)


KILLER = """
import os, signal
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class KillOnce(Hook):
    priority = 'LOWEST'

    def after_train_iter(self, runner, **_):
        if runner.iter == 7 and not os.path.exists('killed'):
            open('killed', 'w').close()
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    'by_epoch', [True, pytest.param(False, marks=pytest.mark.slow)]
)
def test_a_killed_training_ends_as_an_unbroken_one(data, repo, by_epoch):
    (data / 'killer.py').write_text(KILLER)
    whole = stretch(tiny.config(data), by_epoch, 4)
    tiny.runner(whole).train()
    broken = stretch(tiny.config(data), by_epoch, 4)
    broken.custom_imports = dict(imports=['killer'])
    broken.custom_hooks = [dict(type='KillOnce')]
    broken.dump(data / 'config.py')
    tool = [repo / 'tools/train.py', 'config.py', '--work-dir', 'broken']
    path = f'{repo}:{data}'
    codes = [
        programs.run(*tool, '--resume', cwd=data, PYTHONPATH=path).returncode
        for _ in range(2)
    ]
    assert codes == [-9, 0]
    assert_same_training(
        last_checkpoint(data / 'work'), last_checkpoint(data / 'broken')
    )
