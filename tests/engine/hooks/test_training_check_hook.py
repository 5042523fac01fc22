from pathlib import Path

import pytest
import torch

from tests import tiny

LABELS = [[0], [1], [2], [0, 1], [1, 2], [0, 2], [0, 1, 2], [0]]


def config(root: Path, **hook):
    cfg = tiny.config(tiny.write_images(root, LABELS))
    cfg.default_hooks.training_check = dict(
        type='mmrca.TrainingCheckHook', **hook
    )
    return cfg


def finite(checkpoint: Path) -> bool:
    state = torch.load(checkpoint, weights_only=False)['state_dict']
    return all(bool(torch.isfinite(v).all()) for v in state.values())


def test_broken_weights_are_not_saved(tmp_path):
    cfg = config(tmp_path)
    cfg.train_cfg.max_epochs = 4
    # The second epoch's rate is past all bounds.
    cfg.param_scheduler = [
        dict(type='MultiStepLR', by_epoch=True, milestones=[1], gamma=1e30)
    ]
    with pytest.raises(ValueError, match=r'diverges.*rate \(5e\+28 now') as e:
        tiny.runner(cfg).train()
    assert 'clip_grad' in str(e.value)
    saved = list((tmp_path / 'work').glob('*.pth'))
    assert [file.name for file in saved] == ['epoch_1.pth']
    assert 'epoch_1.pth is from before' in str(e.value)
    assert finite(saved[0])


def test_a_loss_that_stays_high_stops_the_training(tmp_path):
    cfg = config(tmp_path, interval=1, factor=0.01, patience=2)
    with pytest.raises(ValueError, match='around iteration 2 ') as error:
        tiny.runner(cfg).train()
    assert 'No checkpoint was saved' in str(error.value)


def test_a_resumed_training_is_held_against_the_first_loss(tmp_path):
    cfg = config(tmp_path, interval=1)
    cfg.train_cfg.max_epochs = 1
    first = tiny.runner(cfg)
    first.train()
    start = first.message_hub.get_info('loss_at_start')
    cfg.resume, cfg.train_cfg.max_epochs = True, 2
    second = tiny.runner(cfg)
    second.train()
    assert second.message_hub.get_info('loss_at_start') == start
    hook = next(h for h in second.hooks if type(h).__name__.startswith('Tr'))
    assert hook._start == start


def test_the_log_ends_with_what_was_learned(tmp_path):
    cfg = config(tmp_path)
    cfg.log_level = 'INFO'
    runner = tiny.runner(cfg)
    runner.train()
    log = next((tmp_path / 'work').rglob('*.log')).read_text()
    score = runner.message_hub.get_scalar('val/mAP').current()
    assert f'a mAP of {score:.1f} on 8 validation images: too few' in log
