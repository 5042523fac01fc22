"""Files of strangers: none runs code, fills the memory or leads elsewhere."""

import json
import os
import pickle
import runpy
import struct
import sys
import zipfile
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmrca import cli
from mmrca.datasets.images import ImageError, image_size, load_image
from mmrca.datasets.masks import read_class_map
from mmrca.inference import read_cams
from mmrca.pseudo_labels.maker import make_pseudo_labels
from mmrca.pseudo_labels.manifest import read_manifest
from mmrca.pseudo_labels.random_walk import RandomWalk
from mmrca.pseudo_labels.writer import read_facts, write_label
from mmrca.registry import MODELS
from tests import tiny
from tests.place import PALETTE, Place


class Mischief:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return Path.mkdir, (Path(self.folder),)


@pytest.fixture
def made(tmp_path):
    """The folder that must not be there after a test."""
    folder = tmp_path / 'made'
    yield folder
    assert not folder.exists()


@pytest.fixture
def evil(made, tmp_path):
    path = tmp_path / 'evil.pth'
    torch.save(dict(state_dict=Mischief(made), meta={}, optimizer={}), path)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    return path


@pytest.fixture
def tool(repo, monkeypatch, tmp_path, capsys):
    """Run a tool; return its status and what it says last."""

    def call(name, *args):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, 'argv', [name, *map(str, args)])
        status = 0
        try:
            runpy.run_path(str(repo / 'tools' / name), run_name='__main__')
        except SystemExit as end:
            status = end.code
        return status, capsys.readouterr().err

    return call


@pytest.fixture
def training(tmp_path):
    cfg = tiny.config(tiny.write_images(tmp_path / 'data', [[0], [1]]))
    cfg.train_cfg.max_epochs = 1
    cfg.optim_wrapper.type = 'OptimWrapper'
    cfg.test_dataloader, cfg.test_cfg = cfg.val_dataloader, dict()
    cfg.test_cfg, cfg.test_evaluator = dict(type='TestLoop'), cfg.val_evaluator
    path = tmp_path / 'training.py'
    cfg.dump(path)
    return path


# ------------------------------------------------------------------- pickles


def by_resume(tool, training, evil, place):
    return tool('train.py', training, '--resume', evil)


def by_resume_of_the_latest(tool, training, evil, place):
    evil.rename(evil.parent / 'latest' / 'epoch_1.pth')
    return tool('train.py', training, '--work-dir', 'latest', '--resume')


def by_test(tool, training, evil, place):
    return tool('test.py', training, evil)


def by_load_from(tool, training, evil, place):
    return tool('train.py', training, '--cfg-options', f'load_from={evil}')


def by_backbone(tool, training, evil, place):
    key = 'model.backbone.init_cfg'
    options = [f'{key}.type=Pretrained', f'{key}.checkpoint={evil}']
    return tool('train.py', training, '--cfg-options', *options)


def by_label_making(tool, training, evil, place):
    return tool(
        'make_pseudo_labels.py', place.config, evil, '--out-dir', place.out
    )


@pytest.mark.parametrize(
    'way',
    [
        *(by_resume, by_resume_of_the_latest, by_test, by_load_from),
        *(by_backbone, by_label_making),
    ],
)
def test_a_tool_runs_no_pickle(tool, training, evil, tmp_path, way):
    (tmp_path / 'latest').mkdir()
    place = Place(tmp_path / 'place')
    status, said = way(tool, training, evil, place)
    assert status == 2
    assert said.splitlines()[-1].startswith('error: ')
    assert 'pth cannot be read' in said


@pytest.mark.parametrize(
    'backbone',
    [
        dict(type='ResNet', depth=18),
        dict(type='mmpretrain.ResNet', depth=18),
        dict(type='mmpretrain.ConvNeXt', arch='tiny'),
        dict(type='MixVisionTransformer', embed_dims=8, num_stages=1,
             num_layers=[1], num_heads=[1], patch_sizes=[7], strides=[4],
             sr_ratios=[8], out_indices=[0]),
        dict(type='SwinTransformer', embed_dims=6, depths=[1], num_heads=[1],
             strides=[4], out_indices=[0]),
        dict(type='VisionTransformer', embed_dims=8, num_layers=1,
             num_heads=1, img_size=32),
        dict(type='BEiT', embed_dims=8, num_layers=1, num_heads=1,
             img_size=32),
    ],
    ids=lambda backbone: backbone['type'],
)  # fmt: skip
def test_other_packages_backbones_run_no_pickle(evil, backbone):
    """Some have a loading of their own."""
    init_default_scope('mmseg')
    init = dict(type='Pretrained', checkpoint=str(evil))
    model = MODELS.build({**backbone, 'init_cfg': init})
    with pytest.raises(ValueError, match=r'evil\.pth cannot be read'):
        model.init_weights()


