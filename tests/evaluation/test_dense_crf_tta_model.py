"""A segmenter's test with several views and a dense CRF, as README has it."""

import runpy
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from PIL import Image

from mmrca.datasets.images import load_image
from mmrca.pseudo_labels.dense_crf import DenseCRF
from tests import tiny

CRF = ['--cfg-options', 'tta_model.type=mmrca.DenseCRFTTAModel']


@pytest.fixture
def place(repo, tmp_path, monkeypatch):
    """A narrow segmenter of a recipe, its weights, and two photos."""
    tiny.write_images(tmp_path, [[0], [1, 2]])
    source = repo / 'configs/rca_seg/deeplabv2_r101-d8_20k_voc12.py'
    config = Config.fromfile(source)
    config.model.backbone.update(
        depth=18, stem_channels=8, base_channels=8, init_cfg=None
    )
    config.model.decode_head.in_channels = 64
    for loader in (config.train_dataloader, config.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.update(
            ann_file='',
            img_suffix='.png',
            data_prefix=dict(
                img_path=str(tmp_path / 'images'),
                seg_map_path=str(tmp_path / 'masks'),
            ),
        )
    config.val_dataloader = config.test_dataloader
    config.dump(tmp_path / 'seg.py')
    init_default_scope('mmseg')
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    # Untrained, a head says nothing of what it sees.
    for weight in model.decode_head.parameters():
        torch.nn.init.normal_(weight)
    torch.save(model.state_dict(), tmp_path / 'seg.pth')
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def test(repo, place, monkeypatch):
    """Run tools/test.py; return the labels it wrote."""

    def call(out, *options):
        args = ['test.py', 'seg.py', 'seg.pth', '--out', out, *options]
        monkeypatch.setattr(sys, 'argv', args)
        runpy.run_path(str(repo / 'tools/test.py'), run_name='__main__')
        files = sorted((place / out).glob('*.png'))
        return {f.stem: np.array(Image.open(f)) for f in files}

    return call


def test_scales_mirrors_and_crf_change_what_is_written(test):
    outs = [
        test('one'),
        test('views', '--tta'),
        test('crf', '--tta', *CRF),
    ]
    for found in outs:
        assert {name: x.shape for name, x in found.items()} == {
            '0': (32, 32),
            '1': (32, 32),
        }
    one, views, crf = (np.stack([*found.values()]) for found in outs)
    assert (one != views).any()
    assert (views != crf).any()


def views_of(path, count: int) -> list[SegDataSample]:
    generator = torch.Generator().manual_seed(count)
    samples = []
    for _ in range(count):
        sample = SegDataSample(metainfo=dict(img_path=str(path)))
        logits = 3 * torch.randn(4, 32, 32, generator=generator)
        sample.seg_logits = PixelData(data=logits)
        samples.append(sample)
    return samples


def test_the_mean_of_the_shares_is_refined(place):
    config = Config.fromfile(place / 'seg.py')
    model = MODELS.build(
        dict(type='mmrca.DenseCRFTTAModel', module=config.model)
    )
    path = place / 'images/1.png'
    views = views_of(path, 3)
    shares = [np.exp(v.seg_logits.data.double().numpy()) for v in views]
    mean = sum(share / share.sum(0) for share in shares) / 3
    rgb = np.ascontiguousarray(load_image(path)[..., ::-1])
    expected = DenseCRF()(rgb, torch.from_numpy(mean)).argmax(0)
    (found,) = model.merge_preds([views])
    assert found.pred_sem_seg.data.tolist() == [expected.tolist()]
    assert expected.tolist() != mean.argmax(0).tolist()


def test_one_map_for_two_classes_is_refused(place):
    config = Config.fromfile(place / 'seg.py')
    config.model.decode_head.update(num_classes=2, out_channels=1)
    with pytest.raises(ValueError, match='out_channels'):
        MODELS.build(dict(type='mmrca.DenseCRFTTAModel', module=config.model))
