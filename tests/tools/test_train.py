"""How tools/train.py and tools/test.py answer a command line."""

import json
import os
import re
import runpy
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmrca.registry import MODELS
from tests import tiny


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'empty.py'
    path.write_text("optim_wrapper = dict(type='OptimWrapper')\n")
    return str(path)


@pytest.fixture
def tool(repo, monkeypatch, capsys, tmp_path):
    """Run a tool that is expected to fail; return status and stderr."""

    def call(name, *args):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, 'argv', [name, *args])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(repo / 'tools' / name), run_name='__main__')
        return end.value.code, capsys.readouterr().err

    return call


@pytest.mark.parametrize('name', ['train.py', 'test.py'])
def test_missing_config(tool, name):
    args = ['nowhere.py'] + ['last.pth'] * (name == 'test.py')
    status, err = tool(name, *args)
    assert status == 2
    assert 'nowhere.py' in err


@pytest.mark.parametrize(
    'args',
    [
        ('train.py', '--resume', 'nowhere.pth'),
        ('test.py', 'nowhere.pth'),
    ],
)
def test_missing_checkpoint(tool, config, args):
    name, *rest = args
    status, err = tool(name, config, *rest)
    assert status == 2
    assert 'nowhere.pth' in err


def test_a_checkpoint_that_was_cut_off_is_passed_over(repo, tmp_path):
    spec = spec_from_file_location('train', repo / 'tools' / 'train.py')
    train = module_from_spec(spec)
    spec.loader.exec_module(train)
    assert train.latest_checkpoint(str(tmp_path)) is None
    whole, cut = tmp_path / 'epoch_1.pth', tmp_path / 'epoch_2.pth'
    torch.save(dict(weight=torch.zeros(9)), whole)
    cut.write_bytes(whole.read_bytes()[:-50])
    os.utime(whole, (1, 1))
    assert train.latest_checkpoint(str(tmp_path)) == str(whole)


def test_a_dotted_option_of_no_section_is_refused(tool, config):
    options = ['--cfg-options', 'pseudo_lable.margin=0.1']
    status, err = tool('train.py', config, *options)
    assert status == 2
    assert "the config has no 'pseudo_lable'" in err


def test_heads_of_other_classes_than_the_data_are_refused(tool, config):
    options = [
        'train_dataloader.dataset.metainfo.classes=[background,cat,dog]',
        'model.decode_head.num_classes=7',
    ]
    text = Path(config).read_text()
    Path(config).write_text(
        text + 'train_dataloader = dict(dataset=dict(metainfo=dict()))\n'
        'model = dict(decode_head=dict())\n'
    )
    status, err = tool('train.py', config, '--cfg-options', *options)
    assert status == 2
    assert 'model.decode_head.num_classes is 7, the data set has 3' in err


