"""Labels in other tools' formats, read back as these tools read them."""

import importlib.util
import json
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import yaml
from label_formats import brush_rle, polygon, regions
from PIL import Image

from mmrca.pseudo_labels.writer import voc_palette, write_label

CLASSES = ['background', 'cat & "dog"', 'schräge Kante', 'ring']
PALETTE = [[0, 0, 0], [200, 30, 30], [30, 200, 30], [30, 30, 200]]
FILES = {'a': 'a.jpg', 'trip/b c': 'trip/b c.PNG', 'normal': 'normal.png'}


@pytest.fixture(scope='module')
def tool():
    path = Path(__file__).parents[2] / 'tools/export_labels.py'
    spec = importlib.util.spec_from_file_location('export_labels', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def drawn():
    """Blobs with holes and specks, a frame, single pixels, and 255."""
    rng = np.random.default_rng(0)
    coarse = rng.choice([0, 1, 2, 3, 255], (13, 9)).astype(np.uint8)
    blobs = cv2.resize(coarse, (60, 41), interpolation=cv2.INTER_NEAREST)
    specks = rng.random(blobs.shape) > 0.9
    blobs[specks] = rng.choice([0, 1, 255], specks.sum())
    frame = np.full((20, 30), 3, np.uint8)
    frame[3:-3, 3:-3] = 0
    frame[8:12, 8:20] = 3
    frame[9:11, 9:19] = 1
    frame[0, 0], frame[19, 29] = 2, 255
    normal = np.zeros((8, 9), np.uint8)
    normal[2] = 255
    return {'a': blobs, 'trip/b c': frame, 'normal': normal}


@pytest.fixture
def place(tmp_path):
    for name, labels in drawn().items():
        for folder, file in (('labels', f'{name}.png'), ('im', FILES[name])):
            path = tmp_path / folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', labels.shape[::-1]).save(path)
        write_label(tmp_path / 'labels' / f'{name}.png', labels, PALETTE)
    manifest = dict(
        image_folder=str(tmp_path / 'im'), recipe=dict(classes=CLASSES)
    )
    (tmp_path / 'labels/manifest.json').write_text(json.dumps(manifest))
    return tmp_path


def export(tool, place, kind):
    tool.main([str(place / 'labels'), '--format', kind])
    return place / f'labels_{kind}'


def empty():
    return {n: np.zeros_like(labels) for n, labels in drawn().items()}


def check(found):
    """Every class of every image as it was; 255 is nothing."""
    for name, labels in drawn().items():
        expected = np.where(labels == 255, 0, labels)
        np.testing.assert_array_equal(found[name], expected, err_msg=name)


def test_coco_is_read_by_pycocotools(tool, place, capsys):
    coco = pytest.importorskip('pycocotools.coco')
    path = export(tool, place, 'coco') / 'instances.json'
    data, found = coco.COCO(path), empty()
    names = {file: name for name, file in FILES.items()}
    for image in data.loadImgs(data.getImgIds()):
        labels = found[names[image['file_name']]]
        assert labels.shape == (image['height'], image['width'])
        for entry in data.loadAnns(data.getAnnIds(image['id'])):
            mask = data.annToMask(entry).astype(bool)
            assert not labels[mask].any()
            labels[mask] = entry['category_id']
            y, x = mask.nonzero()
            corner = (x.min(), y.min())
            size = (np.ptp(x) + 1, np.ptp(y) + 1)
            assert entry['bbox'] == [*corner, *size]
            assert entry['area'] == mask.sum()
    assert len(data.getImgIds()) == 3
    check(found)
    categories = data.loadCats(data.getCatIds())
    assert [c['name'] for c in categories] == CLASSES[1:]
    assert [c['color'] for c in categories] == PALETTE[1:]


def test_yolo_is_read_as_ultralytics_does(tool, place):
    out, found = export(tool, place, 'yolo'), empty()
    for name, labels in found.items():
        # The reader finds a label by the image's path.
        image = out / 'images/train' / FILES[name]
        assert Image.open(image).size == labels.shape[::-1]
        file = str(image).replace('/images/', '/labels/')
        text = Path(file).with_suffix('.txt').read_text()
        for line in text.splitlines():
            number, *words = line.split()
            vertices = np.array(words, float).reshape(-1, 2)
            assert ((vertices >= 0) & (vertices <= 1)).all()
            assert len(vertices) >= 3
            points = (vertices * labels.shape[::-1]).astype(np.int32)
            cv2.fillPoly(labels, [points], int(number) + 1)
    check(found)
    data = yaml.safe_load((out / 'data.yaml').read_text())
    assert data['names'] == dict(enumerate(CLASSES[1:]))
    assert (out / data['train']).is_dir()
    assert data['colors'][0] == '#c81e1e'


def test_voc_keeps_the_label_maps(tool, place):
    out = export(tool, place, 'voc')
    names = (out / 'ImageSets/Segmentation/train.txt').read_text()
    assert names.splitlines() == sorted(FILES)
    for name, labels in drawn().items():
        picture = Image.open(out / f'SegmentationClass/{name}.png')
        np.testing.assert_array_equal(np.array(picture), labels)
        assert picture.getpalette()[3:6] == PALETTE[1]
        assert (out / 'JPEGImages' / FILES[name]).is_file()
        root = ElementTree.parse(out / f'Annotations/{name}.xml').getroot()
        assert root.findtext('size/width') == str(labels.shape[1])
        covered = np.zeros(labels.shape, bool)
        for shown in root.findall('object'):
            assert shown.findtext('name') in CLASSES[1:]
            left, top, right, bottom = (
                int(shown.findtext(f'bndbox/{key}'))
                for key in ('xmin', 'ymin', 'xmax', 'ymax')
            )
            covered[top - 1 : bottom, left - 1 : right] = True
        assert covered[(labels > 0) & (labels < 255)].all()
    lines = (out / 'labelmap.txt').read_text().splitlines()
    assert f'{CLASSES[1]}:200,30,30::' in lines


def brush(rle):
    """Read Label Studio's brush bit by bit."""
    bits = ''.join(f'{byte:08b}' for byte in rle)
    place = 0

    def read(count):
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)

    total, width = read(32), read(5) + 1
    lengths = [read(4) + 1 for _ in range(4)]
    values = []
    while len(values) < total:
        same = read(1)
        count = read(lengths[read(2)]) + 1
        if same:
            values += [read(width)] * count
        else:
            values += [read(width) for _ in range(count)]
    return np.array(values)


