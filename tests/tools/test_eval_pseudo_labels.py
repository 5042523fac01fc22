import importlib.util
import json

import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric
from PIL import Image


@pytest.fixture
def tool(repo):
    path = repo / 'tools/eval_pseudo_labels.py'
    spec = importlib.util.spec_from_file_location('eval_pseudo_labels', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def place(tmp_path):
    """Masks and labels of four classes; some pixels unlabelled in either."""
    rng = np.random.default_rng(0)
    for folder in ('pred', 'gt'):
        (tmp_path / folder).mkdir()
        for name in 'abc':
            labels = rng.choice([0, 1, 3, 255], (9, 7)).astype(np.uint8)
            Image.fromarray(labels).save(tmp_path / folder / f'{name}.png')
    (tmp_path / 'split.txt').write_text('a 0\nb 2\nc\n')
    (tmp_path / 'classes.txt').write_text('cat\nschool bus\ncow\n')
    return tmp_path


def measure(tool, place, *more):
    out = place / 'metrics.json'
    split = ['--split', str(place / 'split.txt'), '--json', str(out)]
    tool.main([str(place / 'pred'), str(place / 'gt'), *split, *more])
    return json.loads(out.read_text())


def load(place, folder):
    return [
        torch.from_numpy(np.array(Image.open(place / folder / f'{n}.png')))
        for n in 'abc'
    ]


def test_figures_are_those_of_mmsegmentation(tool, place, capsys):
    metrics = measure(tool, place, '--classes', str(place / 'classes.txt'))
    # Its areas: right, union, prediction, truth; an unlabelled pixel is wrong.
    areas = [
        IoUMetric.intersect_and_union(pred, mask, 4, 255)
        for pred, mask in zip(
            load(place, 'pred'), load(place, 'gt'), strict=True
        )
    ]
    right, union, predicted, true = (sum(a) for a in zip(*areas, strict=True))
    names = ['background', 'cat', 'school bus', 'cow']
    for key, below in dict(
        IoU_strict=union, precision=predicted, recall=true
    ).items():
        expected = 100 * (right.double() / below.double())
        for name, value in zip(names, expected.tolist(), strict=True):
            ours = metrics[key][name]
            assert ours == value or (ours is None and value != value)
    printed = capsys.readouterr().out
    assert 'school bus' in printed
    assert f'{metrics["mIoU_strict"]:.2f}' in printed


def test_open_pixels_and_coverage_by_hand(tool, place):
    metrics = measure(tool, place)
    pred, mask = (
        torch.stack(load(place, folder)).flatten() for folder in ('pred', 'gt')
    )
    decided = (pred != 255) & (mask != 255)
    ious = []
    for c in (0, 1, 3):
        ours, theirs = (pred == c) & decided, (mask == c) & decided
        iou = (ours & theirs).sum() / (ours | theirs).sum()
        ious.append(100 * iou.item())
        assert metrics['IoU_labelled'][str(c)] == pytest.approx(ious[-1])
    assert metrics['IoU_labelled']['2'] is None
    assert metrics['mIoU_labelled'] == pytest.approx(sum(ious) / 3)
    share = decided.sum() / (mask != 255).sum()
    assert metrics['coverage'] == pytest.approx(100 * share.item())


@pytest.mark.parametrize(
    ('damage', 'said'),
    [
        (
            lambda p: (p / 'pred/b.png').unlink(),
            'split.txt have no .png file, first b',
        ),
        (lambda p: (p / 'pred/b.png').write_bytes(b'x'), 'pred/b.png cannot'),
        (
            lambda p: Image.new('L', (3, 3)).save(p / 'pred/b.png'),
            'gt/b.png is 7 x 9 pixels, label .*pred/b.png 3 x 3',
        ),
        (
            lambda p: Image.new('RGB', (7, 9)).save(p / 'gt/b.png'),
            'gt/b.png .* RGB',
        ),
        (lambda p: (p / 'split.txt').write_text(''), 'is empty'),
        (lambda p: (p / 'classes.txt').write_text('cat\n'), 'hold 3'),
    ],
)
def test_bad_input_is_named(tool, place, damage, said):
    damage(place)
    with pytest.raises((ValueError, OSError), match=said):
        measure(tool, place, '--classes', str(place / 'classes.txt'))
    assert not (place / 'metrics.json').exists()
