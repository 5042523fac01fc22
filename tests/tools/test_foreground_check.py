"""What a test and a training say of predictions without any class."""

import pytest
from foreground_check import ForegroundCheck
from mmengine.config import Config

from tests import tiny


@pytest.fixture
def runner(tmp_path, monkeypatch):
    """Background wins wherever no CAM exceeds ``threshold``."""

    monkeypatch.setattr(Config, 'pretty_text', '')  # slow

    def build(threshold):
        root = tiny.write_images(tmp_path, [[0], [1], [2], [0, 1]])
        config = tiny.config(root)
        config.model.test_cfg = dict(threshold=threshold)
        config.test_dataloader = config.val_dataloader
        config.test_evaluator = config.val_evaluator
        config.test_cfg = dict(type='TestLoop')
        built = tiny.runner(config)
        built.register_hook(ForegroundCheck())
        return built

    return build


@pytest.mark.parametrize('part', ['train', 'test'])
def test_background_everywhere_is_said(runner, capfd, part):
    built = runner(1.0)
    getattr(built, part)()
    key = 'test' if part == 'test' else 'val'
    figure = built.message_hub.get_scalar(f'{key}/foreground').current()
    assert figure == 0
    said = ''.join(capfd.readouterr())
    assert said.count('all background') == 1
    assert 'Train it longer' in said


def test_each_test_counts_anew(runner, capfd):
    built = runner(0.5)
    hub = built.message_hub
    shares = []
    for _ in range(2):
        built.test()
        shares.append(hub.get_scalar('test/foreground').current())
    assert 0 < shares[0] < 100
    assert shares[0] == shares[1]
    assert 'all background' not in ''.join(capfd.readouterr())