def test_label_studio_gets_brush_predictions(tool, place):
    out, found = export(tool, place, 'labelstudio'), empty()
    tasks = json.loads((out / 'tasks.json').read_text())
    for task, name in zip(tasks, sorted(FILES), strict=True):
        where = FILES[name].replace(' ', '%20')
        assert task['data']['image'].endswith(f'?d=im/{where}')
        labels = found[name]
        for result in task['predictions'][0]['result']:
            size = result['original_height'], result['original_width']
            assert size == labels.shape
            shown = brush(result['value']['rle']).reshape(*size, 4)
            assert set(np.unique(shown)) <= {0, 255}
            (cls,) = result['value']['brushlabels']
            labels[shown[..., 3] > 0] = CLASSES.index(cls)
    check(found)
    view = ElementTree.parse(out / 'interface.xml').getroot()
    brushes = view.findall('BrushLabels/Label')
    assert [b.get('value') for b in brushes] == CLASSES[1:]
    assert brushes[0].get('background') == '#c81e1e'


def test_long_runs_of_a_brush():
    mask = np.zeros((300, 400), bool)
    mask[100:290] = True
    shown = brush(brush_rle(mask)).reshape(300, 400, 4)
    np.testing.assert_array_equal(shown[..., 3] > 0, mask)


def test_cvat_gets_masks(tool, place):
    out, found = export(tool, place, 'cvat'), empty()
    root = ElementTree.parse(out / 'annotations.xml').getroot()
    assert [e.text for e in root.findall('meta//name')] == CLASSES[1:]
    names = {file: name for name, file in FILES.items()}
    for image in root.findall('image'):
        labels = found[names[image.get('name')]]
        for mask in image.findall('mask'):
            left, top, width, height = (
                int(mask.get(k)) for k in ('left', 'top', 'width', 'height')
            )
            counts = [int(n) for n in mask.get('rle').split(', ')]
            flags = np.arange(len(counts)) % 2 > 0
            shape = np.repeat(flags, counts).reshape(height, width)
            box = labels[top : top + height, left : left + width]
            box[shape] = CLASSES.index(mask.get('label'))
    check(found)
    named = json.loads((out / 'labels.json').read_text())
    assert named[0] == dict(name=CLASSES[1], color='#c81e1e', attributes=[])


