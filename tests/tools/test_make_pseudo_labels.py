import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from pprint import pformat

import mmcv
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from PIL import Image
from torch.nn import functional as F

from mmrca import cli
from mmrca.pseudo_labels.writer import write_label
from mmrca.registry import MODELS

TOOL = Path(__file__).parents[2] / 'tools' / 'make_pseudo_labels.py'
CLASSES = ('background', 'disc', 'bar', 'ring')
PALETTE = [[0, 0, 0], [200, 30, 30], [30, 200, 30], [30, 30, 200]]
SIZES = {'a': (24, 32), 'b': (32, 24), 'c': (24, 32), 'd': (25, 31)}
LABELS = {'a': [0], 'b': [0, 2], 'c': [1], 'd': [0, 1, 2]}


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('make_pseudo_labels', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def model_config(parts):
    config = dict(
        type='mmrca.RCA',
        data_preprocessor=dict(
            type='SegDataPreProcessor',
            size=(32, 32),
            mean=[127.5] * 3,
            std=[127.5] * 3,
            bgr_to_rgb=True,
        ),
        backbone=dict(
            type='ResNet',
            depth=18,
            base_channels=8,
            num_stages=2,
            strides=(1, 2),
            dilations=(1, 1),
            out_indices=(1,),
            # At momentum 1 one batch settles the statistics.
            norm_cfg=dict(type='BN', momentum=1.0),
        ),
        cam_head=dict(type='mmrca.CAMHead', in_channels=16, num_classes=3),
    )
    if parts == 'rca':
        config |= dict(
            memory=dict(
                type='mmrca.RegionMemory',
                num_classes=3,
                channels=16,
                num_prototypes=2,
            ),
            aggregation=dict(
                type='mmrca.SemanticAggregation', temperature=1.0, cosine=True
            ),
            cls_head=dict(type='mmrca.CAMHead', in_channels=32, num_classes=3),
        )
    return config


def save_model(path, config, classes=CLASSES):
    torch.manual_seed(0)
    init_default_scope('mmseg')
    model = MODELS.build(config)
    model.backbone(torch.randn(4, 3, 24, 32))
    if model.memory is not None:
        model.memory.bind([0, 1, 2, 2], b'data', 2)
        model.memory.prototypes.normal_()
        model.memory.prototype_valid.fill_(True)
    meta = dict(dataset_meta=dict(classes=classes))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)


def write_data(root):
    rng = np.random.default_rng(0)
    for folder in ('JPEGImages', 'SegmentationClass', 'Saliency'):
        (root / folder).mkdir(parents=True)
    for name, (height, width) in SIZES.items():
        coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        image = mmcv.imresize(coarse, (width, height))
        mmcv.imwrite(image, str(root / f'JPEGImages/{name}.jpg'))
        values = [0, 255, *(c + 1 for c in LABELS[name])]
        coarse = rng.choice(values, (4, 5)).astype(np.uint8)
        mask = mmcv.imresize(coarse, (width, height), interpolation='nearest')
        Image.fromarray(mask).save(root / f'SegmentationClass/{name}.png')
        saliency = mmcv.imresize(image[..., 0], (width, height))
        Image.fromarray(saliency).save(root / f'Saliency/{name}.png')
    lines = [' '.join(map(str, [n, *c])) for n, c in LABELS.items()]
    (root / 'labels.txt').write_text('\n'.join(lines) + '\n')