def test_amp_on_the_cpu(tool, config, monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    status, err = tool('train.py', config, '--amp')
    assert status == 2
    assert '--amp' in err


@pytest.fixture
def tiny_config(tmp_path):
    """A config file on two images, with room for four in an iteration."""
    cfg = tiny.config(tiny.write_images(tmp_path / 'data', [[0], [1]]))
    cfg.experiment_name = f'tiny_{tmp_path.name}'
    cfg.test_dataloader = cfg.val_dataloader
    cfg.test_evaluator, cfg.test_cfg = cfg.val_evaluator, dict(type='TestLoop')
    cfg.auto_scale_lr = dict(enable=False, base_batch_size=16)
    cfg.train_cfg.max_epochs = 1
    cfg.dump(tmp_path / 'tiny.py')
    return cfg, str(tmp_path / 'tiny.py')


@pytest.mark.parametrize(
    ('arguments', 'share'), [([], 1), (['--auto-scale-lr'], 4 / 16)]
)
def test_the_learning_rate_follows_the_batch_size(
    repo, monkeypatch, tmp_path, tiny_config, arguments, share
):
    cfg, path = tiny_config
    monkeypatch.setattr(sys, 'argv', ['train.py', path, *arguments])
    runpy.run_path(str(repo / 'tools/train.py'), run_name='__main__')
    (log,) = Path(cfg.work_dir).glob('*/vis_data/scalars.json')
    first = json.loads(log.read_text().splitlines()[0])
    assert first['lr'] == pytest.approx(cfg.optim_wrapper.optimizer.lr * share)


def test_auto_scale_lr_needs_a_base(tool, config):
    status, err = tool('train.py', config, '--auto-scale-lr')
    assert status == 2
    assert 'needs auto_scale_lr.base_batch_size' in err


@pytest.mark.parametrize('kind', ['another', 'broken'])
def test_a_checkpoint_of_another_model_is_not_measured(
    tool, tmp_path, tiny_config, kind
):
    cfg, path = tiny_config
    checkpoint = tmp_path / 'model.pth'
    if kind == 'another':
        cfg.model.cls_head = cfg.model.aggregation = None
        torch.save(MODELS.build(cfg.model).state_dict(), checkpoint)
        message = r'model\.pth lacks 1 weights, such as cls_head\.conv'
    else:
        checkpoint.write_text('no checkpoint')
        message = r'model\.pth'
    status, err = tool('test.py', path, str(checkpoint))
    assert status == 2
    assert re.search(message, err.splitlines()[-1])


def test_unknown_option(tool, config):
    status, err = tool('train.py', config, '--learning-rate', '1')
    assert status == 2
    assert 'unrecognized arguments: --learning-rate' in err


def test_a_number_that_is_a_word_is_named_before_training(tool, tmp_path):
    cfg = tiny.config(tiny.write_images(tmp_path, [[0], [1]]))
    cfg.dump(tmp_path / 'config.py')
    path = str(tmp_path / 'config.py')
    status, err = tool(
        'train.py', path, '--cfg-options', 'train_cfg.max_epochs=x'
    )
    assert status == 2
    assert "train_cfg.max_epochs is 'x'" in err


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('model.backbone.depth', 17),
        ('model.aggregation.detach', 'maybe'),
        ('optim_wrapper.optimizer.lr', 'fast'),
        ('train_dataloader.num_workers', 'many'),
        ('default_hooks.logger.interval', 'often'),
        ('default_hooks.logger.type', 17),
        ('train_dataloader.sampler.shuffle', 'maybe'),
        ('train_cfg.max_epochs', 0),
        ('train_cfg.val_interval', 0),
        ('train_dataloader.batch_size', 0),
        ('model.data_preprocessor.size', 'word'),
        ('default_hooks.checkpoint.interval', -7),
        ('optim_wrapper.clip_grad.max_norm', -7),
    ],
)
def test_an_option_of_the_wrong_kind_is_named(tool, tmp_path, key, value):
    cfg = tiny.config(tiny.write_images(tmp_path, [[0], [1]]))
    cfg.dump(tmp_path / 'config.py')
    path = str(tmp_path / 'config.py')
    option = f'{key}={value}'
    status, err = tool('train.py', path, '--cfg-options', option)
    assert status == 2
    last = err.splitlines()[-1]
    assert last.startswith('error: ')
    assert key.split('.')[-1] in last
    assert str(value) in last or value == 17


@pytest.mark.parametrize(
    ('key', 'meant'),
    [
        ('train_cfg.max_epoch', 'max_epochs'),
        ('default_hooks.logger.intervall', 'interval'),
        ('train_dataloader.sampler.shufle', 'shuffle'),
        ('optim_wrapper.clip_gradd', 'clip_grad'),
        ('model.backbone.deepth', 'depth'),
        ('model.cam_head.in_chanels', 'in_channels'),
    ],
)
def test_a_misspelt_option_is_answered_by_the_right_one(
    tool, tmp_path, key, meant
):
    cfg = tiny.config(tiny.write_images(tmp_path, [[0], [1]]))
    cfg.dump(tmp_path / 'config.py')
    path = str(tmp_path / 'config.py')
    status, err = tool('train.py', path, '--cfg-options', f'{key}=3')
    assert status == 2
    last = err.splitlines()[-1]
    name = key.split('.')[-1]
    assert f"has no option '{name}'; did you mean '{meant}'?" in last


