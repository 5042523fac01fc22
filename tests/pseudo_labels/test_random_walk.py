"""A boundary network is trained, and labels are refined by it."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from torch.testing import assert_close

from mmrca.ops.random_walk import path_affinity, random_walk
from mmrca.pseudo_labels.maker import make_pseudo_labels
from mmrca.pseudo_labels.random_walk import RandomWalk
from tests import tiny
from tests.place import Place

LENGTH = 40


def network_config(root, **changes):
    """A boundary network of tiny images, trained on their masks in part."""
    cfg = Config(
        dict(
            default_scope='mmseg',
            work_dir=str(root / 'work'),
            randomness=dict(seed=0),
            log_level='WARNING',
            model=dict(
                type='EncoderDecoder',
                data_preprocessor=dict(
                    type='SegDataPreProcessor',
                    size=(32, 32),
                    mean=[127.5] * 3,
                    std=[127.5] * 3,
                    bgr_to_rgb=True,
                ),
                backbone=dict(
                    type='ResNet',
                    depth=18,
                    num_stages=2,
                    base_channels=8,
                    deep_stem=False,
                    strides=(1, 2),
                    dilations=(1, 1),
                    out_indices=(0, 1),
                    norm_cfg=dict(type='GN', num_groups=2),
                ),
                decode_head=dict(
                    type='mmrca.BoundaryHead',
                    in_channels=(8, 16),
                    in_index=(0, 1),
                    channels=8,
                    radius=3,
                ),
                test_cfg=dict(mode='whole'),
            ),
            train_dataloader=dict(
                batch_size=8,
                num_workers=0,
                sampler=dict(type='InfiniteSampler', shuffle=True),
                dataset=dict(
                    type='BaseSegDataset',
                    ann_file=str(root / 'ids.txt'),
                    data_prefix=dict(
                        img_path=str(root / 'images'),
                        seg_map_path=str(root / 'masks'),
                    ),
                    img_suffix='.png',
                    metainfo=dict(
                        classes=tiny.CLASSES, palette=[[0, 0, 0]] * 4
                    ),
                    pipeline=[
                        dict(type='LoadImageFromFile'),
                        dict(type='LoadAnnotations'),
                        dict(type='PackSegInputs'),
                    ],
                ),
            ),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=5e-3)),
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=LENGTH),
            default_hooks=dict(
                checkpoint=dict(
                    type='CheckpointHook', by_epoch=False, interval=LENGTH
                )
            ),
        )
    )
    cfg.merge_from_dict(changes)
    return cfg


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Config and checkpoint of a trained network, and its images."""
    root = tiny.write_images(
        tmp_path_factory.mktemp('boundary'), [[i % 3] for i in range(24)]
    )
    for path in (root / 'masks').iterdir():
        mask = np.array(Image.open(path))
        mask[:4] = 255
        Image.fromarray(mask).save(path)
    (root / 'ids.txt').write_text('\n'.join(map(str, range(24))))
    cfg = network_config(root)
    tiny.runner(cfg).train()
    cfg.dump(root / 'network.py')
    return root / 'network.py', root / f'work/iter_{LENGTH}.pth'


def test_boundaries_are_where_the_labels_change(trained):
    config, checkpoint = trained
    network = RandomWalk(str(config), str(checkpoint))
    root, edges, inside = config.parent, [], []
    for number in range(24):
        image = np.array(Image.open(root / f'images/{number}.png'))
        found = network.boundary(image)
        mask = np.array(Image.open(root / f'masks/{number}.png'))
        mask = torch.from_numpy(mask)[4:]
        found = torch.nn.functional.interpolate(found[None, None], (32, 32))
        found = found[0, 0, 4:]
        edge = torch.zeros_like(mask, dtype=torch.bool)
        edge[1:] |= mask[1:] != mask[:-1]
        edge[:, 1:] |= mask[:, 1:] != mask[:, :-1]
        edges.append(found[edge].mean())
        inside.append(found[mask == 0].mean())
    assert np.mean(edges) > 2 * np.mean(inside)


def test_scores_walk_and_keep_each_class_s_maximum(trained):
    config, checkpoint = trained
    refine = RandomWalk(str(config), str(checkpoint), exponent=5.0, steps=3)
    image = np.array(Image.open(config.parent / 'images/0.png'))
    scores = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    scores[2] = 0
    found = refine(image, scores, [0, 2])
    boundary = refine.boundary(image)
    offsets = refine.network.decode_head.offsets
    pool = torch.nn.AvgPool2d(32 // len(boundary))
    spread = random_walk(
        pool(scores[1:2]),
        path_affinity(boundary, offsets),
        offsets,
        exponent=5.0,
        steps=3,
    )
    spread = torch.nn.functional.interpolate(
        spread[None], (32, 32), mode='bilinear'
    )[0, 0]
    assert_close(found[0], scores[0])
    assert_close(found[1], spread * scores[1].max() / spread.max())
    assert_close(found[2], scores[2])


def walk(trained, **more):
    config, checkpoint = trained
    return dict(
        type='random_walk', config=str(config), checkpoint=str(checkpoint)
    ) | {key: str(value) for key, value in more.items()}


def make(place):
    return make_pseudo_labels(
        Config.fromfile(place.config),
        str(place.checkpoint),
        place.root / 'labels',
    )


def test_refinements_follow_one_another(tmp_path, trained):
    place = Place(tmp_path)
    adaptive = dict(type='pixel_adaptive', iterations=2, dilations=(1, 2))
    place.write_config(refinement=[walk(trained), adaptive])
    both = make(place)['share']
    place.write_config(refinement=walk(trained))
    with pytest.raises(ValueError, match='refinement'):
        make(place)
    make_pseudo_labels(
        Config.fromfile(place.config),
        str(place.checkpoint),
        place.root / 'labels',
        overwrite=True,
    )
    assert make(place)['share'] != both


def test_labels_of_another_network_are_not_kept(tmp_path, trained):
    place = Place(tmp_path)
    _, checkpoint = trained
    other = tmp_path / 'other.pth'
    other.write_bytes(checkpoint.read_bytes())
    place.write_config(refinement=walk(trained, checkpoint=other))
    make(place)
    saved = torch.load(other, weights_only=False)
    saved['state_dict']['decode_head.conv_seg.bias'] += 1
    torch.save(saved, other)
    with pytest.raises(ValueError, match='refinement_sha256'):
        make(place)


@pytest.mark.parametrize(
    ('key', 'value', 'error', 'named'),
    [
        ('checkpoint', 'nowhere.pth', FileNotFoundError, 'nowhere.pth'),
        ('config', 'nowhere.py', FileNotFoundError, 'nowhere.py'),
        ('config', 'classifier', ValueError, 'BoundaryHead'),
        ('checkpoint', 'classifier', ValueError, 'lacks'),
    ],
)
def test_wrong_files_are_named(tmp_path, trained, key, value, error, named):
    place = Place(tmp_path)
    if value == 'classifier':
        value = place.config if key == 'config' else place.checkpoint
    place.write_config(refinement=walk(trained, **{key: value}))
    with pytest.raises(error, match=named):
        make(place)
