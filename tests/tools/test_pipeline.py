"""The commands of the README, one after the other, on sixteen images."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import programs

pytestmark = pytest.mark.timeout(600)
SMALL = ['--train', 12, '--val', 4]
INFER = """
import sys, torch
sys.modules['mmrca'] = None  # not installed
try:
    import torchvision
except RuntimeError:  # a CUDA build beside a CPU build of torch
    library = torch.library.Library('torchvision', 'DEF')
    for name in ('nms', 'qnms'):
        library.define(name + '(Tensor a, Tensor b, float c) -> Tensor')
    for name in [n for n in sys.modules if n.startswith('torchvision')]:
        del sys.modules[name]
from mmseg.apis import MMSegInferencer
config, checkpoint, image = sys.argv[1:]
inferencer = MMSegInferencer(config, checkpoint, device='cpu')
result = inferencer(image, return_datasamples=True)
print('size', *result.pred_sem_seg.shape[-2:])
print('mmrca' if any(n.startswith('mmrca.') for n in sys.modules) else 'stock')
"""


@pytest.fixture(scope='module')
def pipeline(repo, tmp_path_factory):
    """Walk the pipeline; return its folder and what each command printed."""
    root = tmp_path_factory.mktemp('pipeline')
    variables = dict(
        OMP_NUM_THREADS='1',
        TOY_DATA=str(root / 'data'),
        LABEL_DIR=str(root / 'labels'),
        CLASSIFIER=str(root / 'rca' / 'epoch_1.pth'),
    )
    printed = {}

    def call(name: str, *command: object) -> None:
        keep(name, programs.run(*command, cwd=repo, **variables))

    def keep(name: str, done: subprocess.CompletedProcess) -> None:
        assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
        printed[name] = done.stdout

    rca = 'configs/rca/rca_r18_toy.py'
    seg = 'configs/rca_seg/deeplabv3plus_r18_toy.py'
    short = ['--cfg-options', 'train_cfg.max_epochs=1']
    call('data', 'tools/make_toy_data.py', root / 'data', *SMALL)
    call('train', 'tools/train.py', rca, '--work-dir', root / 'rca', *short)
    call(
        'label',
        'tools/make_pseudo_labels.py',
        rca,
        root / 'rca' / 'epoch_1.pth',
        '--out-dir',
        root / 'labels',
    )
    short = ['--cfg-options', 'train_cfg.max_iters=2']
    short += ['train_cfg.val_interval=2', 'train_dataloader.batch_size=4']
    call('segment', 'tools/train.py', seg, '--work-dir', root / 'seg', *short)
    call(
        'test',
        'tools/test.py',
        seg,
        root / 'seg' / 'iter_2.pth',
        '--work-dir',
        root / 'test',
    )
    image = next((root / 'data' / 'JPEGImages').glob('val*'))
    inferred = subprocess.run(
        [
            *(sys.executable, '-c', INFER),
            root / 'seg' / 'deeplabv3plus_r18_toy.py',
            root / 'seg' / 'iter_2.pth',
            image,
        ],
        cwd=repo,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    keep('infer', inferred)
    printed['image'] = image
    return root, printed


def test_training_reports_map_and_cam_miou(pipeline):
    assert 'mAP: ' in pipeline[1]['train']
    assert 'cam_mIoU: ' in pipeline[1]['train']


def test_every_training_image_has_a_label_of_its_size(pipeline):
    root, _ = pipeline
    names = (root / 'data/ImageSets/Segmentation/train.txt').read_text()
    for name in names.split():
        label = Image.open(root / f'labels/{name}.png')
        image = Image.open(root / f'data/JPEGImages/{name}.jpg')
        assert label.mode == 'P'
        assert label.size == image.size
        assert set(np.unique(label)) <= {*range(7), 255}


def test_the_test_tool_writes_the_miou(pipeline):
    root, printed = pipeline
    (metrics,) = (root / 'test').glob('*/*.json')
    figures = json.loads(metrics.read_text())
    assert 0 <= figures['mIoU'] <= 100
    assert 0 <= figures['foreground'] <= 100
    assert 'mIoU' in printed['test']


def test_the_segmenter_runs_where_mmrca_is_not_installed(pipeline):
    _, printed = pipeline
    width, height = Image.open(printed['image']).size
    assert f'size {height} {width}' in printed['infer'].splitlines()
    assert 'stock' in printed['infer'].splitlines()


def test_no_mmrca_type_is_left_in_the_segmenters_config(pipeline):
    root, _ = pipeline
    text = Path(root / 'seg' / 'deeplabv3plus_r18_toy.py').read_text()
    assert 'mmrca.' not in text