def test_a_boundary_network_runs_no_pickle(evil, repo):
    config = repo / 'configs/custom/boundary_efficientnet-lite0_custom.py'
    with pytest.raises((ValueError, FileNotFoundError)):
        RandomWalk(str(config), str(evil))


def test_a_resumed_training_runs_no_config_of_its_checkpoint(
    tool, training, made, tmp_path
):
    status, said = tool('train.py', training)
    assert status == 0, said
    path = next((tmp_path / 'data/work').glob('epoch_*.pth'))
    saved = torch.load(path, weights_only=False)
    saved['meta']['config'] = f'import os\nos.mkdir({str(made)!r})\n'
    torch.save(saved, path)
    status, said = tool(
        'train.py', training, '--resume', '--cfg-options',
        'train_cfg.max_epochs=2',
    )  # fmt: skip
    assert status == 0, said
    assert (tmp_path / 'data/work/epoch_2.pth').exists()


# ----------------------------------------------------- what looks like values


def test_saved_cams_run_no_pickle(made, tmp_path):
    array = np.array([Mischief(made)], dtype=object)
    np.savez(tmp_path / 'a.npz', cam_0=array, classes=[0], scores=[1.0])
    assert read_cams(tmp_path / 'a.npz', [0]) is None
    assert read_cams(tmp_path / 'a.npz', None) is None


@pytest.mark.parametrize('kind', ['real', 'promised'])
def test_cams_that_would_fill_the_memory_are_not_read(tmp_path, kind):
    shape = (1, 40_000, 40_000) if kind == 'real' else (1, 10**6, 10**7)
    head = f"{{'descr': '<f2', 'fortran_order': False, 'shape': {shape}, }}"
    head = head.ljust(117) + '\n'
    with zipfile.ZipFile(tmp_path / 'a.npz', 'w', zipfile.ZIP_DEFLATED) as z:
        for name, values in (('classes', [0]), ('scores', [1.0])):
            with z.open(f'{name}.npy', 'w') as file:
                np.save(file, np.array(values))
        with z.open('cam_0.npy', 'w', force_zip64=True) as file:
            size = struct.pack('<H', len(head))
            file.write(b'\x93NUMPY\x01\x00' + size + head.encode())
            for _ in range(600 if kind == 'real' else 1):
                file.write(bytes(2**20))
    assert read_cams(tmp_path / 'a.npz', [0]) is None


def run_of(place):
    return make_pseudo_labels(
        Config.fromfile(place.config), str(place.checkpoint),
        place.root / 'labels', workers=0,
    )  # fmt: skip


NOT_OURS = ['', '[1]', '5', 'null', '{"a": ', '[' * 100_000, '\udcff']


@pytest.mark.parametrize('text', NOT_OURS, ids=lambda text: text[:6])
def test_json_that_is_not_ours_is_named(tmp_path, text):
    place = Place(tmp_path)
    content = text.encode(errors='surrogateescape')
    (tmp_path / 'labels').mkdir()
    (tmp_path / 'labels/manifest.json').write_bytes(content)
    with pytest.raises(ValueError, match=r'manifest\.json was not written'):
        read_manifest(tmp_path / 'labels')
    (tmp_path / 'labels/manifest.json').unlink()
    (tmp_path / 'labels.json').write_bytes(content)
    with pytest.raises(ValueError, match=r'labels\.json exists'):
        run_of(place)


@pytest.mark.parametrize('text', NOT_OURS[1::4], ids=lambda text: text[:6])
def test_a_calibration_that_is_not_ours_is_made_anew(tmp_path, text):
    place = Place(tmp_path)
    place.write_config(background=dict(type='constant', threshold='auto'))
    place.write_config(background=dict(type='constant', threshold='auto'))
    wanted = run_of(place)['background_threshold']
    (tmp_path / 'labels.json').unlink()
    file = Path(f'{place.checkpoint}.calibration.json')
    file.write_bytes(text.encode(errors='surrogateescape'))
    assert run_of(place)['background_threshold'] == wanted


