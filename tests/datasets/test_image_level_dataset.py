from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope

from mmrca.registry import DATASETS
from tests import tiny


@pytest.fixture
def root(tmp_path: Path) -> Path:
    init_default_scope('mmseg')
    return tiny.write_images(tmp_path, [[0], [1, 2], [0, 2]])


def build(root: Path, labels: str | None = None, **changes):
    if labels is not None:
        (root / 'labels.txt').write_text(labels)
    cfg = tiny.config(root).train_dataloader.dataset
    return DATASETS.build({**cfg, **changes})


def test_numbers_and_names_mean_the_same(root):
    numbers = build(root, '0 0\n1 1 2\n2 2 0\n')
    names = build(root, '0 red\n\n1 green blue\n2 blue red\n')
    for dataset in (numbers, names):
        labels = [dataset.get_data_info(i)['gt_label'] for i in range(3)]
        assert labels == [[0], [1, 2], [0, 2]]
    assert numbers.fingerprint == names.fingerprint


def test_packing_gives_labels_and_rows_as_data(root):
    dataset = build(root, '0 0\n1 1 2\n2 0 2\n')
    sample = dataset[2]['data_samples']
    assert sample.img_id == '2'
    assert torch.equal(sample.gt_label, torch.tensor([1.0, 0.0, 1.0]))
    # Rows class by class: red 0 1, green 2, blue 3 4.
    assert sample.memory_row[[0, 2]].tolist() == [1, 4]
    assert dataset.row_class == [0, 0, 1, 2, 2]
    assert {'gt_label', 'memory_row'} <= set(sample.keys())


@pytest.mark.parametrize(
    'labels',
    ['0 0\n1 1\n2 0 2\n', '1 1 2\n0 0\n2 0 2\n', '0 0\n1 1 2\n'],
)
def test_another_list_has_another_fingerprint(root, labels):
    one = build(root, '0 0\n1 1 2\n2 0 2\n').fingerprint
    assert build(root, labels).fingerprint != one


def test_a_cap_changes_the_fingerprint(root):
    assert build(root, rows_per_class=1).fingerprint != build(root).fingerprint


@pytest.mark.parametrize(
    ('labels', 'says'),
    [
        ('', r'labels\.txt is empty'),
        ('0 0\n1\n', r'labels\.txt line 2: image 1 has no class'),
        ('0 pink\n', r"line 1: image 0 has the unknown class 'pink'.*red, gr"),
        ('0 3\n', r"line 1: image 0 has the unknown class '3'.*0 to 2"),
        ('0 0\n0 1\n', r'line 2: image 0 is listed a second time'),
        ('0 0\n7 1\n8 1\n', r'2 of 3 images .* first 7\.png'),
    ],
)
def test_a_bad_list_is_one_clear_sentence(root, labels, says):
    with pytest.raises((ValueError, FileNotFoundError), match=says) as error:
        build(root, labels)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        (dict(ann_file='nowhere.txt'), 'label list nowhere.txt does not'),
        (
            dict(data_prefix=dict(img_path='nowhere')),
            'image folder nowhere does not',
        ),
        (dict(metainfo=dict(classes=('red', 'green'))), "'background'"),
    ],
)
def test_a_bad_setting_is_one_clear_sentence(root, changes, says):
    with pytest.raises((ValueError, FileNotFoundError), match=says):
        build(root, **changes)
