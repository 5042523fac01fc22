"""Each backbone's map, and that its layers are where the weights expect."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchvision
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch.nn import MaxPool2d

from mmrca.models import VGG16, EfficientNetLite, ResNet38
from mmrca.registry import MODELS

CONFIGS = Path(__file__).parents[2] / 'configs/rca'
STRIDES = {
    'rca_vgg16_30e_voc12': 8,
    'rca_resnet38_30e_voc12': 8,
    'rca_r50-d8_30e_voc12_paper': 8,
    'rca_r50-d16_30e_voc12': 16,
    'rca_r101-d8_30e_voc12_paper': 8,
    'rca_r101-d16_30e_voc12': 16,
    'rca_vit-b16_8e_voc12': 16,
    'rca_convnext-t_8e_voc12': 32,
    'rca_dinov2-vits14_8e_voc12': 14,
    'rca_dinov2-vitb14_8e_voc12': 14,
    'rca_efficientnet-lite0_8e_coco14': 16,
    'rca_mobilenet-v2_8e_voc20-mini_cosine': 16,
    'rca_efficientnet-lite0_8e_voc20-mini': 16,
}


@pytest.mark.parametrize('name', STRIDES)
def test_the_map_has_the_stride_and_the_channels_of_the_config(name):
    init_default_scope('mmseg')
    config = Config.fromfile(CONFIGS / f'{name}.py').model
    config.backbone.init_cfg = None
    config.backbone.pop('frozen_stages', None)
    model = MODELS.build(config)
    inputs = torch.randn(2, 3, 64, 96)
    features = model.extract_feat(inputs)[-1]
    stride = STRIDES[name]
    channels = config.cam_head.in_channels
    size = -(-64 // stride), -(-96 // stride)
    assert features.shape == (2, channels, *size)
    assert features.dtype == inputs.dtype
    features.square().mean().backward()
    gradients = {n: p.grad for n, p in model.backbone.named_parameters()}
    first = next(g for g in gradients.values() if g.dim() == 4)
    assert torch.isfinite(first).all()
    assert first.abs().max() > 0
    unused = [n for n, g in gradients.items() if g is None]
    assert not unused  # several processes would wait for their gradients


@pytest.fixture(scope='module')
def torchvision_vgg():
    vgg = torchvision.models.vgg
    return vgg.make_layers(vgg.cfgs['D']).eval()


def test_vgg16_is_torchvisions_up_to_the_fourth_pooling(torchvision_vgg):
    ours = VGG16().eval()
    ours.features.load_state_dict(torchvision_vgg.state_dict())
    inputs = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(
        ours.features[:23](inputs), torchvision_vgg[:23](inputs)
    )


def test_vgg16s_last_stage_is_torchvisions_on_every_other_cell(
    torchvision_vgg,
):
    ours = VGG16().eval()
    ours.features.load_state_dict(torchvision_vgg.state_dict())
    before = torch.randn(1, 512, 10, 10)
    dilated = ours.features[24:](before)
    for row in (0, 1):
        for column in (0, 1):
            cells = (..., slice(row, None, 2), slice(column, None, 2))
            torch.testing.assert_close(
                dilated[cells], torchvision_vgg[24:30](before[cells])
            )


def test_vgg16s_stages_are_torchvisions_before_their_poolings(
    torchvision_vgg,
):
    ours = VGG16(out_indices=(1, 2, 3)).eval()
    ours.features.load_state_dict(torchvision_vgg.state_dict())
    inputs = torch.randn(1, 3, 64, 64)
    maps = ours(inputs)
    ends = [
        n for n, x in enumerate(torchvision_vgg) if isinstance(x, MaxPool2d)
    ]
    for found, end in zip(maps, ends[1:4], strict=True):
        torch.testing.assert_close(found, torchvision_vgg[:end](inputs))


# Of the published file: unit, input, and output channels by branch.
PLAIN_UNITS = {
    'b2': (64, 128, 128),
    'b2_1': (128, 128, 128),
    'b2_2': (128, 128, 128),
    'b3': (128, 256, 256),
    'b3_1': (256, 256, 256),
    'b3_2': (256, 256, 256),
    'b4': (256, 512, 512),
    'b4_1': (512, 512, 512),
    'b4_2': (512, 512, 512),
    'b4_3': (512, 512, 512),
    'b4_4': (512, 512, 512),
    'b4_5': (512, 512, 512),
    'b5': (512, 512, 1024),
    'b5_1': (1024, 512, 1024),
    'b5_2': (1024, 512, 1024),
}
BOTTLENECKS = {'b6': (1024, 512, 1024, 2048), 'b7': (2048, 1024, 2048, 4096)}
# First of their stage: (stride, dilation of the 3x3 convolutions).
SPREAD = {
    'b2': (2, (1, 1)),
    'b3': (2, (1, 1)),
    'b4': (2, (1, 1)),
    'b5': (1, (1, 2)),
    'b5_1': (1, (2, 2)),
    'b5_2': (1, (2, 2)),
}


def published_resnet38() -> dict[str, torch.Tensor]:
    """Random weights under the names of the file that people have."""
    state = {}

    def conv(name, channels, width, kernel):
        shape = (width, channels, kernel, kernel)
        fan = channels * kernel**2
        state[f'{name}.weight'] = torch.randn(shape) / fan**0.5

    def norm(name, channels):
        for part in ('weight', 'running_var'):
            state[f'{name}.{part}'] = torch.rand(channels) + 0.5
        for part in ('bias', 'running_mean'):
            state[f'{name}.{part}'] = torch.randn(channels) * 0.1

    conv('conv1a', 3, 64, 3)
    for unit, (first, middle, last) in PLAIN_UNITS.items():
        norm(f'{unit}.bn_branch2a', first)
        conv(f'{unit}.conv_branch2a', first, middle, 3)
        norm(f'{unit}.bn_branch2b1', middle)
        conv(f'{unit}.conv_branch2b1', middle, last, 3)
        if '_' not in unit:
            conv(f'{unit}.conv_branch1', first, last, 1)
    for unit, (first, low, middle, last) in BOTTLENECKS.items():
        norm(f'{unit}.bn_branch2a', first)
        conv(f'{unit}.conv_branch2a', first, low, 1)
        norm(f'{unit}.bn_branch2b1', low)
        conv(f'{unit}.conv_branch2b1', low, middle, 3)
        norm(f'{unit}.bn_branch2b2', middle)
        conv(f'{unit}.conv_branch2b2', middle, last, 1)
        conv(f'{unit}.conv_branch1', first, last, 1)
    norm('bn7', 4096)
    state['fc8.weight'] = torch.zeros(1000, 4096)
    state['fc8.bias'] = torch.zeros(1000)
    return state


def resnet38_by_hand(state: dict, inputs: torch.Tensor) -> dict:
    """Compute each unit's start from the file's weights, in evaluation mode.

    A stage's map is what the next stage's first unit starts with.
    """
    starts = {}

    def activate(name, x):
        parts = ('running_mean', 'running_var', 'weight', 'bias')
        return F.batch_norm(x, *(state[f'{name}.{p}'] for p in parts)).relu()

    def conv(name, x, stride=1, dilation=1):
        weight = state[f'{name}.weight']
        padding = dilation * (weight.shape[-1] // 2)
        return F.conv2d(x, weight, None, stride, padding, dilation)

    x = conv('conv1a', inputs)
    for unit in PLAIN_UNITS:
        stride, (a, b) = SPREAD.get(unit, (1, (1, 1)))
        y = starts[unit] = activate(f'{unit}.bn_branch2a', x)
        if '_' not in unit:
            x = conv(f'{unit}.conv_branch1', y, stride)
        y = conv(f'{unit}.conv_branch2a', y, stride, a)
        y = activate(f'{unit}.bn_branch2b1', y)
        x = x + conv(f'{unit}.conv_branch2b1', y, 1, b)
    for unit in BOTTLENECKS:
        y = starts[unit] = activate(f'{unit}.bn_branch2a', x)
        x = conv(f'{unit}.conv_branch1', y)
        y = conv(f'{unit}.conv_branch2a', y)
        y = activate(f'{unit}.bn_branch2b1', y)
        y = conv(f'{unit}.conv_branch2b1', y, 1, 4)
        y = activate(f'{unit}.bn_branch2b2', y)
        x = x + conv(f'{unit}.conv_branch2b2', y)
    return {**starts, 'end': activate('bn7', x)}


def test_resnet38_computes_what_the_published_weights_mean():
    state = published_resnet38()
    model = ResNet38(out_indices=tuple(range(6))).eval()
    outcome = model.load_state_dict(state, strict=False)
    assert not outcome.missing_keys
    assert set(outcome.unexpected_keys) == {'fc8.weight', 'fc8.bias'}
    inputs = torch.randn(1, 3, 48, 72)
    with torch.no_grad():
        maps = model(inputs)
        theirs = resnet38_by_hand(state, inputs)
    for ours, start in zip(
        maps, ('b3', 'b4', 'b5', 'b6', 'b7', 'end'), strict=True
    ):
        torch.testing.assert_close(ours, theirs[start], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('backbone', [VGG16, ResNet38, EfficientNetLite])
@pytest.mark.parametrize('indices', [(), (2, 1), (1, 1), (-1,), (9,)])
def test_stages_that_there_are_not(backbone, indices):
    with pytest.raises(ValueError, match=rf'{backbone.__name__}.out_indices'):
        backbone(out_indices=indices)


def test_resnet38_without_its_last_stage_is_refused():
    with pytest.raises(ValueError, match=r'ResNet38\.out_indices is \(3, 4\)'):
        ResNet38(out_indices=(3, 4))


@pytest.mark.parametrize('norm_eval', [True, False])
def test_resnet38_drops_channels_and_keeps_statistics_if_told(norm_eval):
    model = ResNet38(norm_eval=norm_eval).train()
    dropouts = {u: model.get_submodule(f'{u}.dropout') for u in ('b6', 'b7')}
    assert [d.p for d in dropouts.values()] == [0.3, 0.5]
    assert all(d.training for d in dropouts.values())
    before = model.bn7.running_mean.clone()
    with torch.no_grad():
        first, second = (model(torch.ones(2, 3, 16, 16))[0] for _ in range(2))
    assert torch.equal(model.bn7.running_mean, before) == norm_eval
    assert not torch.equal(first, second)
    model.eval()
    assert not model.b7.dropout.training


STAGES = tuple(range(7))


def randomise(model: torch.nn.Module) -> None:
    """Give norms other statistics and scales than 0 and 1."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for value in (module.weight, module.running_var):
                torch.nn.init.uniform_(value, 0.5, 1.5)
            for value in (module.bias, module.running_mean):
                torch.nn.init.normal_(value, std=0.1)


