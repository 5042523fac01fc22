"""The recipes for own images take their classes from what converters write."""

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS as SEG_DATASETS
from mmseg.registry import MODELS as SEG_MODELS

from mmrca.cli import check_classes
from mmrca.registry import DATASETS, MODELS
from tests import tiny


@pytest.fixture
def custom(repo, tmp_path, monkeypatch):
    tiny.write_images(tmp_path, [[0], [1]])
    labels = tmp_path / 'labels'
    labels.mkdir()
    (labels / 'classes.txt').write_text('cat\nschool bus\n')
    (labels / 'train.csv').write_text('0,cat\n1,school bus\n')
    (labels / 'val.csv').write_text('1,cat\n')
    (labels / 'train_ids.txt').write_text('0\n1\n')
    monkeypatch.setenv('OWN_DATA', str(tmp_path))
    init_default_scope('mmseg')

    def load(name: str) -> Config:
        return Config.fromfile(repo / 'configs/custom' / f'{name}.py')

    return load


def test_the_classifier_fits_own_images(custom):
    config = custom('rca_mobilenet-v2_custom')
    check_classes(config)
    model = MODELS.build(config.model)
    assert model.cam_head.num_classes == 2
    assert len(model.memory.prototypes) == 2
    assert len(model.prototype_cam.prototypes) == 2
    train = DATASETS.build(config.train_dataloader.dataset)
    assert train[1]['data_samples'].gt_label.tolist() == [0, 1]
    assert len(train.metainfo['palette']) == 3
    val = DATASETS.build(config.val_dataloader.dataset)
    assert val[0]['data_samples'].img_id == '1'


def test_the_segmenter_fits_own_images(custom, tmp_path):
    config = custom('deeplabv3plus_mobilenet-v2_custom')
    assert 'mmrca' not in config.pretty_text
    check_classes(config)
    assert SEG_MODELS.build(config.model).num_classes == 3
    dataset = config.train_dataloader.dataset
    images = SEG_DATASETS.build({**dataset, 'pipeline': []})
    assert images[0]['img_path'] == str(tmp_path / 'images/0.jpg')
    assert {config[f'{part}_cfg'] for part in ('val', 'test')} == {None}