@pytest.mark.parametrize('facts', ['{', '[1]', '{"scores": "x"}', '[' * 9999])
def test_facts_of_a_label_that_are_not_ours_are_none(tmp_path, facts):
    from PIL import Image, PngImagePlugin

    labels = np.zeros((4, 4), np.uint8)
    write_label(tmp_path / 'a.png', labels, PALETTE, 'stamp')
    with Image.open(tmp_path / 'a.png') as picture:
        info = PngImagePlugin.PngInfo()
        for key, value in picture.info.items():
            if isinstance(value, str):
                info.add_text(key, value)
        info.add_text('mmrca_facts', facts)
        picture.save(tmp_path / 'b.png', pnginfo=info)
    assert read_facts(tmp_path / 'b.png') is None


def test_a_report_calls_nothing_that_a_record_names(made, tmp_path, tool):
    place = Place(tmp_path / 'place', 'rca')
    run_of(place)
    file = place.root / 'labels.json'
    record = json.loads(file.read_text())
    record['model']['backbone'] = dict(
        type='subprocess.Popen', args=['mkdir', str(made)]
    )
    file.write_text(json.dumps(record))
    status, said = tool('report.py', place.root / 'labels')
    assert status == 0, said
    text = (tmp_path / 'report.html').read_text()
    assert 'subprocess.Popen' in text
    assert 'No prototypes are shown' in text


def test_a_report_runs_no_config(made, tmp_path, tool):
    logs = tmp_path / 'work/20260101_000000/vis_data'
    logs.mkdir(parents=True)
    (logs / 'scalars.json').write_text('{"loss": 1.0, "step": 1}\n')
    code = f'model = dict(type=__import__("os").mkdir({str(made)!r}))\n'
    (tmp_path / 'work/config.py').write_text(code)
    status, said = tool('report.py', 'work')
    assert status == 0, said
    assert 'is not read' in (tmp_path / 'report.html').read_text()


def test_a_report_reads_the_configs_that_trainings_write(repo, tmp_path):
    from report_parts import read_dump

    for path in ('rca/rca_r18_toy.py', 'rca_seg/deeplabv3plus_r18_toy.py'):
        config = Config.fromfile(repo / 'configs' / path)
        config.dump(tmp_path / 'dumped.py')
        wanted = json.dumps(config.to_dict(), sort_keys=True)
        found = read_dump(tmp_path / 'dumped.py').to_dict()
        assert json.dumps(found, sort_keys=True) == wanted


# ------------------------------------------------------------------ pictures

SIDE = 60_000


def png():
    def chunk(kind, data):
        check = struct.pack('>I', zlib.crc32(kind + data))
        return struct.pack('>I', len(data)) + kind + data + check

    head = struct.pack('>IIBBBBB', SIDE, SIDE, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(999))
    parts = chunk(b'IHDR', head), chunk(b'IDAT', data), chunk(b'IEND', b'')
    return b'\x89PNG\r\n\x1a\n' + b''.join(parts)


def bmp():
    head = struct.pack('<IiiHHIIiiII', 40, SIDE, SIDE, 1, 24, *[0] * 6)
    return b'BM' + struct.pack('<IHHI', 154, 0, 0, 54) + head + bytes(100)


def jpeg():
    frame = struct.pack('>HBHHB', 17, 8, SIDE, SIDE, 3)
    frame += bytes([1, 17, 0, 2, 17, 0, 3, 17, 0])
    return b'\xff\xd8\xff\xc0' + frame + b'\xff\xd9'


def tiff(bits=8):
    tags = [
        (256, 4, 1, SIDE), (257, 4, 1, SIDE), (258, 3, 1, bits),
        (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 8), (277, 3, 1, 3),
        (278, 4, 1, SIDE), (279, 4, 1, 100),
    ]  # fmt: skip
    body = b''.join(struct.pack('<HHII', *tag) for tag in tags)
    head = struct.pack('<2sHIH', b'II', 42, 8, len(tags))
    return head + body + bytes(200)


def hdr(side=30_000):
    """OpenCV reads it, Pillow does not."""
    head = f'#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {side} +X {side}\n'
    return head.encode() + bytes(1000)


