import torch

from benchmarks.prototype_cam import fill_checkpoint
from mmrca.checkpoint import load_classifier
from tests import tiny
from tests.engine.hooks.test_prototype_cam_hook import LABELS, config


def test_a_checkpoint_with_batch_norms_gets_its_prototypes(tmp_path):
    cfg = config(tiny.write_images(tmp_path, LABELS), plain=True)
    cfg.model.backbone.norm_cfg = dict(type='BN')
    plain = cfg.copy()
    plain.model = cfg.model.copy()
    plain.model.prototype_cam = None
    plain.default_hooks = cfg.default_hooks.copy()
    del plain.default_hooks.prototype_cam
    tiny.runner(plain).train()
    trained = tmp_path / 'work/epoch_1.pth'
    cfg.randomness = dict(seed=0)
    fill_checkpoint(cfg, str(trained), str(tmp_path / 'out.pth'))
    assert load_classifier(cfg, str(tmp_path / 'out.pth')).prototype_cam.filled
    before, after = (
        torch.load(path, weights_only=False)['state_dict']
        for path in (trained, tmp_path / 'out.pth')
    )
    assert all(torch.equal(after[name], v) for name, v in before.items())
