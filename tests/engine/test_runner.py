from pathlib import Path

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
