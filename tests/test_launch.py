"""tools/train.py on one and on two processes of a machine without a GPU."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

# No mmrca type and a backbone without batch statistics: what remains is how
# the processes share the work.
CONFIG = """
default_scope = 'mmseg'
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[127.] * 3, std=[64.] * 3,
        size=(32, 32)),
    backbone=dict(
        type='ResNet', depth=18, stem_channels=4, base_channels=4,
        norm_eval=True),
    decode_head=dict(
        type='FCNHead', in_channels=32, in_index=3, channels=32, num_convs=0,
        concat_input=False, num_classes=3, dropout_ratio=0.,
        loss_decode=dict(type='CrossEntropyLoss')))
train_dataloader = dict(
    batch_size=BATCH,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BaseSegDataset', data_root='DATA', img_suffix='.png',
        seg_map_suffix='.png', metainfo=dict(classes=('a', 'b', 'c')),
        data_prefix=dict(img_path='images', seg_map_path='masks'),
        pipeline=[
            dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
            dict(type='PackSegInputs')]))
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2)
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1))
randomness = dict(seed=0)
env_cfg = dict(dist_cfg=dict(backend='nccl'))
"""


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data')
    numbers = np.random.default_rng(0)
    for folder, shape, top in (
        ('images', (32, 32, 3), 256),
        ('masks', (32, 32), 3),
    ):
        (root / folder).mkdir()
        for name in range(4):
            pixels = numbers.integers(0, top, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(root / folder / f'{name}.png')
    return root


@pytest.fixture
def train(repo, data, tmp_path):
    """Train in a process of its own; return the work dir."""

    def call(name, batch, *args, launch=(sys.executable,)):
        config = tmp_path / f'{name}.py'
        text = CONFIG.replace('DATA', str(data)).replace('BATCH', str(batch))
        config.write_text(text)
        tool = repo / 'tools' / 'train.py'
        environment = {
            **os.environ,
            'CUDA_VISIBLE_DEVICES': '',
            'OMP_NUM_THREADS': '1',
            'PYTHONPATH': str(repo),
        }
        done = subprocess.run(
            [*launch, tool, config, '--work-dir', tmp_path / name, *args],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return tmp_path / name

    return call


@pytest.mark.timeout(400)  # three processes, on a busy machine
@pytest.mark.slow
def test_two_processes_go_on_where_one_stopped_as_if_it_had_not(train):
    """Epoch 2 on one process, and again on two with half the batch each."""
    one = train('one', 4)
    torchrun = (sys.executable, '-m', 'torch.distributed.run', '--standalone')
    two = train(
        'two',
        2,
        *('--launcher', 'pytorch', '--resume', one / 'epoch_1.pth'),
        launch=(*torchrun, '--nproc-per-node', '2'),
    )
    start, expected, actual = (
        torch.load(path, weights_only=False)['state_dict']
        for path in (
            one / 'epoch_1.pth',
            one / 'epoch_2.pth',
            two / 'epoch_2.pth',
        )
    )
    assert expected.keys() == actual.keys()
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=1e-4, atol=1e-6)
    weight = 'decode_head.conv_seg.weight'
    assert (expected[weight] - start[weight]).abs().max() > 1e-3
