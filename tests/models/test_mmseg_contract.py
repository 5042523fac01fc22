"""What MMSegmentation's own tools do with a classifier."""

import copy
import runpy
import shutil
import sys
from pathlib import Path

import mmcv
import numpy as np
import pytest
import torch
from mmseg.apis import MMSegInferencer
from PIL import Image

from tests import tiny

LABELS = [[0], [1], [2], [0, 1]]
PALETTE = [[0, 0, 0], [200, 0, 0], [0, 200, 0], [0, 0, 200]]


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> Path:
    """A folder with images, the config they were trained by, and weights."""
    root = tiny.write_images(tmp_path_factory.mktemp('contract'), LABELS)
    cfg = tiny.config(root)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.metainfo.palette = PALETTE
    cfg.test_dataloader = copy.deepcopy(cfg.val_dataloader)
    cfg.test_evaluator = cfg.val_evaluator
    cfg.test_cfg = dict(type='TestLoop')
    cfg.visualizer = dict(
        type='SegLocalVisualizer', name=f'contract_{root.name}'
    )
    cfg.dump(root / 'config.py')
    tiny.runner(copy.deepcopy(cfg)).train()
    return root


def config(root: Path):
    cfg = tiny.Config.fromfile(root / 'config.py')
    cfg.load_from = str(root / 'work/epoch_2.pth')
    return cfg


def test_the_inferencer_segments_a_photo_and_a_folder(trained):
    inferencer = MMSegInferencer(
        str(trained / 'config.py'),
        str(trained / 'work/epoch_2.pth'),
        device='cpu',
    )
    out = trained / 'inferred'
    photo = mmcv.imresize(mmcv.imread(str(trained / 'images/3.png')), (50, 40))
    mmcv.imwrite(photo, str(trained / 'photos/new.png'))
    inferencer(str(trained / 'photos'), out_dir=str(out))
    found = inferencer(str(trained / 'images/3.png'), return_datasamples=True)
    with Image.open(out / 'pred/00000000_pred.png') as picture:
        assert picture.size == (50, 40)
    assert len(list((out / 'vis').iterdir())) == 1
    shown = set(found.pred_sem_seg.data.unique().tolist())
    likely = found.pred_score >= 0.5
    assert shown <= {0, *(likely.nonzero()[:, 0] + 1).tolist()}


def test_iou_metric_and_show_dir_work_as_for_a_segmenter(trained):
    cfg = config(trained)
    cfg.test_evaluator = [
        dict(type='mmrca.CAMMetric'),
        dict(
            type='IoUMetric',
            iou_metrics=['mIoU'],
            output_dir=str(trained / 'out'),
        ),
    ]
    cfg.default_hooks.visualization = dict(
        type='SegVisualizationHook', draw=True
    )
    cfg.visualizer = dict(
        type='SegLocalVisualizer',
        name=f'shown_{trained.name}',
        vis_backends=[dict(type='LocalVisBackend')],
        save_dir=str(trained / 'shown'),
    )
    metrics = tiny.runner(cfg).test()
    # Both look at the same prediction; neither has unlabelled pixels.
    assert metrics['mIoU'] == pytest.approx(metrics['cam_mIoU'], abs=0.02)
    assert len(list((trained / 'out').glob('*.png'))) == len(LABELS)
    assert len(list((trained / 'shown').rglob('*.png'))) == len(LABELS)


def test_test_time_augmentation_averages_mirrored_views(trained):
    cfg = config(trained)
    cfg.test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
    plain = tiny.runner(copy.deepcopy(cfg)).test()
    cfg.model = dict(type='SegTTAModel', module=cfg.model)
    cfg.test_dataloader.dataset.pipeline = [
        dict(type='LoadImageFromFile'),
        dict(
            type='TestTimeAug',
            transforms=[
                [
                    dict(type='RandomFlip', prob=prob, direction='horizontal')
                    for prob in (0.0, 1.0)
                ],
                [dict(type='LoadAnnotations')],
                [dict(type='mmrca.PackImageLabels')],
            ],
        ),
    ]
    averaged = tiny.runner(cfg).test()
    assert averaged['mIoU'] == pytest.approx(plain['mIoU'], abs=10)


def test_a_mirrored_view_comes_back_as_the_photo_lies(trained):
    runner = tiny.runner(config(trained))
    runner.load_or_resume()
    model = runner.model.eval()
    item = runner.test_dataloader.dataset[3]
    outputs = []
    for flip in (False, True):
        sample = copy.deepcopy(item['data_samples'])
        image = item['inputs'].flip(-1) if flip else item['inputs']
        sample.set_metainfo(dict(flip=flip, flip_direction='horizontal'))
        batch = dict(inputs=[image], data_samples=[sample])
        with torch.no_grad():
            outputs += model.test_step(batch)
    one, other = (o.pred_sem_seg.data for o in outputs)
    assert one.shape == other.shape
    assert np.mean((one == other).numpy()) > 0.8


def test_out_writes_a_png_for_each_image_of_each_subfolder(
    trained, repo, tmp_path, monkeypatch
):
    cfg = config(trained)
    lines = []
    for folder in ('one', 'two'):
        for kind in ('images', 'masks'):
            (tmp_path / kind / folder).mkdir(parents=True)
            shutil.copy(
                trained / kind / '0.png', tmp_path / kind / folder / '0.png'
            )
        lines.append(f'{folder}/0 0\n')
    (tmp_path / 'labels.txt').write_text(''.join(lines))
    dataset = cfg.test_dataloader.dataset
    dataset.ann_file = str(tmp_path / 'labels.txt')
    dataset.data_prefix = dict(
        img_path=str(tmp_path / 'images'), seg_map_path=str(tmp_path / 'masks')
    )
    cfg.dump(tmp_path / 'config.py')
    arguments = [str(tmp_path / 'config.py'), cfg.load_from]
    arguments += ['--out', str(tmp_path / 'out')]
    arguments += ['--work-dir', str(tmp_path / 'test')]
    monkeypatch.setattr(sys, 'argv', ['test.py', *arguments])
    runpy.run_path(str(repo / 'tools/test.py'), run_name='__main__')
    for folder in ('one', 'two'):
        with Image.open(tmp_path / f'out/{folder}/0.png') as picture:
            assert picture.size == (32, 32)
            assert set(np.unique(picture)) <= {0, 1}