@pytest.mark.parametrize('arch', ['lite0', 'lite1', 'lite2'])
def test_efficientnet_lite_is_the_published_network(arch):
    package = pytest.importorskip('efficientnet_lite_pytorch')
    # Without a size it pads by each image, as TensorFlow does.
    theirs = package.EfficientNet.from_name(
        f'efficientnet-{arch}', image_size=None
    ).eval()
    randomise(theirs)
    ours = EfficientNetLite(arch, out_indices=STAGES).eval()
    outcome = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert not outcome.missing_keys
    left = {name.split('.')[0] for name in outcome.unexpected_keys}
    assert left == {'_conv_head', '_bn1', '_fc'}
    for size in ((64, 96), (75, 50)):
        inputs = torch.randn(1, 3, *size)
        with torch.no_grad():
            maps = ours(inputs)
            expected = theirs._swish(theirs._bn0(theirs._conv_stem(inputs)))
            blocks = []
            for block in theirs._blocks:
                expected = block(expected)
                blocks.append(expected)
        # A stage ends where channels or sizes change.
        shapes = [block.shape[1:] for block in blocks]
        ends = [
            block
            for block, shape, following in zip(
                blocks, shapes, [*shapes[1:], None], strict=True
            )
            if shape != following
        ]
        for found, wanted in zip(maps, ends, strict=True):
            torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize('stride', [8, 16])
