"""Published ViTs compute in mmpretrain's type what their files mean."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor

from mmrca.registry import MODELS

DEPTH, WIDTH, HEADS, PATCH = 3, 24, 2, 14
ARCH = dict(
    embed_dims=WIDTH,
    num_layers=DEPTH,
    num_heads=HEADS,
    feedforward_channels=4 * WIDTH,
)
# What a file calls the parts that each computation below needs.
DINOV2 = dict(
    patch='patch_embed.proj',
    token='cls_token',
    positions='pos_embed',
    before=None,
    block='blocks.{}',
    norms=('norm1', 'norm2'),
    qkv=('attn.qkv.weight', 'attn.qkv.bias'),
    out='attn.proj',
    mlp=('mlp.fc1', 'mlp.fc2'),
    scales=('ls1.gamma', 'ls2.gamma'),
    last='norm',
)
CLIP = dict(
    patch='visual.conv1',
    token='visual.class_embedding',
    positions='visual.positional_embedding',
    before='visual.ln_pre',
    block='visual.transformer.resblocks.{}',
    norms=('ln_1', 'ln_2'),
    qkv=('attn.in_proj_weight', 'attn.in_proj_bias'),
    out='attn.out_proj',
    mlp=('mlp.c_fc', 'mlp.c_proj'),
    scales=None,
    last='visual.ln_post',
)
# The same parts under timm's names without what only DINOv2 has.
SUPERVISED = dict(DINOV2, scales=None)
FILES = dict(dinov2=DINOV2, clip=CLIP, supervised=SUPERVISED)
OPTIONS = dict(
    dinov2=dict(layer_scale_init_value=1e-5),
    clip=dict(
        pre_norm=True,
        norm_cfg=dict(type='LN', eps=1e-5),
        layer_cfgs=dict(act_cfg=dict(type='mmpretrain.QuickGELU')),
    ),
    supervised=dict(),
)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')


def published(kind: str, grid: int) -> dict[str, Tensor]:
    """Random weights of ``grid * grid`` patches under a file's names."""
    names, state = FILES[kind], {}

    def linear(name: str, rows: int, *columns: int, bias: bool = True):
        state[f'{name}.weight'] = torch.randn(rows, *columns) * 0.2
        if bias:
            state[f'{name}.bias'] = torch.randn(rows) * 0.2

    def norm(name: str):
        state[f'{name}.weight'] = torch.rand(WIDTH) + 0.5
        state[f'{name}.bias'] = torch.randn(WIDTH) * 0.2

    linear(names['patch'], WIDTH, 3, PATCH, PATCH, bias=kind != 'clip')
    tokens = (1,) if kind != 'clip' else ()
    state[names['token']] = torch.randn(*tokens, *tokens, WIDTH)
    state[names['positions']] = torch.randn(*tokens, 1 + grid**2, WIDTH)
    for number in range(DEPTH):
        block = names['block'].format(number)
        for name in names['norms']:
            norm(f'{block}.{name}')
        weight, bias = names['qkv']
        state[f'{block}.{weight}'] = torch.randn(3 * WIDTH, WIDTH) * 0.2
        state[f'{block}.{bias}'] = torch.randn(3 * WIDTH) * 0.2
        linear(f'{block}.{names["out"]}', WIDTH, WIDTH)
        linear(f'{block}.{names["mlp"][0]}', 4 * WIDTH, WIDTH)
        linear(f'{block}.{names["mlp"][1]}', WIDTH, 4 * WIDTH)
        for name in names['scales'] or ():
            state[f'{block}.{name}'] = torch.rand(WIDTH)
    if names['before']:
        norm(names['before'])
    norm(names['last'])
    if kind == 'dinov2':
        state['mask_token'] = torch.zeros(1, WIDTH)
    if kind == 'clip':  # the rest of the file
        state['visual.proj'] = torch.zeros(WIDTH, 8)
        state['positional_embedding'] = torch.zeros(77, 8)
        state['transformer.resblocks.0.ln_1.weight'] = torch.zeros(8)
        state['logit_scale'] = torch.tensor(4.6)
    return state


