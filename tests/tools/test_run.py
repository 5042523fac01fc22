"""One command from lists to a tested segmenter."""

import importlib.util
import json
from pathlib import Path

import pytest
from make_toy_data import main as make_toy_data

from mmrca.steps import CONFIGS

SHORT = ['--cfg-options', 'train_cfg.max_epochs=1', '--seg-options']
SHORT += ['train_cfg.max_iters=2', 'train_cfg.val_interval=2']
SHORT += ['train_dataloader.batch_size=4']


@pytest.fixture(scope='module')
def tool():
    path = Path(__file__).parents[2] / 'tools/run.py'
    spec = importlib.util.spec_from_file_location('run', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_segmenter_is_found_by_backbone_and_data(tool):
    for name, folder, found in (
        ('rca_r18_toy', 'rca', 'deeplabv3plus_r18_toy'),
        ('rca_r18_toy_paper', 'rca', 'deeplabv3plus_r18_toy'),
        (
            'cam_mobilenet-v2_8e_voc20-mini',
            'rca',
            'deeplabv3plus_mobilenet-v2_voc20-mini',
        ),
        (
            'rca_efficientnet-lite0_custom',
            'custom',
            'deeplabv3plus_efficientnet-lite0_custom',
        ),
    ):
        path = CONFIGS / folder / f'{name}.py'
        assert tool.find_segmenter(path).stem == found
    with pytest.raises(ValueError, match=r'mine\.py.*--segmenter'):
        tool.find_segmenter(Path('mine.py'))


def test_a_misspelt_option_of_the_segmenter_is_told_at_once(
    tool, tmp_path, monkeypatch
):
    for name in ('LABEL_DIR', 'CLASSIFIER'):
        monkeypatch.setenv(name, 'any')
    monkeypatch.syspath_prepend(Path(tool.__file__).parent)
    config = str(CONFIGS / 'rca_seg/deeplabv3plus_r18_toy.py')
    with pytest.raises(ValueError, match=r"'max_iter'.*'max_iters'"):
        tool.segmenter_steps(config, tmp_path, ['train_cfg.max_iter=30'])


def test_without_masks_a_summary_says_what_is_foreground(tool, tmp_path):
    share = dict(background=70.0, cat=20.0, unlabelled=10.0)
    record = dict(
        classes=['background', 'cat'], share=share, against_masks=None
    )
    (tmp_path / 'labels.json').write_text(json.dumps(record))
    labels = dict(foreground=20.0, unlabelled=10.0)
    assert tool.summarise(tmp_path) == dict(labels=labels)
    folder = tmp_path / 'test' / '20260101_000000'
    folder.mkdir(parents=True)
    (folder / 'x.json').write_text('{"foreground": 0.0, "time": 1.0}')
    found = tool.summarise(tmp_path)
    assert found == dict(labels=labels, segmenter=dict(foreground=0.0))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_road_on_drawn_images(tool, tmp_path, monkeypatch, capfd):
    data = tmp_path / 'data'
    monkeypatch.setattr(
        'sys.argv', ['x', str(data), '--train', '12', '--val', '4']
    )
    make_toy_data()
    monkeypatch.setenv('TOY_DATA', str(data))
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    out = tmp_path / 'out'
    config = str(CONFIGS / 'rca' / 'rca_r18_toy.py')
    args = [config, '--work-dir', str(out), *SHORT]
    tool.main(args)
    shown = capfd.readouterr().out
    for number in range(1, 5):
        assert f'[{number}/4]' in shown
    assert f'CLASSIFIER={out}/classifier/last.pth python' in shown
    summary = json.loads((out / 'summary.json').read_text())
    assert 0 <= summary['labels']['mIoU_strict'] <= 100
    assert 0 <= summary['segmenter']['mIoU'] <= 100
    assert 0 <= summary['segmenter']['foreground'] <= 100
    tool.main(args)
    assert capfd.readouterr().out.count('done before') == 4
