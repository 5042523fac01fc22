"""The examples of docs/architecture.md do what the text says."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from markdown_it import MarkdownIt
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS as SEG_MODELS

from mmrca.cli import load_config
from mmrca.pseudo_labels.maker import make_pseudo_labels
from mmrca.registry import DATASETS, MODELS
from tests import tiny
from tests.place import Place

DOC = Path(__file__).parents[1] / 'docs/architecture.md'


def read_examples() -> dict[str, list[str]]:
    """Collect the code under each paragraph that starts in bold."""
    examples: dict[str, list[str]] = {}
    name = ''
    for token in MarkdownIt().parse(DOC.read_text()):
        if token.type == 'inline' and token.content.startswith('**'):
            name = token.content.split('**')[1]
        elif token.type == 'fence' and token.info == 'python':
            examples.setdefault(name, []).append(token.content)
    return examples


EXAMPLES = read_examples()


@pytest.fixture
def configs(repo, tmp_path, monkeypatch):
    """A copy of the configs, to add one to."""
    shutil.copytree(repo / 'configs', tmp_path / 'configs')
    monkeypatch.chdir(tmp_path)
    init_default_scope('mmseg')
    return tmp_path / 'configs'


def add(folder: Path, name: str) -> Config:
    (code,) = EXAMPLES[name]
    (folder / 'example.py').write_text(code)
    return load_config(str(folder / 'example.py'))


def test_every_example_is_run():
    assert {*EXAMPLES} == {
        'A backbone',
        'A background cue',
        'A refinement',
        'A data set',
        'A segmenter',
    }


def test_a_backbone(configs):
    model = MODELS.build(add(configs / 'rca', 'A backbone').model).eval()
    maps = model(torch.zeros(2, 3, 64, 64))
    assert maps.shape[:2] == (2, 20)


def labels_of(place: Place, name: str, monkeypatch) -> dict:
    """Make labels with a class of one file that no config imports."""
    code, setting = EXAMPLES[name]
    (place.root / 'mypackage.py').write_text(code)
    monkeypatch.syspath_prepend(place.root)
    monkeypatch.delitem(sys.modules, 'mypackage', raising=False)
    config = Config.fromfile(place.config)
    for key, value in Config.fromstring(setting, '.py').pseudo_label.items():
        config.pseudo_label[key] = value
    make_pseudo_labels(config, str(place.checkpoint), place.out, workers=0)
    return place.labels()


def test_a_background_cue(tmp_path, monkeypatch):
    labels = labels_of(Place(tmp_path), 'A background cue', monkeypatch)
    # The frame of 20 pixels covers these small images.
    assert all(np.isin(label, (0, 255)).all() for label in labels.values())


def test_a_refinement(tmp_path, monkeypatch):
    place = Place(tmp_path)
    config = Config.fromfile(place.config)
    make_pseudo_labels(
        config, str(place.checkpoint), tmp_path / 'plain', workers=0
    )
    labels = labels_of(place, 'A refinement', monkeypatch)
    place.out = tmp_path / 'plain'
    plain = place.labels()
    assert any((labels[name] != plain[name]).any() for name in labels)
    # A single pixel is no match for its neighbours.
    scores = torch.zeros(2, 5, 5)
    scores[1, 2, 2] = 1
    median = sys.modules['mypackage'].Median()
    assert not median(np.zeros((5, 5, 3), np.uint8), scores, [0]).any()


def test_a_data_set(configs, tmp_path):
    root = tiny.write_images(tmp_path / 'data/leaves', [[0], [1, 2], []])
    (root / 'train.csv').write_text('0,rust\n1,mildew,scab\n')
    (root / 'val.csv').write_text('1,mildew,scab\n2\n')
    config = add(configs / '_base_/datasets', 'A data set')
    train = DATASETS.build(config.train_dataloader.dataset)
    labels = [item['data_samples'].gt_label.tolist() for item in train]
    assert labels == [[1, 0, 0], [0, 1, 1]]
    val = DATASETS.build(config.val_dataloader.dataset)
    assert val[0]['data_samples'].gt_sem_seg.data.unique().tolist() == [
        0,
        2,
        3,
    ]


def test_a_segmenter(configs):
    config = add(configs / 'rca_seg', 'A segmenter')
    assert 'mmrca' not in config.pretty_text
    assert config.train_dataloader.dataset.data_prefix.seg_map_path
    model = SEG_MODELS.build(config.model).eval()
    maps = model(torch.zeros(1, 3, 64, 64))
    assert maps.shape[:2] == (1, 21)