def by_hand(kind: str, state: dict, images: Tensor) -> list[Tensor]:
    """Compute every block's map from the file's weights."""
    names, clip = FILES[kind], kind == 'clip'

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, state[f'{name}.weight'], state[f'{name}.bias'])

    def norm(name: str, x: Tensor) -> Tensor:
        weight, bias = state[f'{name}.weight'], state[f'{name}.bias']
        return F.layer_norm(x, (WIDTH,), weight, bias, 1e-5 if clip else 1e-6)

    def activate(x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x) if clip else F.gelu(x)

    def attend(block: str, x: Tensor) -> Tensor:
        weight, bias = (state[f'{block}.{name}'] for name in names['qkv'])
        q, k, v = (
            part.unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for part in F.linear(x, weight, bias).chunk(3, dim=-1)
        )
        likeness = (q @ k.mT / (WIDTH // HEADS) ** 0.5).softmax(dim=-1)
        return linear(
            f'{block}.{names["out"]}',
            (likeness @ v).transpose(1, 2).flatten(2),
        )

    bias = state.get(f'{names["patch"]}.bias')
    patches = F.conv2d(
        images, state[f'{names["patch"]}.weight'], bias, stride=PATCH
    )
    size = patches.shape[2:]
    x = patches.flatten(2).mT
    token = state[names['token']].expand(len(x), 1, WIDTH)
    x = torch.cat([token, x], dim=1) + state[names['positions']]
    if names['before']:
        x = norm(names['before'], x)
    maps = []
    for number in range(DEPTH):
        block = names['block'].format(number)
        first, second = (f'{block}.{name}' for name in names['norms'])
        scales = names['scales'] or ()
        one, two = [state[f'{block}.{s}'] for s in scales] or (1.0, 1.0)
        x = x + one * attend(block, norm(first, x))
        inner = activate(linear(f'{block}.{names["mlp"][0]}', norm(second, x)))
        x = x + two * linear(f'{block}.{names["mlp"][1]}', inner)
        if number == DEPTH - 1:
            x = norm(names['last'], x)
        maps.append(x[:, 1:].mT.unflatten(2, size))
    return maps


def build(kind: str, path, pixels: int, **more) -> torch.nn.Module:
    backbone = dict(
        type='mmpretrain.VisionTransformer',
        arch=ARCH,
        img_size=pixels,
        patch_size=PATCH,
        out_type='featmap',
        out_indices=tuple(range(DEPTH)),
        init_cfg=dict(
            type='Pretrained', _scope_='mmrca', checkpoint=str(path)
        ),
    )
    model = MODELS.build(
        dict(
            type='mmrca.RCA',
            backbone=backbone | OPTIONS[kind] | more,
            cam_head=dict(
                type='mmrca.CAMHead', in_channels=WIDTH, num_classes=2
            ),
        )
    )
    model.init_weights()
    return model


@pytest.mark.parametrize('kind', FILES)
def test_a_file_means_in_mmpretrain_what_it_says(kind, tmp_path):
    state = published(kind, grid=4)
    torch.save(state, tmp_path / 'vit.pth')
    backbone = build(kind, tmp_path / 'vit.pth', 4 * PATCH).backbone
    backbone.eval()
    images = torch.randn(2, 3, 4 * PATCH, 4 * PATCH)
    with torch.no_grad():
        found, expected = backbone(images), by_hand(kind, state, images)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize('kind', FILES)
def test_images_of_other_sizes_resize_the_positions(kind, tmp_path):
    torch.save(published(kind, grid=4), tmp_path / 'vit.pth')
    # 6 x 6 patches in the config; one that is not whole at the right.
    model = build(kind, tmp_path / 'vit.pth', 6 * PATCH)
    maps = model.extract_feat(torch.randn(1, 3, 5 * PATCH, 7 * PATCH + 3))
    assert {tuple(m.shape) for m in maps} == {(1, WIDTH, 5, 8)}


def test_a_frozen_vit_stays_and_its_head_trains(tmp_path):
    torch.save(published('dinov2', grid=4), tmp_path / 'vit.pth')
    model = build(
        'dinov2', tmp_path / 'vit.pth', 4 * PATCH, frozen_stages=DEPTH
    )
    model.train()
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trained == {'cam_head.conv.weight'}
    images = torch.randn(1, 3, 4 * PATCH, 4 * PATCH)
    model.cam_head(model.extract_feat(images)[-1]).sum().backward()


def test_layer_scale_that_the_config_forgets_is_named(tmp_path):
    torch.save(published('dinov2', grid=4), tmp_path / 'vit.pth')
    with pytest.raises(ValueError, match=r'vit\.pth .*gamma1'):
        build(
            'dinov2',
            tmp_path / 'vit.pth',
            4 * PATCH,
            layer_scale_init_value=0.0,
        )


def test_register_tokens_are_refused(tmp_path):
    state = published('dinov2', grid=4)
    state['register_tokens'] = torch.zeros(1, 4, WIDTH)
    torch.save(state, tmp_path / 'reg4.pth')
    with pytest.raises(ValueError, match=r'reg4\.pth .*register_tokens'):
        build('dinov2', tmp_path / 'reg4.pth', 4 * PATCH)


def test_the_recipe_reads_dinov2s_own_file(repo, tmp_path):
    timm_names = published('dinov2', grid=2)
    name = 'cam_dinov2-vits14-frozen_8e_voc20-mini_prototype-cam'
    config = Config.fromfile(repo / f'configs/rca/{name}.py').model
    config.backbone.update(arch=ARCH, out_indices=(1, 2), frozen_stages=DEPTH)
    config.backbone.init_cfg.checkpoint = str(tmp_path / 'vits14.pth')
    config.cam_head.in_channels = WIDTH
    torch.save(timm_names, tmp_path / 'vits14.pth')
    model = MODELS.build(config)
    model.init_weights()
    loaded = model.backbone.layers[1].attn.gamma1.weight
    assert torch.equal(loaded, timm_names['blocks.1.ls1.gamma'])
