"""CAMs of validation images go to the visualizer."""

from pathlib import Path

import mmcv
import numpy as np
import pytest
from mmseg.structures import SegDataSample

from mmrca.pictures import heat
from tests import tiny

LABELS = [[0], [1], [2], [0, 1], [1, 2], []]


@pytest.fixture
def data(tmp_path):
    return tiny.write_images(tmp_path, LABELS)


def train(data, **options):
    cfg = tiny.config(
        data,
        **{
            'default_hooks.cam_images': dict(
                type='mmrca.CAMVisualizationHook', **options
            ),
            'visualizer': dict(
                type='SegLocalVisualizer',
                vis_backends=[dict(type='LocalVisBackend')],
                name=f'visualizer of {data}',
            ),
        },
    )
    runner = tiny.runner(cfg)
    seen = []
    add = runner.visualizer.add_image

    def listen(name, image, step):
        seen.append((name, image, step))
        add(name, image, step=step)

    runner.visualizer.add_image = listen
    runner.train()
    return seen, Path(runner.log_dir) / 'vis_data'


def test_the_same_images_in_each_validation(data):
    seen, folder = train(data, images=3)
    steps = sorted({step for _, _, step in seen})
    assert len(steps) == 2
    for step in steps:
        pictures = {name: image for name, image, at in seen if at == step}
        assert sorted(pictures) == [f'cam_{n}.png' for n in range(3)]
        # The first image, one in the middle, and the last.
        for name, number in zip(sorted(pictures), (0, 2, 5), strict=True):
            photo = mmcv.imread(data / f'images/{number}.png')[..., ::-1]
            assert (pictures[name][:, :32] == photo).all()
    files = sorted(f.name for f in (folder / 'vis_image').iterdir())
    assert files == sorted(f'{n}_{step}.png' for n, _, step in seen)
    assert 'memory_filled' in (folder / 'scalars.json').read_text()


def test_only_the_classes_of_the_image_are_shown(data):
    import torch
    from mmengine.structures import PixelData

    from mmrca.engine.hooks.cam_visualization_hook import draw_cam

    cams = torch.rand(4, 32, 32)
    sample = SegDataSample(metainfo=dict(img_path=str(data / 'images/1.png')))
    sample.seg_logits = PixelData(data=cams)
    sample.set_data(dict(gt_label=torch.tensor([0.0, 1.0, 0.0])))
    photo = mmcv.imread(data / 'images/1.png')
    expected = heat(photo, cams[2:3])
    np.testing.assert_array_equal(draw_cam(sample)[:, 32:], expected)


def test_more_images_than_there_are(data):
    seen, _ = train(data, images=50)
    assert len(seen) == 2 * len(LABELS)
