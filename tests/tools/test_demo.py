import importlib.util
from pathlib import Path

import pytest
from mmengine.config import Config

from mmrca.steps import Step

TOOL = Path(__file__).parents[2] / 'tools' / 'demo.py'


@pytest.fixture(scope='module')
def demo():
    spec = importlib.util.spec_from_file_location('demo', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def steps_of(demo, root: Path) -> list[Step]:
    stages = demo.road(root)
    return [s for g in stages for s in ([g] if isinstance(g, Step) else g)]


def test_every_command_of_the_road_is_a_tool_with_its_inputs(demo, tmp_path):
    steps = steps_of(demo, tmp_path)
    assert len({s.name for s in steps}) == len(steps)
    for taken in steps:
        tool, *arguments = taken.command
        assert Path(tool).is_file()
        configs = [a for a in arguments if str(a).endswith('.py')]
        assert all(Path(config).is_file() for config in configs)


def test_segmenters_learn_from_labels_and_from_masks(demo, tmp_path):
    steps = {step.name: step.variables for step in steps_of(demo, tmp_path)}
    data = str(tmp_path / 'data')
    assert all(v['TOY_DATA'] == data for k, v in steps.items() if k != 'data')
    labels = str(tmp_path / 'labels_rca')
    assert steps['deeplab']['LABEL_DIR'] == labels
    masks = str(tmp_path / 'data/SegmentationClass')
    assert steps['deeplab_full']['LABEL_DIR'] == masks
    for name in ('deeplab', 'deeplab_full'):
        assert steps[name]['CLASSIFIER'] == str(tmp_path / 'rca/last.pth')


def test_the_last_validation_counts(demo, tmp_path):
    for stamp, lines in (
        ('20260101_000001', ['{"loss": 1.0}', '{"mIoU": 40.0, "step": 1}']),
        ('20260101_000002', ['{"mIoU": 50.5, "step": 2}', '{"loss": 0.1}']),
    ):
        folder = tmp_path / stamp / 'vis_data'
        folder.mkdir(parents=True)
        (folder / 'scalars.json').write_text('\n'.join(lines) + '\n')
    assert demo._validated(tmp_path) == 50.5


def test_the_demo_validates_when_its_trainings_end(demo, tmp_path):
    for taken in steps_of(demo, tmp_path):
        if Path(taken.command[0]).name != 'train.py':
            continue
        cfg = Config.fromfile(taken.command[1]).train_cfg
        length = cfg.get('max_epochs') or cfg.max_iters
        assert taken.command[-1] == f'train_cfg.val_interval={length}'


def test_the_table_shows_every_metric(demo):
    keys = [
        'plain_cam',
        'rca_cam',
        'pseudo_label_strict',
        'pseudo_label_labelled',
        'coverage',
        'deeplab',
        'deeplab_full',
    ]
    summary = {key: 10.0 + number for number, key in enumerate(keys)}
    text = demo.table(summary)
    assert all(f'{value:.1f}' in text for value in summary.values())