class Place:
    """Data, config and checkpoint of one test, and the folder to fill."""

    def __init__(self, root, parts='plain'):
        self.root, self.out = root, root / 'out' / 'labels'
        self.record = root / 'out' / 'labels.json'
        self.config, self.checkpoint = root / 'config.py', root / 'model.pth'
        write_data(root)
        self.write_config(parts)
        save_model(self.checkpoint, model_config(parts))

    def write_config(self, parts='plain', classes=3, **pseudo_label):
        model = model_config(parts)
        model['cam_head']['num_classes'] = classes
        content = dict(
            default_scope='mmseg',
            model=model,
            train_dataloader=dict(
                batch_size=2,
                dataset=dict(
                    type='mmrca.ImageLevelDataset',
                    ann_file=str(self.root / 'labels.txt'),
                    data_prefix=dict(
                        img_path=str(self.root / 'JPEGImages'),
                        seg_map_path=str(self.root / 'SegmentationClass'),
                    ),
                    metainfo=dict(classes=CLASSES, palette=PALETTE),
                ),
            ),
            pseudo_label=dict(
                scales=(1.0,),
                flip=False,
                background=dict(type='constant', threshold=0.4),
                crf=None,
                margin=0.1,
            )
            | pseudo_label,
        )
        lines = [f'{k} = {pformat(v)}' for k, v in content.items()]
        self.config.write_text('\n'.join(lines) + '\n')

    def args(self, *more):
        return [
            *(str(self.config), str(self.checkpoint)),
            *('--out-dir', str(self.out)),
            *more,
        ]

    def labels(self):
        return {n: read(self.out / f'{n}.png') for n in SIZES}

    def truths(self):
        folder = self.root / 'SegmentationClass'
        return {n: read(folder / f'{n}.png') for n in SIZES}

    def result(self):
        return json.loads(self.record.read_text())


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def read(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def cams_by_hand(place, name, parts):
    """One scale, no mirror image, straight from the model."""
    init_default_scope('mmseg')
    model = MODELS.build(model_config(parts)).eval()
    state = torch.load(place.checkpoint, weights_only=True)['state_dict']
    model.load_state_dict(state)
    image = mmcv.imread(str(place.root / f'JPEGImages/{name}.jpg'))
    pixels = image[..., ::-1].transpose(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        maps = model.cam_logits(torch.from_numpy(pixels).float()).relu()
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


@pytest.mark.parametrize('parts', ['plain', 'rca'])
def test_labels_and_figures(tool, tmp_path, capsys, parts):
    place = Place(tmp_path, parts)
    tool.main(place.args())

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
    evaluation = result['evaluation']
    found = [
        evaluation[k] for k in ('mIoU_labelled', 'mIoU_strict', 'coverage')
    ]
    np.testing.assert_allclose(found, figures_by_hand(labels, truths))
    (_, cam_miou, _) = figures_by_hand(cam_labels, truths)
    np.testing.assert_allclose(result['cam']['mIoU'], cam_miou, atol=0.5)

    pixels = np.concatenate([m.ravel() for m in labels.values()])
    share = {
        name: 100 * np.mean(pixels == value)
        for value, name in [*enumerate(CLASSES), (255, 'unlabelled')]
    }
    assert result['share'] == pytest.approx(share)
    assert 0 < share['unlabelled'] < 60
    assert (result['written'], result['kept']) == (4, 0)
    for figure in [*found, result['cam']['mIoU'], *share.values()]:
        assert f'{figure:.2f}' in output
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


def test_crf_changes_labels_but_not_the_cams_figure(tool, place):
    tool.main(place.args())
    plain, cam = place.labels(), place.result()['cam']
    place.write_config(crf=dict(iterations=3), scales=(1.0,))
    tool.main(place.args('--overwrite'))
    crf = place.labels()
    assert any((plain[n] != crf[n]).mean() > 0.05 for n in SIZES)
    for name, labels in crf.items():
        assert set(np.unique(labels)) <= {0, 255} | {
            c + 1 for c in LABELS[name]
        }
    assert place.result()['cam'] == cam


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
    again = place.result()
    assert (again['written'], again['kept']) == (2, 2)
    assert again['evaluation'] == result['evaluation']
    assert again['share'] == result['share']
    # The CAMs of kept labels are not computed again; the figure says so.
    assert again['cam']['images'] == 2
    assert '2 labels written, 2 kept' in capsys.readouterr().out


def test_a_finished_run_is_left_as_it_is(tool, place):
    tool.main(place.args())
    result = place.result()
    tool.main(place.args())
    changed = dict(written=0, kept=4)
    assert place.result() == {**result, **changed}


@pytest.mark.parametrize('share', [0.02, 0.3, 0.6, 0.9])
def test_a_cut_off_label_is_made_again(tool, place, share):
    tool.main(place.args())
    path = place.out / 'd.png'
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    tool.main(place.args())
    assert path.read_bytes() == data


def test_a_label_that_is_none_of_ours_is_made_again(tool, place):
    tool.main(place.args())
    good = place.labels()
    Image.new('RGB', SIZES['a'][::-1]).save(place.out / 'a.png')
    Image.new('P', (5, 5)).save(place.out / 'b.png')
    # A value that is a class, but none of this image's.
    other = np.full(SIZES['c'], 3, dtype=np.uint8)
    write_label(place.out / 'c.png', other, PALETTE)
    tool.main(place.args())
    assert place.result()['kept'] == 1
    for name, labels in place.labels().items():
        np.testing.assert_array_equal(labels, good[name])


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
    with pytest.raises(ValueError, match=r'another pseudo_label.*--over'):
        tool.main(
            place.args('--cfg-options', 'pseudo_label.background.threshold=.6')
        )
    other = torch.load(place.checkpoint, weights_only=True)
    other['state_dict']['cam_head.conv.weight'] *= -1
    torch.save(other, place.checkpoint)
    with pytest.raises(ValueError, match='another checkpoint'):
        tool.main(place.args())
    place.record.unlink()
    with pytest.raises(ValueError, match='does not say what'):
        tool.main(place.args())
    for name, labels in place.labels().items():
        np.testing.assert_array_equal(labels, before[name])


def test_without_masks_labels_are_made_all_the_same(tool, place, capsys):
    (place.root / 'SegmentationClass').rename(place.root / 'elsewhere')
    tool.main(place.args('--json', str(place.root / 'figures/f.json')))
    assert len(place.labels()) == 4
    result = json.loads((place.root / 'figures/f.json').read_text())
    assert result['evaluation'] is result['cam'] is None
    assert not place.record.exists()
    assert 'no masks' in capsys.readouterr().out


def test_some_masks_evaluate_some_labels(tool, place):
    (place.root / 'SegmentationClass/a.png').unlink()
    tool.main(place.args())
    assert place.result()['evaluation']['images'] == 3


def break_mask_size(place):
    Image.new('P', (9, 7)).save(place.root / 'SegmentationClass/b.png')


def break_saliency_size(place):
    Image.new('L', (9, 7)).save(place.root / 'Saliency/b.png')
    use_saliency(place)


def break_saliency_mode(place):
    Image.new('RGB', SIZES['b'][::-1]).save(place.root / 'Saliency/b.png')
    use_saliency(place)


def remove_saliency(place):
    for name in 'bd':
        (place.root / f'Saliency/{name}.png').unlink()
    use_saliency(place)


def remove_saliency_folder(place):
    (place.root / 'Saliency').rename(place.root / 'elsewhere')
    use_saliency(place)


def use_saliency(place):
    place.write_config(
        background=dict(type='saliency', dir=str(place.root / 'Saliency'))
    )


def break_image(place):
    (place.root / 'JPEGImages/c.jpg').write_bytes(b'no picture')


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


def set_pseudo_label(**changes):
    return lambda place: place.write_config(**changes)


BAD_INPUTS = {
    'mask size': (break_mask_size, r'mask .*b\.png is 9 x 7 .* 24 x 32'),
    'saliency size': (break_saliency_size, r'Saliency.b\.png is 9 x 7'),
    'saliency mode': (break_saliency_mode, r'b\.png must be 8-bit grey'),
    'saliency': (remove_saliency, 'of 2 of 4 images, such as b, d'),
    'saliency folder': (remove_saliency_folder, 'folder .* does not exist'),
    'image': (break_image, r'c\.jpg cannot be read as an image'),
    'config': (remove_config, r'config .*config\.py is not a file'),
    'no checkpoint': (remove_checkpoint, r'model\.pth is not a file'),
    'broken checkpoint': (break_checkpoint, r'model\.pth is no checkpoint'),
    'classes': (change_checkpoint_classes, 'trained for 5 classes, .* has 3'),
    'class names': (rename_checkpoint_classes, "'ring' where .* has 'bar'"),
    'width': (change_checkpoint_width, 'does not fit the model'),
    'unknown weights': (
        use_rca_checkpoint,
        r'has, but the model has not, \d+ weights, such as memory\.',
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
        "background.type is 'otsu'; .* constant, power, saliency",
    ),
    'option of another cue': (
        set_pseudo_label(background=dict(type='power', alpha=4, dir='x')),
        "background has no option 'dir'",
    ),
    'cue without its option': (
        set_pseudo_label(background=dict(type='power')),
        "background needs the option 'alpha'",
    ),
    'unknown crf option': (
        set_pseudo_label(crf=dict(steps=3)),
        "crf has no option 'steps'",
    ),
    'crf value': (
        set_pseudo_label(crf=dict(bilateral_sxy=0)),
        'bilateral_sxy=0 must be positive',
    ),
    'crf backend': (
        set_pseudo_label(crf=dict(backend='gpu')),
        "backend='gpu' must be one of numba, torch, pydensecrf",
    ),
    'threshold': (
        set_pseudo_label(background=dict(type='constant', threshold=40)),
        'threshold 40 must be between 0 and 1',
    ),
    'threshold type': (
        set_pseudo_label(background=dict(type='constant', threshold='x')),
        'pseudo_label: .*str',
    ),
    'margin': (set_pseudo_label(margin=2), 'margin 2 must be between'),
    'scales': (set_pseudo_label(scales=()), 'one or more numbers > 0'),
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


def test_runs_as_a_program(place):
    done = subprocess.run(
        [sys.executable, TOOL, *place.args()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'coverage' in done.stdout
    assert sorted(os.listdir(place.out)) == [f'{n}.png' for n in SIZES]
