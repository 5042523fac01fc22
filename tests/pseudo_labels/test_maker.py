"""Passes together and apart, many processes, odd images, full disks."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import mmcv
import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmrca.pseudo_labels import manifest
from mmrca.pseudo_labels.inputs import LabelInput
from mmrca.pseudo_labels.maker import make_pseudo_labels, same_size_batches
from mmrca.registry import CUES, MODELS
from tests import programs
from tests.place import LABELS, SIZES, Place, model_config, read, save_model

TOOL = Path(__file__).parents[2] / 'tools' / 'make_pseudo_labels.py'
CRF = dict(type='dense_crf', iterations=2)
ADAPTIVE = dict(type='pixel_adaptive', iterations=2, dilations=(1, 2))
ORIENTATION = 0x0112


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def make(place, out='labels', **options):
    return make_pseudo_labels(
        Config.fromfile(place.config),
        str(place.checkpoint),
        out and place.root / out,
        **options,
    )


def contents(folder, pattern='*.png'):
    return {f.name: f.read_bytes() for f in Path(folder).glob(pattern)}


def metrics(result):
    return {k: result[k] for k in ('images', 'share', 'against_masks')}


def test_saved_cams_give_the_same_labels(place):
    place.write_config(scales=(1.0, 1.5), flip=True)
    direct = make(place)
    cams = place.root / 'cams'
    make(place, out=None, cams_dir=cams)
    assert not (place.root / 'None').exists()
    assert len(contents(cams, '*.npz')) == 4
    # No CAM is computed again: with other images they would be others.
    for path in (place.root / 'JPEGImages').iterdir():
        Image.new('RGB', Image.open(path).size).save(path)
    later = make(place, out='later', cams_dir=cams)
    assert contents(place.root / 'later') == contents(place.root / 'labels')
    assert later['share'] == direct['share']


def test_cams_are_small_and_half(place):
    place.write_config(scales=(1.0, 1.5))
    make(place, out=None, cams_dir=place.root / 'cams')
    with np.load(place.root / 'cams/d.npz') as saved:
        assert saved['cam_0'].dtype == np.float16
        height, width = SIZES['d']
        assert saved['cam_0'].shape == (3, -(-height // 8), -(-width // 8))
        assert saved['cam_1'].shape[1] > saved['cam_0'].shape[1]
        assert saved['classes'].tolist() == LABELS['d']
        assert saved['scores'].shape == (3,)


def test_broken_and_outdated_cams_are_computed_again(place):
    cams = place.root / 'cams'
    make(place, out=None, cams_dir=cams)
    whole = contents(cams, '*.npz')
    (cams / 'a.npz').write_bytes(whole['a.npz'][:100])
    (cams / 'b.npz').write_bytes(b'')
    (cams / 'c.npz').unlink()
    text = (place.root / 'labels.txt').read_text()
    (place.root / 'labels.txt').write_text(text.replace('d 0 1 2', 'd 1'))
    assert make(place, out=None, cams_dir=cams)['kept'] == 0
    again = contents(cams, '*.npz')
    for name in 'abc':
        assert again[f'{name}.npz'] == whole[f'{name}.npz']
    with np.load(cams / 'd.npz') as saved:
        assert saved['classes'].tolist() == [1]


def test_cams_of_another_model_are_refused(place, capsys):
    cams = place.root / 'cams'
    make(place, out=None, cams_dir=cams)
    place.write_config(margin=0.2)
    make(place, cams_dir=cams)  # the margin is nothing to a CAM
    place.write_config(flip=True)
    with pytest.raises(ValueError, match=r'4 CAMs .*flip = false'):
        make(place, out='other', cams_dir=cams)
    make(place, out='other', cams_dir=cams, overwrite=True)
    assert 'deletes 4 CAMs' in capsys.readouterr().out


def test_overwrite_says_what_it_replaces(place, capsys):
    make(place)
    (place.root / 'labels/mine.png').write_bytes(b'')
    place.write_config(margin=0.2)
    make(place, overwrite=True)
    said = capsys.readouterr().out
    assert 'deletes 4 labels in' in said
    assert 'pseudo_label.margin = 0.1 (now 0.2)' in said
    assert (place.root / 'labels/mine.png').exists()
    make(place, overwrite=True)
    assert 'made with the same recipe' in capsys.readouterr().out


def test_a_label_of_other_classes_is_made_again(place):
    make(place)
    text = (place.root / 'labels.txt').read_text()
    (place.root / 'labels.txt').write_text(text.replace('a 0', 'a 1'))
    result = make(place)
    assert (result['written'], result['kept']) == (1, 3)
    assert set(np.unique(read(place.root / 'labels/a.png'))) <= {0, 2, 255}


def item(name, size):
    return LabelInput(name, f'{name}.jpg', [0], size)


def test_batches_hold_images_of_one_size():
    sizes = [(4, 4), (4, 5), (4, 4), (4, 4), (5, 4), (4, 5)]
    items = [item(str(i), size) for i, size in enumerate(sizes)]
    batches = same_size_batches(items, 2)
    names = [[i.img_id for i in batch] for batch in batches]
    assert names == [['0', '2'], ['1', '5'], ['3'], ['4']]
    assert same_size_batches(items, 1) == [[i] for i in items]
    with pytest.raises(ValueError, match='--batch-size'):
        same_size_batches(items, 0)


def test_batches_do_not_depend_on_what_is_done(place):
    make(place, batch_size=2)
    whole = contents(place.root / 'labels')
    (place.root / 'labels/c.png').unlink()
    assert make(place, batch_size=2)['written'] == 1
    assert contents(place.root / 'labels') == whole


@pytest.mark.parametrize('refinement', [None, CRF])
def test_two_workers_make_the_same_as_none(place, refinement):
    place.write_config(refinement=refinement)
    alone = make(place, workers=0)
    many = make(place, out='many', workers=2)
    assert contents(place.root / 'many') == contents(place.root / 'labels')
    assert metrics(many) == metrics(alone)
    broken = place.root / 'JPEGImages/a.jpg'
    broken.write_bytes(broken.read_bytes()[:-30])
    partly = make(place, out='partly', workers=2)
    assert list(partly['errors']) == ['a']
    assert partly['written'] == 3


def launch(place, processes, torchrun):
    command = [TOOL, *place.args(), '--launcher', 'pytorch']
    if not torchrun:
        return programs.run(*command, processes=processes)
    return subprocess.run(
        [
            *(sys.executable, '-m', 'torch.distributed.run'),
            *('--nproc-per-node', str(processes), '--master-port', '0'),
            *('--rdzv-backend', 'c10d', '--rdzv-endpoint', 'localhost:0'),
            *command,
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )


@pytest.mark.parametrize(
    ('processes', 'torchrun'),
    [
        (2, False),
        (3, False),
        pytest.param(2, True, marks=pytest.mark.slow),
    ],
)
def test_processes_share_the_images(place, processes, torchrun):
    alone = make(place, workers=0)
    done = launch(place, processes, torchrun)
    assert done.returncode == 0, done.stderr
    assert contents(place.out) == contents(place.root / 'labels')
    result = place.result()
    assert metrics(result) == json.loads(json.dumps(metrics(alone)))
    assert result['written'] == 4
    assert done.stdout.count('images done: 4') == 1
    # Another number of processes goes on with what is there.
    assert make(place, out='out/labels')['kept'] == 4


def write_odd_images(place):
    """Grey, 16-bit, CMYK, turned by EXIF, one pixel high, and large."""
    rng = np.random.default_rng(0)
    folder = place.root / 'JPEGImages'
    for path in folder.iterdir():
        path.unlink()
    pixels = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    photo = Image.fromarray(pixels)
    photo.convert('L').save(folder / 'grey.jpg')
    deep = rng.integers(0, 2**16, (20, 30), dtype=np.uint16)
    Image.fromarray(deep).save(folder / 'deep.png')
    photo.convert('CMYK').save(folder / 'cmyk.jpg')
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    photo.save(folder / 'turned.jpg', exif=exif)
    photo.resize((30, 1)).save(folder / 'flat.png')
    photo.resize((5000, 4000)).save(folder / 'large.jpg')
    photo.convert('P').save(folder / 'palette.png')
    photo.convert('RGBA').save(folder / 'alpha.png')
    lines = [f'{path.stem} 1 2' for path in folder.iterdir()]
    (place.root / 'labels.txt').write_text('\n'.join(lines) + '\n')
    return {path.stem: path for path in folder.iterdir()}


@pytest.mark.parametrize('refinement', [None, CRF, ADAPTIVE])
def test_odd_images_are_labelled_at_their_size(place, refinement):
    paths = write_odd_images(place)
    place.write_config(max_side=200, refinement=refinement)
    result = make(place)
    assert result['errors'] == {}
    for name, path in paths.items():
        labels = read(place.root / f'labels/{name}.png')
        assert labels.shape == mmcv.imread(str(path)).shape[:2], name
        assert set(np.unique(labels)) <= {0, 2, 3, 255}
    assert read(place.root / 'labels/turned.png').shape == (30, 20)
    assert len(np.unique(read(place.root / 'labels/large.png'))) > 1


@MODELS.register_module()
class Unpadded(torch.nn.Module):
    """A backbone that needs images of seven pixels."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 16, 7)

    def forward(self, x):
        return [self.conv(x)]