def test_a_training_says_how_long_it_is(
    repo, monkeypatch, capsys, tiny_config
):
    _, path = tiny_config
    text = Path(path).read_text()
    text += "param_scheduler = [dict(type='PolyLR', end=8)]\n"
    text += "log_level = 'INFO'\n"
    Path(path).write_text(text)
    monkeypatch.setattr(sys, 'argv', ['train.py', path])
    runpy.run_path(str(repo / 'tools/train.py'), run_name='__main__')
    said = capsys.readouterr().out
    assert '2 images, 1 epochs, 1 iterations of 4 images' in said
    assert 'Validation: 2 images, against their masks' in said
    assert 'No training image shows blue' in said
    assert 'param_scheduler.0.end=1' in said


def test_a_metric_of_masks_wants_masks_before_training(tool, tmp_path):
    cfg = tiny.config(tiny.write_images(tmp_path, [[0], [1]]))
    cfg.val_dataloader.dataset.pipeline.pop(1)
    cfg.val_evaluator = dict(type='IoUMetric')
    for key in ('dataloader', 'evaluator', 'cfg'):
        cfg[f'test_{key}'] = cfg[f'val_{key}']
    cfg.test_cfg = dict(type='TestLoop')
    cfg.dump(tmp_path / 'config.py')
    path = str(tmp_path / 'config.py')
    status, err = tool('train.py', path)
    assert status == 2
    assert 'val_evaluator is an IoUMetric' in err
    model = tiny.runner(tiny.config(tmp_path)).model
    torch.save(model.state_dict(), tmp_path / 'last.pth')
    status, err = tool('test.py', path, str(tmp_path / 'last.pth'))
    assert status == 2
    assert 'test_evaluator is an IoUMetric' in err


@pytest.mark.parametrize('name', ['train.py', 'test.py'])
def test_a_shortened_option_is_not_guessed(tool, config, name):
    rest = ['last.pth'] if name == 'test.py' else []
    status, err = tool(name, config, *rest, '--work', 'x')
    assert status == 2
    assert '--work' in err


def test_launcher_without_torchrun(tool, config, monkeypatch):
    monkeypatch.delenv('RANK', raising=False)
    status, err = tool('train.py', config, '--launcher', 'pytorch')
    assert status == 2
    assert 'torchrun' in err


@pytest.mark.parametrize(
    ('option', 'key'),
    [
        (('--tta',), 'tta_model'),
        (('--show-dir', 'shown'), 'visualization'),
    ],
)
def test_an_option_the_config_is_not_made_for(
    tool, tmp_path, monkeypatch, option, key
):
    path = tmp_path / 'cam.py'
    path.write_text("test_evaluator = dict(type='mmrca.CAMMetric')\n")
    (tmp_path / 'last.pth').touch()
    status, err = tool(
        'test.py', str(path), str(tmp_path / 'last.pth'), *option
    )
    assert status == 2
    assert key in err


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (dict(state_dict=dict(w=torch.ones(1))), 'no state of a training'),
        (None, 'last.pth'),
    ],
)
def test_resume_wants_the_checkpoint_of_a_training(
    tool, config, tmp_path, content, said
):
    path = tmp_path / 'last.pth'
    if content is None:
        path.write_text('garbage')
    else:
        torch.save(content, path)
    status, err = tool('train.py', config, '--resume', str(path))
    assert status == 2
    assert said in err
    assert err.count('\n') == 1


