import copy
import re
from pathlib import Path

import mmcv
import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from torch import Generator
from torch.nn import functional as F
from torch.testing import assert_close

from mmrca.checkpoint import load_classifier
from mmrca.engine.prototype_filling import fill
from mmrca.inference import infer_cams
from mmrca.models.prototype_cam import PrototypeCAM
from mmrca.ops.kmeans import kmeans
from mmrca.registry import DATASETS
from tests import programs, tiny
from tests.models.test_processes import train as train_by_tool
from tests.models.test_rca import build
from tests.ops import references as ref

LABELS = [[0], [1], [2], [0, 1], [1, 2], [0, 2], [0, 1, 2], [0], [1], [2]]
WITHIN = {
    'model.prototype_cam.image_region': 0.4,
    'model.prototype_cam.self_similarity': 0.9,
}


def shown(classes: list[int]) -> torch.Tensor:
    """The classes of one image, boolean [1, L]."""
    return torch.tensor([[c in classes for c in range(3)]])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tiny.write_images(tmp_path, LABELS)


def config(root: Path, plain: bool = False, **changes):
    """RCA, or the plain CAM, with a map; training looks at crops only."""
    cfg = tiny.config(root)
    cfg.model.backbone.out_indices = (0, 1, 2)
    if plain:
        for part in ('memory', 'loss_nce', 'aggregation', 'cls_head'):
            cfg.model[part] = None
        del cfg.default_hooks.memory_bank
    cfg.model.prototype_cam = dict(
        type='mmrca.PrototypeCAM', num_prototypes=2, num_background=3
    )
    cfg.default_hooks.prototype_cam = dict(type='mmrca.PrototypeCAMHook')
    cfg.train_dataloader.dataset.pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='RandomCrop', crop_size=(24, 24)),
        dict(type='mmrca.PackImageLabels'),
    ]
    cfg.train_cfg.max_epochs = 1
    cfg.merge_from_dict(changes)
    return cfg


def train(cfg):
    runner = tiny.runner(cfg)
    runner.train()
    return runner


def checkpoint(root: Path, name: str) -> dict:
    return torch.load(root / name, weights_only=False)['state_dict']


def own_rows(model, root: Path, region, background, draw):
    """Rows of each class, then of the background, by loops."""
    model.eval()
    rows = [[] for _ in range(4)]
    for number, classes in enumerate(LABELS):
        image = mmcv.imread(str(root / f'images/{number}.png'))
        pixels = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)
        with torch.no_grad():
            stages = list(model.backbone((pixels[None] - 127.5) / 127.5))
            present = shown(classes)
            cam = draw(stages, present)
        inside = torch.ones(cam[:, 0].shape, dtype=torch.bool)
        sure, rest = ref.confident_masks(
            cam, present, inside, region, background
        )
        features = ref.concat_stages([s.double() for s in stages])[0]
        for c, mask in enumerate([*sure[0], rest[0]]):
            if mask.any():
                mean = features[:, mask].mean(dim=1)
                rows[c].append(mean / mean.norm())
    return [torch.stack(r).float() for r in rows]


def own_prototypes(model, rows) -> PrototypeCAM:
    """Cluster rows, class by class."""
    part = copy.deepcopy(model.prototype_cam)
    targets = [
        *zip(part.prototypes, part.valid, strict=True),
        (part.background, part.background_valid),
    ]
    for kind, own in enumerate(rows):
        prototypes, valid = targets[kind]
        generator = Generator().manual_seed(kind)
        every = torch.ones(len(own), dtype=torch.bool)
        centers, _, _ = kmeans([own], [every], len(prototypes), generator)
        prototypes.copy_(F.normalize(centers[0], dim=1))
        valid.copy_(torch.arange(len(prototypes)) < len(own))
    return part


@pytest.mark.parametrize(
    'options', [{}, dict(region=0.5, background=0.3, rounds=1)]
)
@pytest.mark.parametrize(
    ('plain', 'within'), [(True, {}), (False, {}), (False, WITHIN)]
)
def test_prototypes_are_centres_of_the_most_confident_regions(
    data, plain, within, options
):
    cfg = config(data, plain, **within)
    if within:  # with 3, two draws of K-means++ are equally good
        cfg.model.prototype_cam.num_background = 2
    cfg.default_hooks.prototype_cam.update(options)
    if plain:  # whether it is in eval mode makes a difference to batch norm
        cfg.model.backbone.norm_cfg = dict(type='BN')
    model = train(cfg).model
    options = {'region': 0.9, 'background': 0.1, 'rounds': 2, **options}
    rounds = options.pop('rounds')

    def draw(stages, present):
        return model.cam_head(stages[-1])

    for _ in range(rounds):
        rows = own_rows(model, data, **options, draw=draw)
        draw = own_prototypes(model, rows)
    assert sum(map(len, rows[:3])) > 6
    for name, value in draw.named_buffers():
        assert_close(model.prototype_cam.get_buffer(name), value, msg=name)


