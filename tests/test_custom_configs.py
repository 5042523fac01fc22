"""The recipes for own images take their classes from what converters write."""

import pytest
import torch
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


@pytest.mark.parametrize(
    'name',
    [
        'rca_efficientnet-lite0_custom',
        'cam_efficientnet-lite0_custom',
        'rca_mobilenet-v2_custom',
    ],
)
def test_the_classifier_fits_own_images(custom, name):
    config = custom(name)
    check_classes(config)
    model = MODELS.build(config.model)
    assert model.cam_head.num_classes == 2
    if name.startswith('rca'):
        assert len(model.memory.prototypes) == 2
        assert len(model.prototype_cam.prototypes) == 2
    train = DATASETS.build(config.train_dataloader.dataset)
    assert train[1]['data_samples'].gt_label.tolist() == [0, 1]
    assert len(train.metainfo['palette']) == 3
    val = DATASETS.build(config.val_dataloader.dataset)
    assert val[0]['data_samples'].img_id == '1'


@pytest.mark.parametrize('backbone', ['efficientnet-lite0', 'mobilenet-v2'])
def test_the_segmenter_fits_own_images(custom, tmp_path, backbone):
    config = custom(f'deeplabv3plus_{backbone}_custom')
    check_classes(config)
    model = SEG_MODELS.build(config.model)
    model.eval()
    assert model.num_classes == 3
    classifier = custom(f'rca_{backbone}_custom').model
    theirs = MODELS.build(classifier).backbone.state_dict()
    assert model.backbone.state_dict().keys() == theirs.keys()
    for part in ('mean', 'std'):
        wanted = classifier.data_preprocessor[part]
        assert config.model.data_preprocessor[part] == wanted
    assert model(torch.zeros(1, 3, 64, 64), mode='tensor').shape[1] == 3
    dataset = config.train_dataloader.dataset
    images = SEG_DATASETS.build({**dataset, 'pipeline': []})
    assert images[0]['img_path'] == str(tmp_path / 'images/0.jpg')
    assert config.val_cfg is None
    # Without masks: MMSegInferencer and a test need the pipeline only.
    steps = [s.type for s in config.test_dataloader.dataset.pipeline]
    assert 'LoadAnnotations' not in steps
    assert config.test_evaluator.format_only


def test_the_segmenter_of_mobilenet_is_stock(custom):
    config = custom('deeplabv3plus_mobilenet-v2_custom')
    assert 'mmrca' not in config.pretty_text
