"""Prototypes made again, of a checkpoint that is there."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmrca.checkpoint import load_classifier
from tests import tiny
from tests.engine.hooks.test_prototype_cam_hook import LABELS, config
from tools.fill_prototypes import main


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    root = tiny.write_images(tmp_path_factory.mktemp('fill'), LABELS)
    cfg = config(root)
    tiny.runner(cfg).train()
    cfg.dump(root / 'config.py')
    return root, cfg


def weights(path):
    return torch.load(path, weights_only=True)['state_dict']


def checkpoint(cfg):
    return f'{cfg.work_dir}/epoch_1.pth'


def test_filling_again_gives_what_the_training_gave(trained, tmp_path):
    root, cfg = trained
    # Without the prototypes, as of a training that has none.
    saved = torch.load(checkpoint(cfg), weights_only=False)
    before = saved['state_dict']
    saved['state_dict'] = {
        k: v for k, v in before.items() if not k.startswith('prototype_cam')
    }
    torch.save(saved, tmp_path / 'plain.pth')
    for start in (checkpoint(cfg), str(tmp_path / 'plain.pth')):
        main([str(root / 'config.py'), start, str(tmp_path / 'out.pth')])
        after = weights(tmp_path / 'out.pth')
        assert after.keys() == before.keys()
        for name, value in before.items():
            torch.testing.assert_close(after[name], value, msg=name)


def test_corrections_change_the_prototypes_alone(trained, tmp_path, capsys):
    root, cfg = trained
    fixed = tmp_path / 'fixed'
    fixed.mkdir()
    mask = np.array(Image.open(root / 'masks/3.png'))
    Image.fromarray(mask).save(fixed / '3.png')
    out = tmp_path / 'new' / 'out.pth'
    main(
        [
            str(root / 'config.py'),
            checkpoint(cfg),
            str(out),
            '--corrections',
            str(fixed),
        ]
    )
    assert 'corrected labels: 1 of 10' in capsys.readouterr().out
    before, after = weights(checkpoint(cfg)), weights(out)
    changed = [k for k in before if not torch.equal(before[k], after[k])]
    assert changed
    assert all(name.startswith('prototype_cam.') for name in changed)


def test_a_checkpoint_with_batch_norms_gets_its_prototypes(tmp_path):
    cfg = config(tiny.write_images(tmp_path, LABELS), plain=True)
    cfg.model.backbone.norm_cfg = dict(type='BN')
    plain = cfg.copy()
    plain.model = cfg.model.copy()
    plain.model.prototype_cam = None
    plain.default_hooks = cfg.default_hooks.copy()
    del plain.default_hooks.prototype_cam
    tiny.runner(plain).train()
    cfg.dump(tmp_path / 'config.py')
    files = [checkpoint(cfg), str(tmp_path / 'out.pth')]
    main([str(tmp_path / 'config.py'), *files])
    assert load_classifier(cfg, files[1]).prototype_cam.filled
    before, after = map(weights, files)
    assert all(torch.equal(after[name], v) for name, v in before.items())


@pytest.mark.parametrize('fault', ['size', 'other', 'no map'])
def test_what_cannot_be_used_is_named(trained, tmp_path, fault):
    root, cfg = trained
    fixed, path = tmp_path / 'fixed', str(root / 'config.py')
    fixed.mkdir()
    name, size = ('stranger', 32) if fault == 'other' else ('3', 31)
    Image.fromarray(np.zeros((32, size), np.uint8)).save(fixed / f'{name}.png')
    named = {'size': '3.png', 'other': 'no PNG', 'no map': 'prototype_cam'}
    options = []
    if fault == 'no map':
        options = ['--cfg-options', 'model.prototype_cam=None']
    with pytest.raises((ValueError, FileNotFoundError), match=named[fault]):
        main(
            [
                path,
                checkpoint(cfg),
                str(tmp_path / 'out.pth'),
                '--corrections',
                str(fixed),
                *options,
            ]
        )
    assert not (tmp_path / 'out.pth').exists()
