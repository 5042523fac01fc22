import tracemalloc
from pathlib import Path

import mmengine
import pytest
import torch

from mmrca.engine.runner import Runner
from tests import tiny


def test_long_lists_go_to_the_log_file_alone(tmp_path, capsys):
    config = tiny.config(tiny.write_images(tmp_path / 'data', [[0], [1]]))
    config.work_dir, config.log_level = str(tmp_path / 'work'), 'INFO'
    config.experiment_name = tmp_path.name
    config.optim_wrapper.paramwise_cfg = dict(
        custom_keys=dict(cam_head=dict(lr_mult=10))
    )
    runner = Runner.from_cfg(config)
    runner.train()
    runner.logger.info('one line')
    runner.logger.info('a table\nof another part')
    shown = capsys.readouterr().out
    log = next(Path(runner.log_dir).glob('*.log')).read_text()
    lists = ('System environment', 'Config:\n', 'Hooks will be', 'paramwise')
    for heading in lists:
        assert heading not in shown
        assert heading in log
    for said in ('SyncBatchNorm', 'The prefix is not set', 'Exp name'):
        assert said not in shown
        assert said in log
    assert str(runner.log_dir) in shown
    for line in ('one line', 'a table', 'of another part'):
        assert line in shown
        assert line in log


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp('trained') / 'data'
    config = tiny.config(tiny.write_images(root, [[0], [1], [2], [0, 1]]))
    config.experiment_name = root.parent.name
    config.train_cfg.max_epochs = 1
    runner = Runner.from_cfg(config)
    runner.train()
    return runner


def assert_same(ours, theirs):
    if isinstance(theirs, torch.Tensor):
        assert torch.equal(ours, theirs)
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key in theirs:
            assert_same(ours[key], theirs[key])
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert_same(a, b)
    elif not hasattr(theirs, '__dict__'):
        assert ours == theirs


@pytest.mark.parametrize('backend', [None, dict(backend='local')])
def test_a_checkpoint_is_mmengines(trained, tmp_path, backend):
    # What tells two savings apart.
    meta = dict(epoch=1, iter=1)
    new = str(tmp_path / 'new')
    trained.save_checkpoint(
        new, 'ours.pth', meta=dict(meta), backend_args=backend
    )
    mmengine.runner.Runner.save_checkpoint(
        trained, new, 'theirs.pth', meta=dict(meta)
    )
    ours, theirs = (
        torch.load(f'{new}/{name}.pth', weights_only=False)
        for name in ('ours', 'theirs')
    )
    for saved in (ours, theirs):
        del saved['meta']['time']
    assert ours['state_dict'] and ours['optimizer']['state']
    assert_same(ours, theirs)
    assert len(list(Path(new).iterdir())) == 2


def test_saving_holds_no_second_copy(trained, tmp_path):
    size = 2**24
    trained.model.register_buffer('rows', torch.zeros(size // 4))
    tracemalloc.start()
    trained.save_checkpoint(str(tmp_path), 'big.pth')
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    del trained.model.rows
    assert (tmp_path / 'big.pth').stat().st_size > size
    assert peak < size / 4


def test_a_failed_saving_leaves_the_last_one(trained, tmp_path):
    trained.save_checkpoint(str(tmp_path), 'last.pth')
    before = (tmp_path / 'last.pth').read_bytes()
    # Nothing can pickle a generator.
    with pytest.raises(TypeError, match='generator'):
        trained.save_checkpoint(
            str(tmp_path), 'last.pth', meta=dict(odd=iter(x for x in 'ab'))
        )
    assert [p.name for p in tmp_path.iterdir()] == ['last.pth']
    assert (tmp_path / 'last.pth').read_bytes() == before
