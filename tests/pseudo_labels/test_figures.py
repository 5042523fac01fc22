import numpy as np
import pytest
import torch
from PIL import Image

from mmrca.pseudo_labels.figures import Tally, summarize
from mmrca.pseudo_labels.inputs import LabelInput

CLASSES = ('background', 'one', 'two')


def item(path, mask):
    """An image whose true mask, if any, is written to ``path``."""
    info = dict(seg_map_path=str(path), reduce_zero_label=False)
    if mask is not None:
        Image.fromarray(np.array(mask, dtype=np.uint8)).save(path)
    found = None if mask is None else str(path)
    return LabelInput('a', 'a.jpg', [0], (1, 4), info, found, None)


def labels(*values):
    return torch.tensor([values], dtype=torch.uint8)


def test_figures(tmp_path):
    tally = Tally.empty(3)
    first = item(tmp_path / 'a.png', [[0, 1, 1, 255]])
    cams = torch.tensor([[[0.1, 0.2, 0.3, 0.4]]])
    tally.add(first, labels(0, 1, 255, 1), labels(0, 0, 1, 1), cams)
    tally.add(item(tmp_path / 'b.png', [[0, 0, 0, 1]]), labels(0, 0, 1, 1))
    tally.add(item(tmp_path / 'c.png', None), labels(255, 255, 255, 255))
    result = summarize(tally, CLASSES)

    assert result['images'] == 3
    assert result['share'] == pytest.approx(
        {
            'background': 300 / 12,
            'one': 400 / 12,
            'two': 0,
            'unlabelled': 500 / 12,
        }
    )
    # Seven pixels with a truth: hits 3 and 2, one open, one 0 taken for 1.
    assert result['evaluation'] == {
        'images': 2,
        'mIoU_labelled': pytest.approx(100 * (3 / 4 + 2 / 3) / 2),
        'mIoU_strict': pytest.approx(100 * (3 / 4 + 2 / 4) / 2),
        'coverage': pytest.approx(100 * 6 / 7),
        'IoU_labelled': {
            'background': 75,
            'one': pytest.approx(200 / 3),
            'two': None,
        },
        'IoU_strict': {'background': 75, 'one': 50, 'two': None},
        # Three pixels each are taken for 0 and 1; four and three are of it.
        'precision': {
            'background': 100,
            'one': pytest.approx(200 / 3),
            'two': None,
        },
        'recall': {
            'background': 75,
            'one': pytest.approx(200 / 3),
            'two': None,
        },
    }
    assert result['cam']['images'] == 1
    assert result['cam']['mIoU'] == pytest.approx(50)
    # From 0.1 up to below 0.2 the map tells object from background.
    assert result['cam']['mIoU_best'] == pytest.approx(100)
    assert result['cam']['best_threshold'] == pytest.approx(0.1, abs=0.011)


def test_a_mask_with_an_unknown_value_is_named(tmp_path):
    wrong = item(tmp_path / 'a.png', [[0, 1, 7, 0]])
    with pytest.raises(ValueError, match=r'a\.png: truth holds the value 7'):
        Tally.empty(3).add(wrong, labels(0, 0, 0, 0))
