"""Any model of timm is a backbone, with weights under timm's names."""

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from mmrca.checkpoint import check_backbone
from mmrca.registry import MODELS

timm = pytest.importorskip('timm')
VIT = dict(img_size=64, dynamic_img_size=True, dynamic_img_pad=True)
# Options as in docs/backbones.md, and the shapes of a 64 x 96 image's maps.
RECIPES = {
    'resnet10t': (
        dict(out_indices=(3, 4), output_stride=16),
        [(256, 4, 6), (512, 4, 6)],
    ),
    'tf_efficientnet_lite0': (
        dict(out_indices=(3, 4), output_stride=16),
        [(112, 4, 6), (320, 4, 6)],
    ),
    'convnext_atto': (
        dict(out_indices=(2, 3), output_stride=16),
        [(160, 4, 6), (320, 4, 6)],
    ),
    'vit_tiny_patch16_224': (
        dict(VIT, out_indices=(8, 11)),
        [(192, 4, 6), (192, 4, 6)],
    ),
}


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')


def build(name: str, path=None, **options) -> torch.nn.Module:
    init = dict(type='Pretrained', _scope_='mmrca', checkpoint=str(path))
    channels = RECIPES[name][1][-1][0]
    config = dict(
        type='mmrca.RCA',
        backbone=dict(
            type='mmpretrain.TIMMBackbone',
            model_name=name,
            features_only=True,
            init_cfg=init if path else None,
            **RECIPES[name][0] | options,
        ),
        cam_head=dict(
            type='mmrca.CAMHead', in_channels=channels, num_classes=2
        ),
    )
    model = MODELS.build(config)
    model.init_weights()
    return model


@pytest.mark.parametrize('name', RECIPES)
def test_it_gives_maps_and_trains(name):
    model = build(name)
    maps = model.extract_feat(torch.randn(2, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == RECIPES[name][1]
    model.cam_head(maps[-1]).square().mean().backward()
    gradients = [p.grad for p in model.parameters()]
    assert all(g is not None for g in gradients)


@pytest.mark.parametrize('name', RECIPES)
def test_timms_file_loads_under_its_names(name, tmp_path):
    options = VIT if name.startswith('vit') else {}
    theirs = timm.create_model(name, **options).eval()
    state = theirs.state_dict()
    for value in state.values():
        if value.is_floating_point():
            torch.nn.init.uniform_(value, 0.5, 1.5)
    torch.save(state, tmp_path / 'timm.pth')
    ours = build(name, tmp_path / 'timm.pth').backbone.timm_model
    flat = {key.replace('_', '.'): value for key, value in state.items()}
    for key, value in ours.state_dict().items():
        known = flat[key.removeprefix('model.').replace('_', '.')]
        assert torch.equal(value, known), key


def test_a_file_that_lacks_weights_is_refused(tmp_path):
    state = timm.create_model('resnet10t').state_dict()
    del state['layer1.0.conv1.weight']
    torch.save(state, tmp_path / 'part.pth')
    with pytest.raises(ValueError, match=r'part\.pth lacks 1 weights.*layer1'):
        build('resnet10t', tmp_path / 'part.pth')


def test_what_timm_says_of_normalisation_is_compared(tmp_path, caplog):
    path = tmp_path / 'timm.pth'
    torch.save(timm.create_model('resnet10t').state_dict(), path)
    model = build('resnet10t', path)
    cfg = dict(type='SegDataPreProcessor', mean=[127.0] * 3, std=[128.0] * 3)
    model.data_preprocessor = MODELS.build(cfg)
    config = Config(dict(backbone=dict(init_cfg=model.backbone.init_cfg)))
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    check_backbone(model, config)
    logger.removeHandler(caplog.handler)
    assert '123.675' in caplog.text