def segmenter(repo, root: Path, wrapped: bool = False) -> str:
    """Write a stock segmenter's config for two images and their labels."""
    for folder, suffix in (('JPEGImages', '.jpg'), ('labels', '.png')):
        (root / folder).mkdir()
        for name in ('a', 'b'):
            Image.new('L', (8, 6), 1).save(root / folder / f'{name}{suffix}')
    (root / 'ids.txt').write_text('a\nb\n')
    cfg = Config.fromfile(repo / 'configs/rca_seg/deeplabv3plus_r18_toy.py')
    given = cfg.train_dataloader.dataset
    given.ann_file = f'{root}/ids.txt'
    given.data_prefix.img_path = f'{root}/JPEGImages'
    given.data_prefix.seg_map_path = f'{root}/labels'
    if wrapped:
        cfg.train_dataloader.dataset = dict(
            type='RepeatDataset', times=1, dataset=given
        )
    cfg.model.backbone.init_cfg = None
    cfg.dump(root / 'segmenter.py')
    return str(root / 'segmenter.py')


@pytest.mark.parametrize('wrapped', [False, True])
@pytest.mark.parametrize('gone', ['JPEGImages/b.jpg', 'labels/b.png'])
def test_a_segmenter_misses_a_file_before_it_trains(
    tool, repo, tmp_path, gone, wrapped
):
    path = segmenter(repo, tmp_path, wrapped)
    (tmp_path / gone).unlink()
    status, err = tool('train.py', path)
    assert status == 2
    assert '1 of the 4 images and labels' in err
    assert gone in err
    assert 'LABEL_DIR' in err


@pytest.mark.parametrize(
    ('label', 'says'),
    [
        (Image.new('L', (8, 6), 9), r'labels/b\.png holds 9'),
        (Image.new('RGB', (8, 6)), r'labels/b\.png .* RGB'),
        (Image.new('L', (6, 8), 1), r'labels/b\.png is 6 x 8 .* 8 x 6'),
    ],
)
def test_a_label_that_cannot_be_learned_from_is_named(
    tool, repo, tmp_path, label, says
):
    path = segmenter(repo, tmp_path)
    label.save(tmp_path / 'labels/b.png')
    status, err = tool('train.py', path)
    assert status == 2
    assert re.search(says, err)


def test_labels_without_any_class_are_refused(tool, repo, tmp_path):
    path = segmenter(repo, tmp_path)
    for name, value in (('a', 0), ('b', 255)):
        Image.new('L', (8, 6), value).save(tmp_path / f'labels/{name}.png')
    status, err = tool('train.py', path)
    assert status == 2
    assert 'shows a class' in err
    assert '255' in err


def test_labels_of_other_classes_are_refused(tool, repo, tmp_path):
    path = segmenter(repo, tmp_path)
    recipe = dict(classes=['background', 'dog', 'bus'])
    manifest = tmp_path / 'labels/manifest.json'
    manifest.write_text(json.dumps(dict(recipe=recipe)))
    status, err = tool('train.py', path)
    assert status == 2
    assert 'dog, bus' in err


@pytest.mark.parametrize('labels', [[[0], [0]], [[0, 1], [0, 1]]])
def test_classes_that_every_image_shows_cannot_be_learned(
    tool, tmp_path, labels
):
    cfg = tiny.config(tiny.write_images(tmp_path, labels))
    cfg.dump(tmp_path / 'config.py')
    status, err = tool('train.py', str(tmp_path / 'config.py'))
    assert status == 2
    assert 'every training image shows red' in err


def test_a_missing_folder_is_named_with_its_variable(
    tool, repo, tmp_path, monkeypatch
):
    path = str(repo / 'configs/rca/cam_r18_toy.py')
    monkeypatch.setenv('TOY_DATA', str(tmp_path / 'nowhere'))
    status, err = tool('train.py', path)
    assert status == 2
    assert 'TOY_DATA' in err
    monkeypatch.delenv('TOY_DATA')
    status, err = tool('train.py', path)
    assert status == 2
    assert 'TOY_DATA is not set' in err
