"""Photos and a table in, labels and figures out."""

import numpy as np
import pytest
from PIL import Image

import mmrca
from tests import tiny

COLOURS = ('red', 'green', 'blue')
# The tiny classifier, on what the variable OWN_DATA names.
CONFIG = """
_base_ = []
import os
from mmrca.datasets.label_list import read_classes
from tests import tiny
root = os.environ['OWN_DATA']
names = ['background', *read_classes(root + '/labels/classes.txt')]
from pathlib import Path
content = tiny.config(Path(root)).to_dict()
for key in ('train_dataloader', 'val_dataloader'):
    content[key]['dataset'].update(
        ann_file=root + '/labels/train.csv',
        data_prefix=dict(img_path=root + '/images'),
        metainfo=dict(classes=names),
        pipeline=[
            dict(type='LoadImageFromFile'), dict(type='mmrca.PackImageLabels')
        ],
    )
content['train_cfg']['max_epochs'] = 1
content['pseudo_label'] = dict(
    scales=(1.0,), flip=False, margin=0.1,
    background=dict(type='constant', threshold=0.4),
)
globals().update(content)
"""


@pytest.fixture
def photos(tmp_path):
    labels = [[n % 3] for n in range(12)]
    root = tiny.write_images(tmp_path / 'made', labels)
    rows = [f'{n}.png;{COLOURS[c]}' for n, (c,) in enumerate(labels)]
    table = tmp_path / 'photos.csv'
    table.write_text('\n'.join(['Photo;Shows', *rows]) + '\n')
    return root / 'images', table


def test_missing_input_is_named_before_anything_is_made(photos, tmp_path):
    folder, _ = photos
    with pytest.raises(FileNotFoundError, match='nowhere'):
        mmrca.label(tmp_path / 'nowhere', out=tmp_path / 'out')
    with pytest.raises(FileNotFoundError, match=r'gone\.csv'):
        mmrca.label(folder, tmp_path / 'gone.csv', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_a_bad_table_is_named_by_its_row(photos, tmp_path):
    folder, table = photos
    table.write_text(table.read_text() + ';red\n')
    with pytest.raises(ValueError, match=r'lists .*photos\.csv.*row 14'):
        mmrca.label(folder, table, tmp_path / 'out')


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_photos_are_labelled_by_one_call(photos, tmp_path, repo, monkeypatch):
    folder, table = photos
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    monkeypatch.setenv('PYTHONPATH', str(repo))
    config = tmp_path / 'tiny_custom.py'
    config.write_text(CONFIG)
    out = tmp_path / 'out'
    for _ in range(2):
        found = mmrca.label(folder, table, out, config=config)
        assert found.classes == sorted(COLOURS)
        assert found.checkpoint.is_file()
        assert found.figures['errors'] == {}
        assert set(found.figures['share']) > set(COLOURS)
    names = sorted(p.stem for p in found.labels.rglob('*.png'))
    assert names == sorted(str(n) for n in range(12))
    values = np.unique(np.array(Image.open(found.labels / f'{names[0]}.png')))
    assert set(values.tolist()) <= {0, 1, 2, 3, 255}
    table.write_text(table.read_text() + '1.png;red\n')
    with pytest.raises(ValueError, match=r'lists .*data'):
        mmrca.label(folder, table, out, config=config)
    with pytest.raises(ValueError, match='another folder'):
        mmrca.label(tmp_path / 'made/masks', table, out, config=config)