def test_a_dilated_efficientnet_lite_is_the_plain_one_in_between(stride):
    plain = EfficientNetLite(out_indices=STAGES).eval()
    randomise(plain)
    dilated = EfficientNetLite(output_stride=stride, out_indices=STAGES).eval()
    dilated.load_state_dict(plain.state_dict())
    inputs = torch.randn(1, 3, 128, 192)
    with torch.no_grad():
        pairs = list(zip(plain(inputs), dilated(inputs), strict=True))
    assert pairs[-1][1].shape[2:] == (128 // stride, 192 // stride)
    for coarse, fine in pairs:
        step = fine.shape[2] // coarse.shape[2]
        # TensorFlow's padding puts a cell of stride 2 on its second pixel.
        cells = slice(step - 1, None, step)
        torch.testing.assert_close(fine[..., cells, cells], coarse)


def test_what_is_frozen_of_efficientnet_lite_stays():
    model = EfficientNetLite(frozen_stages=2, norm_eval=False).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    optimizer = torch.optim.SGD(
        [p for p in model.parameters() if p.requires_grad], lr=0.1
    )
    model(torch.randn(2, 3, 64, 64))[0].square().mean().backward()
    optimizer.step()
    changed = {
        '.'.join(k.split('.')[: 2 if k.startswith('_blocks') else 1])
        for k, v in model.state_dict().items()
        if not torch.equal(v, before[k])
    }
    assert changed == {f'_blocks.{n}' for n in range(3, 16)}


def test_efficientnet_lite_keeps_statistics_if_told():
    model = EfficientNetLite(norm_eval=True).train()
    before = model._bn0.running_mean.clone()
    model(torch.randn(2, 3, 32, 32))
    assert torch.equal(model._bn0.running_mean, before)


@pytest.mark.parametrize(
    'wrong',
    [
        dict(out_indices=(6, 3)),
        dict(out_indices=(3, 7)),
        dict(frozen_stages=8),
        dict(arch='lite9'),
        dict(output_stride=4),
    ],
)
def test_efficientnet_lite_names_a_wrong_option(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=rf'EfficientNetLite\.{name}'):
        EfficientNetLite(**wrong)