def test_only_the_last_checkpoint_has_a_map(data):
    runner = train(config(data, **{'train_cfg.max_epochs': 3}))
    work = data / 'work'
    for epoch in (1, 2):
        state = checkpoint(work, f'epoch_{epoch}.pth')
        assert not state['prototype_cam.filled']
        assert not state['prototype_cam.prototypes'].any()
    state = checkpoint(work, 'epoch_3.pth')
    assert state['prototype_cam.filled']
    for name, value in runner.model.prototype_cam.named_buffers():
        assert torch.equal(state[f'prototype_cam.{name}'], value), name


def test_training_by_iterations_ends_with_a_map(data):
    cfg = config(data)
    cfg.default_hooks.memory_bank.by_epoch = False
    cfg.train_dataloader.sampler.type = 'InfiniteSampler'
    cfg.default_hooks.checkpoint = dict(
        type='CheckpointHook', by_epoch=False, interval=2
    )
    cfg.train_cfg = dict(
        type='IterBasedTrainLoop', max_iters=4, val_interval=4
    )
    train(cfg)
    filled = [
        bool(
            checkpoint(data / 'work', f'iter_{i}.pth')['prototype_cam.filled']
        )
        for i in (2, 4)
    ]
    assert filled == [False, True]


class Keeper(Hook):
    """Keeps what each validation saw."""

    def __init__(self) -> None:
        self.seen = []

    def before_val_epoch(self, runner) -> None:
        self.seen.append([])

    def after_val_iter(self, runner, batch_idx, data_batch, outputs) -> None:
        self.seen[-1] += [
            (s.seg_logits.data[1:], s.pred_score) for s in outputs
        ]


@pytest.mark.parametrize('plain', [True, False])
def test_the_last_validation_sees_the_map_and_the_heads_scores(data, plain):
    cfg = config(data, plain, **WITHIN, **{'train_cfg.max_epochs': 2})
    # A fixed network: validations differ by the map alone.
    cfg.optim_wrapper.optimizer.lr = 0.0
    if not plain:
        cfg.default_hooks.memory_bank.refresh_interval = 5
    runner, keeper = tiny.runner(cfg), Keeper()
    runner.register_hook(keeper)
    runner.train()
    before, after = keeper.seen
    model = runner.model.eval()
    for number in range(len(LABELS)):
        item = runner.val_dataloader.dataset[number]
        batch = dict(
            inputs=[item['inputs']], data_samples=[item['data_samples']]
        )
        batch = model.data_preprocessor(batch, training=False)
        with torch.no_grad():
            stages = model.extract_feat(batch['inputs'])
        logits = model.prototype_cam(stages, shown(LABELS[number]))
        expected = F.interpolate(logits.relu(), (32, 32), mode='bilinear')[0]
        peak = expected.amax(dim=(1, 2), keepdim=True).clamp(min=1e-9)
        there = shown(LABELS[number])[0, :, None, None]
        assert_close(after[number][0], expected / peak * there)
        assert torch.equal(after[number][1], before[number][1])
    changed = [
        not torch.equal(a, b)
        for (a, _), (b, _) in zip(before, after, strict=True)
    ]
    assert sum(changed) > len(LABELS) / 2


@pytest.mark.parametrize('within', [{}, WITHIN])
def test_pseudo_labels_take_the_map_and_the_heads_scores(data, within):
    model = train(config(data, **within)).model.eval()
    image = mmcv.imread(str(data / 'images/3.png'))
    with torch.no_grad():
        x = torch.from_numpy(image.transpose(2, 0, 1).copy())
        x = model.data_preprocessor(dict(inputs=[x], data_samples=None))
        stages = model.extract_feat(x['inputs'])
        expected = model.prototype_cam(stages, shown([0, 2])).relu()
        of_all = model.prototype_cam(stages).relu()
    given = [image], [[0, 2]], [1.0], False
    (with_map,) = infer_cams(model, *given)
    assert_close(with_map.maps[0], expected[0, [0, 2]].half())
    assert torch.equal(of_all, expected) == (not within)
    model.prototype_cam.filled.fill_(False)
    (without,) = infer_cams(model, *given)
    assert torch.equal(with_map.scores, without.scores)
    assert not torch.equal(with_map.maps[0], without.maps[0])


