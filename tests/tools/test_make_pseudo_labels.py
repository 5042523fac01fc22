import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import mmcv
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from PIL import Image
from torch.nn import functional as F

from mmrca import cli
from mmrca.registry import MODELS
from tests.place import (
    CLASSES,
    LABELS,
    SIZES,
    Place,
    model_config,
    read,
    save_model,
)

TOOL = Path(__file__).parents[2] / 'tools' / 'make_pseudo_labels.py'


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('make_pseudo_labels', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def cams_by_hand(place, name, parts):
    """One scale, no mirror image, straight from the model."""
    init_default_scope('mmseg')
    model = MODELS.build(model_config(parts)).eval()
    state = torch.load(place.checkpoint, weights_only=True)['state_dict']
    model.load_state_dict(state)
    image = mmcv.imread(str(place.root / f'JPEGImages/{name}.jpg'))
    pixels = image[..., ::-1].transpose(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        stages = model.extract_feat(torch.from_numpy(pixels).float())
        maps = model.head_logits(stages[-1]).relu()
    maps = F.interpolate(maps, image.shape[:2], mode='bilinear')[0].numpy()
    return {c: maps[c] / (maps[c].max() or 1) for c in LABELS[name]}


def label_by_hand(cams, background, margin):
    values = np.array([0, *(c + 1 for c in cams)])
    scores = np.stack([background, *cams.values()])
    ranked = np.sort(scores, 0)
    labels = values[scores.argmax(0)]
    labels[ranked[-1] - ranked[-2] < margin] = 255
    return labels


def figures_by_hand(labels, truths):
    """Mean IoU over decided pixels, over all, and coverage, in percent."""
    pred = np.concatenate([labels[n].ravel() for n in SIZES])
    true = np.concatenate([truths[n].ravel() for n in SIZES])
    pred, true = pred[true != 255], true[true != 255]

    def mean_iou(pred, true):
        union = [((pred == c) | (true == c)).sum() for c in range(4)]
        hits = [((pred == c) & (true == c)).sum() for c in range(4)]
        return 100 * np.mean(
            [h / u for h, u in zip(hits, union, strict=True) if u]
        )

    decided = pred != 255
    return (
        mean_iou(pred[decided], true[decided]),
        mean_iou(pred, true),
        100 * decided.mean(),
    )


@pytest.mark.parametrize(('margin', 'empty'), [(0.1, 0), (0.95, 4)])
def test_labels_without_any_class_are_said(tool, place, capsys, margin, empty):
    place.write_config(margin=margin)
    tool.main(place.args())
    shown = dict(images=4, without_foreground=empty)
    assert place.result()['shown'] == shown
    said = '4 of the 4 labels' in capsys.readouterr().out
    assert said == bool(empty)


@pytest.mark.parametrize('parts', ['plain', 'rca'])
def test_labels_and_metrics(tool, tmp_path, capsys, parts):
    place = Place(tmp_path, parts)
    tool.main(place.args('--cams', str(tmp_path / 'cams')))

    cam_labels = {}
    for name, labels in place.labels().items():
        cams = cams_by_hand(place, name, parts)
        cue = np.full(SIZES[name], 0.4)
        cam_labels[name] = label_by_hand(cams, cue, 0)
        expected = label_by_hand(cams, cue, 0.1)
        assert (labels != expected).mean() < 0.01  # rounding at the edges
        assert labels.shape == SIZES[name]

    result, output = place.result(), capsys.readouterr().out
    labels, truths = place.labels(), place.truths()
    evaluation = result['against_masks']['labels']
    found = [
        evaluation[k] for k in ('mIoU_labelled', 'mIoU_strict', 'coverage')
    ]
    np.testing.assert_allclose(found, figures_by_hand(labels, truths))
    (_, cam_miou, _) = figures_by_hand(cam_labels, truths)
    np.testing.assert_allclose(
        result['against_masks']['cam']['mIoU_strict'], cam_miou, atol=0.5
    )

    pixels = np.concatenate([m.ravel() for m in labels.values()])
    share = {
        name: 100 * np.mean(pixels == value)
        for value, name in [*enumerate(CLASSES), (255, 'unlabelled')]
    }
    assert result['share'] == pytest.approx(share)
    assert 0 < share['unlabelled'] < 60
    assert (result['written'], result['kept']) == (4, 0)
    for metric in [
        *found,
        result['against_masks']['cam']['mIoU_strict'],
        *share.values(),
    ]:
        assert f'{metric:.2f}' in output
    for name in CLASSES:
        assert name in output


def test_saliency_is_the_background_cue(tool, place):
    place.write_config(
        background=dict(type='saliency', dir=str(place.root / 'Saliency'))
    )
    tool.main(place.args())
    for name, labels in place.labels().items():
        cue = 1 - read(place.root / f'Saliency/{name}.png') / 255
        cams = cams_by_hand(place, name, 'plain')
        assert (labels != label_by_hand(cams, cue, 0.1)).mean() < 0.01


def test_power_is_the_background_cue(tool, place):
    place.write_config(background=dict(type='power', alpha=2), margin=0.05)
    tool.main(place.args())
    for name, labels in place.labels().items():
        cams = cams_by_hand(place, name, 'plain')
        cue = (1 - np.stack([*cams.values()]).max(0)) ** 2
        assert (labels != label_by_hand(cams, cue, 0.05)).mean() < 0.01


def test_crf_changes_labels_but_not_the_metrics_of_cams(tool, place):
    tool.main(place.args('--cams', str(place.root / 'cams')))
    plain, cam = place.labels(), place.result()['against_masks']['cam']
    place.write_config(
        refinement=dict(type='dense_crf', iterations=3), scales=(1.0,)
    )
    cams = ['--cams', str(place.root / 'cams')]
    tool.main(place.args('--overwrite', *cams))
    crf = place.labels()
    assert any((plain[n] != crf[n]).mean() > 0.05 for n in SIZES)
    for name, labels in crf.items():
        assert set(np.unique(labels)) <= {0, 255} | {
            c + 1 for c in LABELS[name]
        }
    assert place.result()['against_masks']['cam'] == cam


def test_a_stopped_run_goes_on(tool, place, capsys):
    tool.main(place.args())
    whole, result = place.labels(), place.result()
    (place.out / 'b.png').unlink()
    data = (place.out / 'c.png').read_bytes()
    (place.out / 'c.png').write_bytes(data[: len(data) // 2])
    stamps = {n: os.stat(place.out / f'{n}.png').st_mtime_ns for n in 'ad'}
    tool.main(place.args())

    for name, labels in place.labels().items():
        np.testing.assert_array_equal(labels, whole[name])
    for name, stamp in stamps.items():
        assert os.stat(place.out / f'{name}.png').st_mtime_ns == stamp
    changed = dict(written=2, kept=2)
    assert place.result() == {**result, **changed}
    assert 'images done: 2, kept from before: 2' in capsys.readouterr().out


def test_a_finished_run_is_left_as_it_is(tool, place):
    tool.main(place.args())
    result = place.result()
    tool.main(place.args())
    changed = dict(written=0, kept=4)
    assert place.result() == {**result, **changed}


@pytest.mark.parametrize('share', [0.02, 0.3, 0.6, 0.9, 0.97])
def test_a_truncated_label_is_made_again(tool, place, share):
    tool.main(place.args())
    path = place.out / 'd.png'
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    tool.main(place.args())
    assert path.read_bytes() == data


def test_a_png_of_others_is_kept_and_named(tool, place, capsys):
    tool.main(place.args())
    other = np.full(SIZES['c'], 3, dtype=np.uint8)
    Image.fromarray(other).save(place.out / 'c.png')
    tool.main(place.args())
    result, output = place.result(), capsys.readouterr().out
    assert (result['kept'], result['edited']) == (4, ['c'])
    assert '1 labels kept that were edited or made elsewhere' in output
    assert 'such as c.png' in output
    assert str(place.out.with_name('labels_classes.csv')) in output
    np.testing.assert_array_equal(place.labels()['c'], other)
    # One that cannot be measured is named by its file.
    Image.new('RGB', SIZES['c'][::-1]).save(place.out / 'c.png')
    with pytest.raises(SystemExit):
        tool.main(place.args())
    assert re.search(r'c\.png.* RGB', place.result()['errors']['c'])


def test_overwrite_makes_every_label_anew(tool, place):
    tool.main(place.args())
    before = place.labels()
    place.write_config(margin=0.3)
    tool.main(place.args('--overwrite'))
    result = place.result()
    assert (result['written'], result['kept']) == (4, 0)
    assert result['pseudo_label']['margin'] == 0.3
    assert sum((m == 255).sum() for m in place.labels().values()) > sum(
        (m == 255).sum() for m in before.values()
    )


def test_labels_of_another_recipe_are_not_mixed_in(tool, place):
    tool.main(place.args())
    before = place.labels()
    threshold = 'pseudo_label.background.threshold'
    with pytest.raises(
        ValueError, match=rf'{threshold} = 0\.4 \(now 0\.6\).*--o'
    ):
        tool.main(place.args('--cfg-options', f'{threshold}=.6'))
    other = torch.load(place.checkpoint, weights_only=True)
    other['state_dict']['cam_head.conv.weight'] *= -1
    torch.save(other, place.checkpoint)
    with pytest.raises(ValueError, match='checkpoint_sha256 = '):
        tool.main(place.args())
    (place.out / 'manifest.json').unlink()
    with pytest.raises(ValueError, match=r'no manifest\.json'):
        tool.main(place.args())
    for name, labels in place.labels().items():
        np.testing.assert_array_equal(labels, before[name])


def test_a_refused_run_leaves_no_folder_behind(tool, place):
    cams = ['--cams', str(place.root / 'cams')]
    tool.main(place.args(*cams))
    other = place.args(*cams, '--cfg-options', 'pseudo_label.flip=True')
    other[other.index(str(place.out))] = str(place.root / 'other')
    with pytest.raises(ValueError, match=r'cams holds 4 CAMs.*flip'):
        tool.main(other)
    assert not (place.root / 'other').exists()


def test_a_folder_without_labels_takes_another_recipe(tool, place):
    tool.main(place.args())
    for path in place.out.glob('*.png'):
        path.unlink()
    margin = 'pseudo_label.margin=0.3'
    tool.main(place.args('--cfg-options', margin))
    manifest = json.loads((place.out / 'manifest.json').read_text())
    assert manifest['recipe']['pseudo_label']['margin'] == 0.3
    with pytest.raises(ValueError, match=r'margin = 0\.3'):
        tool.main(place.args())


def test_initial_weights_are_no_part_of_the_recipe(tool, place):
    tool.main(place.args())
    start = 'model.backbone.init_cfg={"type": "Pretrained", "checkpoint": "x"}'
    tool.main(place.args('--cfg-options', start))
    assert place.result()['kept'] == 4


def test_without_masks_labels_are_made_all_the_same(tool, place, capsys):
    (place.root / 'SegmentationClass').rename(place.root / 'elsewhere')
    tool.main(place.args('--json', str(place.root / 'metrics/f.json')))
    assert len(place.labels()) == 4
    result = json.loads((place.root / 'metrics/f.json').read_text())
    assert result['against_masks'] is None
    assert not place.record.exists()
    assert 'no masks' in capsys.readouterr().out


def test_some_masks_evaluate_some_labels(tool, place):
    (place.root / 'SegmentationClass/a.png').unlink()
    tool.main(place.args())
    assert place.result()['against_masks']['images'] == 3


def break_mask_size(place):
    Image.new('P', (9, 7)).save(place.root / 'SegmentationClass/b.png')


def break_mask_value(place):
    mask = Image.fromarray(np.full(SIZES['b'], 77, np.uint8))
    mask.save(place.root / 'SegmentationClass/b.png')


def break_mask_mode(place):
    size = SIZES['b'][::-1]
    Image.new('RGB', size).save(place.root / 'SegmentationClass/b.png')


def truncate_mask(place):
    truncate(place.root / 'SegmentationClass/b.png')


def break_saliency_size(place):
    Image.new('L', (9, 7)).save(place.root / 'Saliency/b.png')
    use_saliency(place)


def break_saliency_mode(place):
    Image.new('RGB', SIZES['b'][::-1]).save(place.root / 'Saliency/b.png')
    use_saliency(place)


def remove_saliency(place):
    (place.root / 'Saliency/b.png').unlink()
    use_saliency(place)


def truncate_saliency(place):
    truncate(place.root / 'Saliency/b.png')
    use_saliency(place)


def remove_saliency_folder(place):
    (place.root / 'Saliency').rename(place.root / 'elsewhere')
    use_saliency(place)


def use_saliency(place):
    place.write_config(
        background=dict(type='saliency', dir=str(place.root / 'Saliency'))
    )


def break_image(place):
    (place.root / 'JPEGImages/b.jpg').write_bytes(b'no picture')


def truncate_image(place):
    truncate(place.root / 'JPEGImages/b.jpg')


def empty_image(place):
    (place.root / 'JPEGImages/b.jpg').write_bytes(b'')


def truncate(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - 30])


# What is wrong, the sentence, and whether the image has a label.
ERRORS = {
    'image': (break_image, r'image .*b\.jpg', False),
    'empty image': (empty_image, r'image .*b\.jpg', False),
    'truncated image': (truncate_image, r'image .*b\.jpg', False),
    'saliency': (remove_saliency, r'Saliency.b\.png is missing', False),
    'saliency size': (break_saliency_size, r'y.b\.png is 9 x 7', False),
    'saliency mode': (break_saliency_mode, r'y.b\.png .*not RGB', False),
    'truncated saliency': (truncate_saliency, r'saliency.*b\.png', False),
    'mask size': (break_mask_size, r'mask .*b\.png', True),
    'mask value': (break_mask_value, r'mask .*b\.png holds 77', True),
    'mask mode': (break_mask_mode, r'mask .*b\.png .*RGB', True),
    'truncated mask': (truncate_mask, r'mask .*b\.png', True),
}


@pytest.mark.parametrize('case', ERRORS)
def test_an_error_is_named_and_the_rest_goes_on(tool, place, capsys, case):
    spoil, message, labelled = ERRORS[case]
    spoil(place)
    with pytest.raises(SystemExit) as stop:
        tool.main(place.args())
    assert stop.value.code == 1
    result, output = place.result(), capsys.readouterr().out
    assert list(result['errors']) == ['b']
    assert re.search(message, result['errors']['b'])
    assert f'1 images at fault:\n  {result["errors"]["b"]}' in output
    assert (place.out / 'b.png').exists() == labelled
    assert result['written'] == 3 + labelled
    assert result['images'] == 3 + labelled
    assert result['against_masks']['images'] == 3


@pytest.mark.parametrize('case', ERRORS)
def test_strict_stops_at_an_error(tool, place, case):
    spoil, message, _ = ERRORS[case]
    spoil(place)
    with pytest.raises(ValueError, match=message):
        tool.main(place.args('--strict'))
    assert not place.record.exists()


def test_a_mended_image_is_labelled_by_the_next_run(tool, place):
    data = (place.root / 'JPEGImages/b.jpg').read_bytes()
    truncate_image(place)
    with pytest.raises(SystemExit):
        tool.main(place.args())
    (place.root / 'JPEGImages/b.jpg').write_bytes(data)
    tool.main(place.args())
    result = place.result()
    assert (result['written'], result['kept']) == (1, 3)
    assert result['errors'] == {}
    assert result['images'] == 4


def remove_config(place):
    place.config.unlink()


def remove_checkpoint(place):
    place.checkpoint.unlink()


def break_checkpoint(place):
    place.checkpoint.write_bytes(b'no checkpoint')


def change_checkpoint_classes(place):
    config = model_config('plain')
    config['cam_head']['num_classes'] = 5
    save_model(place.checkpoint, config)


def rename_checkpoint_classes(place):
    names = ('background', 'disc', 'ring', 'bar')
    save_model(place.checkpoint, model_config('plain'), names)


def change_checkpoint_width(place):
    config = model_config('plain')
    config['backbone']['base_channels'] = 4
    config['cam_head']['in_channels'] = 8
    save_model(place.checkpoint, config)


def use_rca_checkpoint(place):
    save_model(place.checkpoint, model_config('rca'))


def use_rca_config(place):
    place.write_config('rca')


def change_model_classes(place):
    place.write_config(classes=5)


def drop_pseudo_label(place):
    text = place.config.read_text()
    place.config.write_text(text.replace('pseudo_label', 'labels'))


def put_a_file(place):
    place.out.parent.mkdir()
    place.out.write_text('')


def set_pseudo_label(**changes):
    return lambda place: place.write_config(**changes)


BAD_INPUTS = {
    'saliency folder': (remove_saliency_folder, 'folder .* does not exist'),
    'config': (remove_config, r'config .*config\.py is not a file'),
    'no checkpoint': (remove_checkpoint, r'model\.pth is not a file'),
    'broken checkpoint': (break_checkpoint, r'model\.pth'),
    'classes': (change_checkpoint_classes, 'trained for 5 classes, .* has 3'),
    'class names': (rename_checkpoint_classes, "'ring' where .* has 'bar'"),
    'width': (change_checkpoint_width, 'does not fit the model'),
    'unknown weights': (
        use_rca_checkpoint,
        r'has \d+ weights .* such as memory\.',
    ),
    'missing weights': (use_rca_config, r'lacks \d+ weights, such as memory'),
    'model classes': (change_model_classes, '5 classes .* data set 3'),
    'no settings': (drop_pseudo_label, 'the config has no pseudo_label'),
    'unknown option': (
        set_pseudo_label(scale=(1.0,)),
        "pseudo_label has no option 'scale'",
    ),
    'unknown cue': (
        set_pseudo_label(background=dict(type='otsu')),
        r"background\.type .*constant, power, saliency.*'otsu'",
    ),
    'option of another cue': (
        set_pseudo_label(background=dict(type='power', alpha=4, dir='x')),
        r"background .*'dir'",
    ),
    'cue without its option': (
        set_pseudo_label(background=dict(type='power')),
        r"background: .*'alpha'",
    ),
    'threshold is a word': (
        set_pseudo_label(background=dict(type='constant', threshold='high')),
        r"threshold is 'high'",
    ),
    'alpha is a word': (
        set_pseudo_label(background=dict(type='power', alpha='four')),
        r"alpha is 'four'",
    ),
    'margin is a word': (
        set_pseudo_label(margin='wide'),
        r"pseudo_label\.margin is 'wide'",
    ),
    'flip': (set_pseudo_label(flip='no'), r"flip is 'no'"),
    'unknown crf option': (
        set_pseudo_label(refinement=dict(type='dense_crf', steps=3)),
        r"refinement .*'steps'",
    ),
    'crf value': (
        set_pseudo_label(refinement=dict(type='dense_crf', bilateral_sxy=0)),
        'bilateral_sxy is 0',
    ),
    'crf backend': (
        set_pseudo_label(refinement=dict(type='dense_crf', backend='gpu')),
        "backend is 'gpu'",
    ),
    'threshold': (
        set_pseudo_label(background=dict(type='constant', threshold=40)),
        'threshold is 40',
    ),
    'output': (put_a_file, 'labels is not a folder'),
    'margin': (set_pseudo_label(margin=2), r'pseudo_label\.margin is 2'),
    'scales': (set_pseudo_label(scales=()), r'pseudo_label\.scales is \(\)'),
}


@pytest.mark.parametrize('case', BAD_INPUTS)
def test_bad_input_is_one_sentence(tool, place, capsys, monkeypatch, case):
    spoil, message = BAD_INPUTS[case]
    spoil(place)
    monkeypatch.setattr(sys, 'argv', ['tool', *place.args()])
    with pytest.raises(SystemExit) as stop:
        cli.run(tool.main)
    error = capsys.readouterr().err
    assert stop.value.code == 2
    (line,) = [x for x in error.splitlines() if x.startswith('error: ')]
    assert re.search(message, line)
    assert 'Traceback' not in error
    assert not list(place.out.glob('*.png'))


def test_workers_are_not_negative(tool, place):
    with pytest.raises(ValueError, match='--workers'):
        tool.main(place.args('--workers', '-1'))
    assert not place.out.exists()


def test_runs_as_a_program(place):
    done = subprocess.run(
        [sys.executable, TOOL, *place.args()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'coverage' in done.stdout
    assert sorted(os.listdir(place.out)) == [
        *(f'{n}.png' for n in SIZES),
        'manifest.json',
    ]