def test_an_image_the_model_cannot_take_is_named(place):
    write_odd_images(place)
    config = model_config('plain')
    config['backbone'] = dict(type='mmrca.Unpadded')
    save_model(place.checkpoint, config)
    text = place.config.read_text()
    start, end = text.index('model ='), text.index('train_dataloader =')
    place.config.write_text(f'{text[:start]}model = {config}\n{text[end:]}')
    result = make(place)
    assert list(result['errors']) == ['flat']
    assert 'flat.png cannot go through the model' in result['errors']['flat']


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write anywhere')
def test_a_read_only_folder_ends_the_run_at_once(place):
    place.root.joinpath('locked').mkdir(mode=0o555)
    with pytest.raises(OSError, match='denied'):
        make(place, out='locked/labels')


def test_a_disk_without_space_ends_the_run_with_a_sentence(place):
    """The results of all images do not fit."""
    limit = 'import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (4000, 4000))'
    code = f'{limit}; import runpy, sys; sys.argv = sys.argv[1:]; '
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    done = subprocess.run(
        [
            *(sys.executable, '-c', code, TOOL),
            *place.args('--cams', str(place.root / 'cams')),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert 'error: File too large' in done.stderr
    assert 'Traceback' not in done.stderr
    written = contents(place.out)
    assert written
    assert not place.record.exists()
    result = make(place, out='out/labels')
    assert contents(place.out).items() >= written.items()
    assert result['images'] == result['against_masks']['images'] == 4


def write_many(place, count):
    """The four images over and over, under other names."""
    names = []
    for number in range(count):
        name = 'abcd'[number % 4]
        for folder, suffix in (
            ('JPEGImages', 'jpg'), ('SegmentationClass', 'png'),
        ):  # fmt: skip
            source = place.root / folder / f'{name}.{suffix}'
            copy = source.with_name(f'{name}{number}.{suffix}')
            copy.write_bytes(source.read_bytes())
        names.append(f'{name}{number} 0')
    (place.root / 'labels.txt').write_text('\n'.join(names) + '\n')


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize('workers', [0, 2])
def test_kills_at_any_moment_change_nothing(place, workers):
    write_many(place, 300)
    place.write_config(refinement=CRF, scales=(1.0, 1.5), flip=True)
    options = dict(cams_dir=place.root / 'cams', workers=workers)
    whole = make(place, out='whole', **options)
    labels = contents(place.root / 'whole')
    command = [
        *(sys.executable, TOOL, *place.args()),
        *('--workers', str(workers), '--cams', place.root / 'killed_cams'),
    ]
    rng = random.Random(0)
    kills = 0
    while kills < 20:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, start_new_session=True
        )
        # After the start, which takes seconds, at any time.
        while process.poll() is None and not place.out.exists():
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 0.6))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        for path in place.out.glob('*.png'):
            assert path.read_bytes() == labels[path.name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert kills == 20
    assert contents(place.out) == labels
    expected = contents(place.root / 'cams', '*.npz')
    assert contents(place.root / 'killed_cams', '*.npz') == expected
    assert metrics(place.result()) == json.loads(json.dumps(metrics(whole)))
    assert not list(place.out.rglob('.*.part'))


def test_manifests_name_the_keys_that_differ():
    earlier = dict(a=1, b=dict(c=[1, 2], d='x' * 99, e=None), f={})
    now = dict(a=1, b=dict(c=[1], d='y', g=0), f={})
    said = manifest.differences(earlier, now)
    assert said.startswith('b.c = [1, 2] (now [1]), b.d = "xxx')
    assert '... (now "y")' in said
    assert said.endswith('b.e = null (now not set) and 1 more')


def test_a_broken_manifest_is_named(place):
    make(place)
    (place.root / 'labels/manifest.json').write_text('{"a": ')
    with pytest.raises(ValueError, match=r'manifest\.json'):
        make(place)


def test_digests_change_with_the_recipe():
    one = manifest.digest(dict(a=1, b=dict(c=2)))
    assert one == manifest.digest(dict(b=dict(c=2), a=1))
    assert one != manifest.digest(dict(a=1, b=dict(c=3)))


def test_masks_change_no_label(place):
    make(place, cams_dir=place.root / 'cams')
    with_masks = contents(place.root / 'labels')
    for path in (place.root / 'SegmentationClass').iterdir():
        Image.new('RGB', (3, 3)).save(path)
    result = make(place, out='other', cams_dir=place.root / 'other_cams')
    assert contents(place.root / 'other') == with_masks
    assert len(result['errors']) == result['written'] == 4


def test_a_label_edited_by_hand_is_kept_until_overwrite(place, capsys):
    make(place)
    path = place.root / 'labels/b.png'
    edited = np.full(SIZES['b'], 3, np.uint8)
    Image.fromarray(edited).save(path)
    by_hand = path.read_bytes()
    result = make(place)
    assert path.read_bytes() == by_hand
    assert (result['kept'], result['edited']) == (4, ['b'])
    assert not capsys.readouterr().out.count('deletes')
    make(place, overwrite=True)
    assert '1 of them edited or made elsewhere' in capsys.readouterr().out
    assert path.read_bytes() != by_hand


def test_a_png_that_lies_there_without_manifest_is_named(place):
    folder = place.root / 'labels'
    folder.mkdir()
    Image.new('L', (3, 3)).save(folder / 'b.png')
    before = contents(folder)
    with pytest.raises(ValueError, match=r'b\.png'):
        make(place)
    assert contents(folder) == before


def test_a_normal_image_is_all_background(place):
    content = json.dumps({**LABELS, 'b': []})
    (place.root / 'list.json').write_text(content)
    config = place.config.read_text().replace('labels.txt', 'list.json')
    place.config.write_text(config)
    cams = place.root / 'cams'
    result = make(place, cams_dir=cams)
    assert not read(place.root / 'labels/b.png').any()
    assert sorted(contents(cams, '*.npz')) == [f'{n}.npz' for n in 'abcd']
    clean = dict(images=1, with_foreground=0, foreground=0)
    assert result['normals'] == clean
    assert result['against_masks']['images'] == 4
    # A quarter of the pixels painted by hand is a false alarm.
    labels = np.zeros(SIZES['b'], np.uint8)
    labels[: SIZES['b'][0] // 4] = 1
    Image.fromarray(labels).save(place.root / 'labels/b.png')
    alarm = dict(images=1, with_foreground=100, foreground=25)
    assert make(place)['normals'] == alarm


def test_a_json_file_of_others_is_not_overwritten(place):
    path = place.root / 'labels.json'
    path.write_text('{"a": ["dog"]}')
    with pytest.raises(ValueError, match=r'labels\.json.*--json'):
        make(place)
    assert path.read_text() == '{"a": ["dog"]}'
    assert not (place.root / 'labels').exists()


def test_masks_of_0_and_255_measure_nothing(place, capsys):
    for name, size in SIZES.items():
        mask = np.zeros(size, np.uint8)
        mask[:5] = 255
        path = place.root / f'SegmentationClass/{name}.png'
        Image.fromarray(mask).save(path)
    assert make(place)['against_masks'] is None
    assert 'shows a class' in capsys.readouterr().out
    assert len(contents(place.root / 'labels')) == 4


class ByStages:
    """A third party's refinement: the brightest cells are background."""

    needs_stages = True
    seen: ClassVar = []

    def __init__(self, weight=1.0):
        self.weight = weight

    def __call__(self, image, scores, classes, stages):
        self.seen.append([(s.ndim, s.shape[0]) for s in stages])
        refined = scores.clone()
        refined[0] = torch.from_numpy(image[..., 0] > 127) * self.weight
        return refined


@CUES.register_module()
class Half:
    def __call__(self, cams, img_id):
        assert img_id in SIZES
        return torch.full(cams.shape[1:], 0.5)


@pytest.fixture
def third_party(monkeypatch):
    """The class above in a module that a config can import."""
    module = type(sys)('third_party_refinement')
    module.ByStages = ByStages
    monkeypatch.setitem(sys.modules, 'third_party_refinement', module)
    ByStages.seen.clear()


def test_cues_and_refinements_of_others(place, third_party):
    place.write_config(
        background=dict(type='Half'),
        refinement=dict(type='third_party_refinement.ByStages', weight=0.9),
        margin=0.0,
    )
    result = make(place, cams_dir=place.root / 'cams')
    for name in SIZES:
        image = mmcv.imread(str(place.root / f'JPEGImages/{name}.jpg'))
        labels = read(place.root / f'labels/{name}.png')
        bright = image[..., 2] > 127
        assert (labels[~bright] > 0).any()
        assert (labels[bright] == 0).mean() > 0.5
    assert ByStages.seen[0] == [(3, 16)]
    assert {'cam', 'refined'} <= set(result['against_masks'])


def test_an_unknown_refinement_is_named(place):
    place.write_config(refinement=dict(type='nowhere.Refine'))
    with pytest.raises(ValueError, match=r'refinement.*nowhere\.Refine'):
        make(place)