@pytest.mark.parametrize('share', [0.2, 0.5, 0.8])
def test_outlines_of_noise_are_exact(share):
    """Pixels whose centre lies inside the outline are the region's."""
    rng = np.random.default_rng(0)
    mask = (rng.random((12, 15)) < share).astype(np.uint8)
    y, x = np.mgrid[:12, :15] + 0.5
    found = np.zeros(mask.shape, int)
    for region in regions(mask):
        x0, y0 = polygon(region).T
        x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
        for a, b, c, d in zip(x0, y0, x1, y1, strict=True):
            if b != d:  # a ray to the right crosses this edge
                between = (y > min(b, d)) & (y < max(b, d))
                found += between & (x < a + (y - b) * (c - a) / (d - b))
    np.testing.assert_array_equal(found % 2, mask)


def test_specks_are_left_out_and_counted(tool, place, capsys):
    folder = str(place / 'labels')
    for options in ([], ['--min-area', '5', '--out', str(place / 'some')]):
        tool.main([folder, '--format', 'coco', *options])
    whole, some = (
        json.loads((place / name / 'instances.json').read_text())
        for name in ('labels_coco', 'some')
    )
    big = [a for a in whole['annotations'] if a['area'] >= 5]
    gone = len(whole['annotations']) - len(big)
    assert gone and big
    assert [a['segmentation'] for a in some['annotations']] == [
        a['segmentation'] for a in big
    ]
    assert f'left out {gone} of under 5' in capsys.readouterr().out
    # In a label map they are ignored.
    tool.main([folder, '--format', 'voc', '--min-area', '5'])
    small = sum(a['area'] for a in whole['annotations']) - sum(
        a['area'] for a in big
    )
    changed = 0
    for name, labels in drawn().items():
        path = place / f'labels_voc/SegmentationClass/{name}.png'
        found = np.array(Image.open(path))
        differ = found != labels
        assert (found[differ] == 255).all()
        changed += differ.sum()
    assert changed == small


def test_labels_of_another_program(tool, place):
    (place / 'labels/manifest.json').unlink()
    args = [str(place / 'labels'), '--format', 'coco']
    with pytest.raises(ValueError, match='--images'):
        tool.main(args)
    args += ['--images', str(place / 'im')]
    with pytest.raises(ValueError, match='--classes'):
        tool.main(args)
    (place / 'classes.txt').write_text('cat\ndog\ncow\n')
    for name, labels in drawn().items():
        Image.fromarray(labels).save(place / f'labels/{name}.png')
    tool.main([*args, '--classes', str(place / 'classes.txt')])
    written = json.loads((place / 'labels_coco/instances.json').read_text())
    colours = [c['color'] for c in written['categories']]
    assert colours == voc_palette(4)[1:]


def test_a_fault_leaves_nothing_behind(tool, place):
    args = [str(place / 'labels'), '--format', 'voc']
    (place / 'im/a.jpg').rename(place / 'a.jpg')
    with pytest.raises(FileNotFoundError, match=r'labels.* a \(.*--images'):
        tool.main(args)
    (place / 'a.jpg').rename(place / 'im/a.jpg')
    whole = (place / 'labels/normal.png').read_bytes()
    write_label(
        place / 'labels/normal.png', np.zeros((9, 8), np.uint8), PALETTE
    )
    with pytest.raises(ValueError, match=r'normal\.png is 8 x 9'):
        tool.main(args)
    (place / 'labels/normal.png').write_bytes(whole)
    (place / 'classes.txt').write_text('cat\n')
    with pytest.raises(ValueError, match=r'\.png holds \d'):
        tool.main([*args, '--classes', str(place / 'classes.txt')])
    assert sorted(p.name for p in place.iterdir()) == [
        'classes.txt',
        'im',
        'labels',
    ]
    tool.main(args)
    with pytest.raises(ValueError, match='labels_voc exists'):
        tool.main(args)