@pytest.mark.parametrize('content', [png, bmp, jpeg, tiff, hdr])
def test_a_header_that_promises_too_much_is_refused(tmp_path, content):
    path = tmp_path / 'a.png'
    path.write_bytes(content())
    with pytest.raises(ImageError, match=r'a\.png'):
        load_image(path)
    with pytest.raises(ImageError, match=r'a\.png'):
        image_size(path)
    with pytest.raises(ImageError, match=r'a\.png'):
        read_class_map(path, 'mask')


def test_opencv_alone_reads_no_larger_picture():
    """A training reads images by mmcv, without Pillow."""
    import cv2

    with pytest.raises(cv2.error, match='pixels'):
        cv2.imdecode(np.frombuffer(png(), np.uint8), cv2.IMREAD_COLOR)
    with pytest.raises(cv2.error, match='pixels'):
        cv2.imdecode(np.frombuffer(hdr(15_000), np.uint8), cv2.IMREAD_COLOR)


# --------------------------------------------------------------------- names

OUTSIDE = ['../x.jpg', '/tmp/x.jpg', 'a/../../x.jpg']


@pytest.fixture
def images(tmp_path):
    from PIL import Image

    (tmp_path / 'images').mkdir()
    for path in ('x.jpg', 'images/a.jpg'):
        Image.new('RGB', (8, 8)).save(tmp_path / path)
    return tmp_path / 'images'


def coco(name):
    return json.dumps(
        dict(
            images=[dict(id=1, file_name=name)],
            categories=[dict(id=1, name='cat')],
            annotations=[dict(image_id=1, category_id=1)],
        )
    )


def label_studio(name):
    result = dict(type='choices', from_name='q', value=dict(choices=['cat']))
    return json.dumps(
        [dict(data=dict(image=name), annotations=[dict(result=[result])])]
    )


def cvat(name):
    tag = '<tag label="cat"/>'
    return f'<annotations><image name="{name}">{tag}</image></annotations>'


@pytest.mark.parametrize('name', OUTSIDE)
@pytest.mark.parametrize('kind', [coco, label_studio, cvat])
def test_a_list_leads_to_no_other_folder(tool, tmp_path, images, kind, name):
    (tmp_path / 'given').write_text(kind(name))
    out = tmp_path / 'out/train.csv'
    status, said = tool(
        f'dataset_converters/{kind.__name__}.py', 'given', images, out
    )
    assert status == 2, said
    assert 'x.jpg' in said
    assert not out.exists()


def test_a_table_leads_to_no_other_folder(tool, tmp_path, images):
    (tmp_path / 'table.csv').write_text('../x.jpg,cat\na.jpg,cat\n')
    out = tmp_path / 'out/train.csv'
    args = ('dataset_converters/table.py', 'table.csv', images, out)
    status, said = tool(*args)
    assert status == 2
    assert '../x.jpg' in said


def test_predictions_stay_in_their_folder(tmp_path):
    """MMSegmentation's own data set takes a list's names as they are."""
    from label_writer import LabelWriter

    dataset = SimpleNamespace(
        metainfo=dict(classes=('background', 'cat')),
        data_prefix=dict(img_path=str(tmp_path / 'images')),
    )
    runner = SimpleNamespace(test_dataloader=SimpleNamespace(dataset=dataset))
    sample = SimpleNamespace(
        img_path=str(tmp_path / 'images/../../x.jpg'),
        pred_sem_seg=SimpleNamespace(data=torch.zeros(1, 4, 4)),
    )
    writer = LabelWriter(str(tmp_path / 'out/labels'))
    with pytest.raises(ValueError, match=r'\.\./x\.jpg'):
        writer.after_test_iter(runner, 0, outputs=[sample])
    assert not list(tmp_path.parent.rglob('x.png'))


def test_a_bomb_of_entities_is_refused_by_cvat(tool, tmp_path, images):
    from tests.tools.test_dataset_converters import BOMB

    bomb = BOMB.replace('annotation>', 'annotations>')
    (tmp_path / 'given').write_text(bomb)
    args = ('dataset_converters/cvat.py', 'given', images, 'train.csv')
    status, said = tool(*args)
    assert status == 2
    assert 'given cannot be read as XML' in said


def test_downloads_are_read_safely_by_every_tool(monkeypatch):
    monkeypatch.delenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', raising=False)
    cli.run(lambda: None)
    assert os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] == '1'
