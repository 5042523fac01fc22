from pathlib import Path

import pytest
import torch

from tests import tiny

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
            features = model.extract_feat(batch['inputs'])[0]
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


def test_the_gate_lets_nothing_pass_at_one(data):
    runner = frozen(data, **{'custom_hooks.0.gate': 1.0})
    memory = runner.model.memory
    assert not memory.filled.any()
    assert not memory.prototype_valid.any()
    log = runner.message_hub.log_scalars
    assert log['train/gate_passed'].current() == 0
    assert all(torch.isfinite(p).all() for p in runner.model.parameters())


def test_saved_prototypes_are_means_of_saved_rows(data):
    tiny.runner(tiny.config(data)).train()
    saved = torch.load(data / 'work/epoch_2.pth', weights_only=False)
    state = {k: v for k, v in saved['state_dict'].items() if 'memory' in k}
    rows, filled = state['memory.rows'], state['memory.filled']
    for c, prototypes in enumerate(state['memory.prototypes']):
        own = rows[filled & (state['memory.row_class'] == c)]
        owner = torch.cdist(own, prototypes).argmin(dim=1)
        for k, prototype in enumerate(prototypes):
            torch.testing.assert_close(prototype, own[owner == k].mean(dim=0))


def test_the_contrast_waits_for_the_warm_up(data):
    cfg = tiny.config(data, **{'train_cfg.max_epochs': 3})
    cfg.custom_hooks[0].warm_up = 2
    seen = []
    runner = tiny.runner(cfg)
    step = runner.model.train_step
    runner.model.train_step = lambda *a, **k: seen.append(step(*a, **k))
    runner.train()
    losses = [out['loss_nce'].item() for out in seen]
    assert len(losses) == 9
    assert not any(losses[:6])
    assert all(losses[6:])


def test_training_without_the_hook_fails_at_once(data):
    cfg = tiny.config(data)
    cfg.custom_hooks = []
    with pytest.raises(ValueError, match='MemoryBankHook'):
        tiny.runner(cfg).train()


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


@pytest.mark.parametrize('by_epoch', [True, False])
def test_resuming_changes_no_bit(data, by_epoch):
    """Weights, optimizer, memory and prototypes, after 2 and 2 + 2."""

    def train(folder: str, length: int, **changes):
        cfg = tiny.config(data, work_dir=str(data / folder), **changes)
        if not by_epoch:
            length *= 3
            cfg.custom_hooks[0].update(
                by_epoch=False, warm_up=2, refresh_interval=2
            )
            cfg.train_dataloader.sampler.type = 'InfiniteSampler'
            cfg.default_hooks.checkpoint = dict(
                type='CheckpointHook', by_epoch=False, interval=3
            )
            cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=length)
        else:
            cfg.train_cfg.max_epochs = length
        runner = tiny.runner(cfg)
        runner.train()
        name = Path((data / folder / 'last_checkpoint').read_text()).name
        return torch.load(data / folder / name, weights_only=False)

    whole = train('whole', 4)
    train('parts', 2)
    parts = train('parts', 4, resume=True)
    assert whole['state_dict'].keys() == parts['state_dict'].keys()
    for key, value in whole['state_dict'].items():
        assert torch.equal(value, parts['state_dict'][key]), key
    ours, theirs = (c['optimizer']['state'] for c in (whole, parts))
    for key, state in ours.items():
        momentum = state['momentum_buffer']
        assert torch.equal(momentum, theirs[key]['momentum_buffer'])