def test_an_image_has_the_same_map_among_others(data):
    model = train(config(data, **WITHIN)).model
    images = [mmcv.imread(str(data / f'images/{n}.png')) for n in range(4)]
    classes = [*LABELS[:3], None]
    options = [1.0, 1.5], True, torch.tensor([0.0, 0.0, 1.1])
    together = infer_cams(model, images, classes, *options)
    assert together[3].classes == [0, 1]
    for image, given, found in zip(images, classes, together, strict=True):
        (alone,) = infer_cams(model, [image], [given], *options)
        for one, other in zip(found.maps, alone.maps, strict=True):
            assert_close(one, other, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize('plain', [True, False])
def test_a_plain_training_can_be_given_its_map_later(data, plain):
    whole = train(config(data, plain, work_dir=str(data / 'whole'))).model
    cfg = config(data, plain, **{'model.prototype_cam': None})
    del cfg.default_hooks.prototype_cam
    runner = train(cfg)
    state = checkpoint(data / 'work', 'epoch_1.pth')
    assert not [key for key in state if 'prototype_cam' in key]
    load_classifier(cfg, str(data / 'work/epoch_1.pth'))
    later = build(config(data, plain).model, bound=False)
    with pytest.raises(ValueError, match=r'lacks .* prototype_cam'):
        load_classifier(config(data, plain), str(data / 'work/epoch_1.pth'))
    later.load_state_dict(state, strict=False)
    later.train()
    fill(later, runner.train_dataloader.dataset)
    assert later.training
    for name, value in whole.state_dict().items():
        assert torch.equal(later.state_dict()[name], value), name


def test_large_photos_are_taken_at_the_size_they_are_labelled_at(data):
    cfg = config(data, plain=True)
    model = build(cfg.model, bound=False)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    path = data / 'images/0.png'
    large = mmcv.imresize(mmcv.imread(path), (1600, 800))
    found = []
    for image in (large, mmcv.imresize(large, (1024, 512))):
        mmcv.imwrite(image, str(path))
        fill(model, dataset)
        found.append(copy.deepcopy(dict(model.prototype_cam.named_buffers())))
    assert_close(found[0], found[1], rtol=0, atol=0)


def test_a_resumed_training_ends_with_the_map_of_its_own_weights(data):
    def run(folder: str, epochs: int, **changes):
        cfg = config(data, work_dir=str(data / folder), **changes)
        cfg.train_cfg.max_epochs = epochs
        # A resumed training draws other crops.
        cfg.train_dataloader.dataset.pipeline.pop(1)
        return train(cfg)

    run('whole', 3)
    run('parts', 1)
    run('parts', 3, resume=True)
    assert not checkpoint(data / 'parts', 'epoch_2.pth')[
        'prototype_cam.filled'
    ]
    parts = checkpoint(data / 'parts', 'epoch_3.pth')
    for name, value in checkpoint(data / 'whole', 'epoch_3.pth').items():
        assert_close(parts[name], value, msg=name)


def test_a_class_that_no_image_shows_is_named(data):
    labels = (data / 'labels.txt').read_text().splitlines()
    lines = [f'{line.split()[0]} {n % 2}\n' for n, line in enumerate(labels)]
    (data / 'labels.txt').write_text(''.join(lines))
    runner = tiny.runner(config(data, log_level='INFO'))
    runner.train()
    assert not runner.model.prototype_cam.valid[2].any()
    log = next((data / 'work').rglob('*.log')).read_text()
    assert re.search('without a row, so without a map: .*blue', log)
    assert 'Prototype CAM: 10 of 10 images' in log


def test_no_region_at_all_is_an_error(data):
    runner = tiny.runner(config(data))
    torch.nn.init.zeros_(runner.model.cam_head.conv.weight)
    with pytest.raises(ValueError, match='none of 10 images has a region'):
        fill(
            runner.model,
            runner.build_dataloader(runner.cfg.train_dataloader).dataset,
        )
    assert not runner.model.prototype_cam.filled


@pytest.mark.parametrize('plain', [True, False])
def test_other_classes_than_the_datas_are_an_error_before_training(
    data, plain
):
    runner = tiny.runner(
        config(data, plain, **{'model.cam_head.num_classes': 2})
    )
    with pytest.raises(ValueError, match='num_classes'):
        runner.train()
    assert runner.iter == 0


def test_the_trained_weights_are_saved_before_the_prototypes_are_made(
    data, monkeypatch
):
    def fail(*args):
        raise RuntimeError('no prototypes')

    monkeypatch.setattr('mmrca.engine.hooks.prototype_cam_hook.fill', fail)
    cfg = config(data)
    with pytest.raises(RuntimeError, match='no prototypes'):
        train(cfg)
    monkeypatch.undo()
    saved = checkpoint(data / 'work', 'epoch_1.pth')
    assert not saved['prototype_cam.filled']
    # The same command makes what is missing.
    cfg.resume = True
    train(cfg)
    whole = config(data, work_dir=str(data / 'whole'))
    train(whole)
    resumed = checkpoint(data / 'work', 'epoch_1.pth')
    assert resumed['prototype_cam.filled']
    for name, value in checkpoint(data / 'whole', 'epoch_1.pth').items():
        assert torch.equal(resumed[name], value), name


def test_a_resumed_checkpoint_keeps_its_optimizer_beside_the_prototypes(data):
    train(config(data))
    saved = torch.load(data / 'work/epoch_1.pth', weights_only=False)
    assert saved['optimizer']['state']
    assert saved['meta']['epoch'] == 1
    assert not list((data / 'work').glob('.*.part'))


def test_the_hook_without_a_map_is_an_error(data):
    with pytest.raises(ValueError, match=r'model\.prototype_cam'):
        train(config(data, **{'model.prototype_cam': None}))


def test_a_map_without_its_hook_is_an_error(data):
    cfg = config(data)
    del cfg.default_hooks.prototype_cam
    with pytest.raises(ValueError, match='prototype_cam needs its hook'):
        train(cfg)


def test_no_labels_are_made_with_a_map_that_is_not_filled(data):
    cfg = config(data)
    cfg.train_cfg.max_epochs = 2
    train(cfg)
    early, last = (str(data / f'work/epoch_{n}.pth') for n in (1, 2))
    load_classifier(cfg, last)
    with pytest.raises(ValueError, match=r'epoch_1.*before the end of its'):
        load_classifier(cfg, early)


def test_there_is_at_least_one_round(data):
    cfg = config(data)
    cfg.default_hooks.prototype_cam.rounds = 0
    with pytest.raises(ValueError, match=r'PrototypeCAMHook\.rounds is 0'):
        tiny.runner(cfg)


@pytest.mark.parametrize(
    ('name', 'value'), [('region', 1.5), ('background', 'low')]
)
def test_what_is_no_share_is_an_error(data, name, value):
    cfg = config(data)
    cfg.default_hooks.prototype_cam[name] = value
    with pytest.raises(ValueError, match=f'{name} is {value!r}'):
        tiny.runner(cfg)


def process(rank: int, world: int, cfg, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        'gloo', f'file://{folder}/meeting', rank=rank, world_size=world
    )
    torch.save(filled(cfg), f'{folder}/{rank}.pth')
    torch.distributed.destroy_process_group()


def filled(cfg) -> dict:
    """Buffers of a model that was never trained."""
    model = build(cfg.model, bound=False)
    loader = tiny.Runner.build_dataloader(cfg.train_dataloader)
    fill(model, loader.dataset, limit=3)
    return model.prototype_cam.state_dict()


@pytest.mark.parametrize(
    ('world', 'labels'),
    [
        (2, LABELS),
        # The fourth process has no image.
        pytest.param(4, [[0], [1, 2], [2]], marks=pytest.mark.slow),
    ],
)
def test_processes_share_the_images(tmp_path, world, labels):
    cfg = config(tiny.write_images(tmp_path, labels))
    alone = filled(cfg)
    programs.spawn(process, (world, cfg, str(tmp_path)), world)
    for rank in range(world):
        state = torch.load(tmp_path / f'{rank}.pth')
        for name, value in alone.items():
            assert torch.equal(state[name], value), name


@pytest.mark.slow
def test_training_under_torchrun_ends_with_the_same_map(repo, tmp_path):
    cfg = config(tiny.write_images(tmp_path, LABELS))
    # Crops are drawn by each process on its own.
    cfg.train_dataloader.dataset.pipeline.pop(1)
    cfg.train_dataloader.sampler.round_up = False
    cfg.train_cfg.max_epochs = 2  # the epoch that the helper reads
    cfg.dump(tmp_path / 'config.py')
    alone, together = (
        train_by_tool(repo, tmp_path / 'config.py', tmp_path / f'{n}', n)
        for n in (1, 2)
    )
    for key, value in alone['state_dict'].items():
        assert_close(
            together['state_dict'][key], value, rtol=1e-3, atol=1e-5, msg=key
        )
