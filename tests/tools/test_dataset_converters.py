"""The converters on folders of the shapes that they are for."""

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmrca.datasets import ImageLevelDataset


@pytest.fixture
def convert(repo, capsys):
    """Run a converter; return what it printed."""

    def call(name: str, *arguments: object) -> str:
        path = repo / 'tools/dataset_converters' / f'{name}.py'
        spec = spec_from_file_location(name, path)
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        module.main([str(argument) for argument in arguments])
        return capsys.readouterr().out

    return call


def write_images(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Of different content: one colour each.
        Image.new('RGB', (6, 4), (number, 0, 0)).save(path, format='PNG')


def load(path: Path, images: Path) -> dict[str, list[str]]:
    """Read a list as training does."""
    names = (path.parent / 'classes.txt').read_text().splitlines()
    dataset = ImageLevelDataset(
        str(path),
        dict(classes=('background', *names)),
        dict(img_path=str(images)),
    )
    infos = map(dataset.get_data_info, range(len(dataset)))
    return {i['img_id']: [names[c] for c in i['gt_label']] for i in infos}


def count_of(summary: str, name: str) -> int:
    (line,) = (s for s in summary.splitlines() if s.startswith(f'{name} '))
    return int(line.split()[-1])


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# ------------------------------------------------------------------- VOC

PART = '<part><name>head</name></part>'
VOC = {
    '2007_000032': [('aeroplane', 0), ('person', 0), ('person', 1)],
    '2008_000001': [('person', 1)],
    '2009_000002': [('tvmonitor', 0), ('aeroplane', 1)],
    '2009_000003': [('dog', 0)],
}


@pytest.fixture
def voc(tmp_path):
    root = tmp_path / 'VOC2012'
    write_images(root / 'JPEGImages', *(f'{name}.jpg' for name in VOC))
    (root / 'Annotations').mkdir()
    for name, objects in VOC.items():
        entries = ''.join(
            f'<object><name>{c}</name>{PART}<difficult>{d}</difficult>'
            '</object>'
            for c, d in objects
        )
        (root / f'Annotations/{name}.xml').write_text(
            f'<annotation><folder>VOC2012</folder>{entries}</annotation>'
        )
    return root


@pytest.mark.parametrize(
    'line',
    [
        '{}',
        '/JPEGImages/{}.jpg /SegmentationClassAug/{}.png',
        '{} 3 7',  # another list's classes: the XML files decide
    ],
)
def test_voc(convert, voc, line):
    names = list(VOC)[:3]
    lines = ''.join(line.replace('{}', name) + '\n' for name in names)
    (voc / 'list.txt').write_text(lines)
    out = voc / 'labels/train_cls.txt'
    said = convert('voc', voc, voc / 'list.txt', out)
    # The notation of the released code, in VOC's order of classes.
    assert out.read_text() == (
        '2007_000032 0 14\n2008_000001 14\n2009_000002 0 19\n'
    )
    assert load(out, voc / 'JPEGImages')['2009_000002'] == [
        'aeroplane',
        'tvmonitor',
    ]
    assert (count_of(said, 'person'), count_of(said, 'dog')) == (2, 0)
    assert '3 images, 5 labels' in said
    assert '2 labels rest on objects marked as difficult alone' in said
    assert 'no image shows: bicycle, bird' in said
    ids = (out.parent / 'train_cls_ids.txt').read_text()
    assert ids.split() == names


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        (('list.txt', '2007_000032\n2007_000032\n'), '1 images twice: 2007_'),
        (('list.txt', '\n'), 'is empty'),
        (('list.txt', '2010_000001\n'), r'1 of 1 .* no .*ID.xml, first 2010'),
        (('Annotations/2009_000003.xml', '<annotation>'), '3.xml cannot be'),
        (
            ('Annotations/2009_000003.xml', '<a><object/></a>'),
            '3.xml has an object without a name',
        ),
        (
            (
                'Annotations/2009_000003.xml',
                '<a><object><name>unicorn</name></object></a>',
            ),
            r'unknown classes .*: unicorn \(1\); the classes are aeroplane',
        ),
    ],
)
def test_bad_voc(convert, voc, change, says):
    (voc / 'list.txt').write_text('\n'.join(VOC))
    (voc / change[0]).write_text(change[1])
    with pytest.raises((ValueError, FileNotFoundError), match=says):
        convert('voc', voc, voc / 'list.txt', voc / 'labels/train.csv')
    assert not (voc / 'labels').exists()


# ------------------------------------------------------------------ COCO


def instances(prefix: str = '') -> dict:
    def annotation(image: int, category: int, crowd: int = 0) -> dict:
        return dict(
            id=image * 100 + category,
            image_id=image,
            category_id=category,
            iscrowd=crowd,
            segmentation=[[1, 2, 3, 4, 5, 6]],
        )

    return dict(
        images=[
            dict(id=i, file_name=f'{prefix}{i:012d}.jpg') for i in (9, 7, 5, 3)
        ],
        categories=[
            dict(id=90, name='toothbrush'),
            dict(id=1, name='person'),
            dict(id=10, name='traffic light'),
        ],
        annotations=[
            annotation(9, 90),
            annotation(9, 10),
            annotation(9, 90),
            annotation(7, 1, crowd=1),
            annotation(5, 1, crowd=1),
            annotation(5, 1),
            annotation(5, 1, crowd=1),
        ],
    )


@pytest.fixture(params=['', 'COCO_train2014_'], ids=['2017', '2014'])
def coco(tmp_path, request):
    content = instances(request.param)
    files = [image['file_name'] for image in content['images']]
    write_images(tmp_path / 'images', *files)
    (tmp_path / 'instances.json').write_text(json.dumps(content))
    return tmp_path, request.param


@pytest.mark.parametrize('kind', ['txt', 'csv', 'json'])
def test_coco(convert, coco, kind):
    root, prefix = coco
    out = root / f'labels/train.{kind}'
    said = convert('coco', root / 'instances.json', root / 'images', out)
    assert load(out, root / 'images') == {
        f'{prefix}000000000009': ['traffic light', 'toothbrush'],
        f'{prefix}000000000007': ['person'],
        f'{prefix}000000000005': ['person'],
    }
    # Numbered in the order of the ids, without their gaps.
    classes = (root / 'labels/classes.txt').read_text().splitlines()
    assert classes == ['person', 'traffic light', 'toothbrush']
    assert count_of(said, 'person') == 2
    assert '1 no class: ' + prefix + '000000000003.jpg' in said
    assert (root / 'labels/train_skipped.txt').read_text() == (
        f'{prefix}000000000003.jpg\tno class\n'
    )
    assert '1 labels rest on crowd regions alone' in said


def drop_images(content):
    del content['images']


def strange_image(content):
    content['annotations'][0]['image_id'] = 4


def strange_category(content):
    content['annotations'][0]['category_id'] = 2


def image_twice(content):
    content['images'].append(content['images'][0])


@pytest.mark.parametrize(
    ('spoil', 'says'),
    [
        (drop_images, "has no 'images'"),
        (strange_image, 'annotation 990 is of image 4, which'),
        (strange_category, 'annotation 990 is of category 2, which'),
        (image_twice, 'has an image twice'),
    ],
)
def test_bad_coco(convert, tmp_path, spoil, says):
    content = instances()
    spoil(content)
    file = tmp_path / 'instances.json'
    file.write_text(json.dumps(content))
    out = tmp_path / 'labels/train.csv'
    with pytest.raises(ValueError, match=says):
        convert('coco', file, tmp_path, out)
    file.write_text(json.dumps(content)[:-9])
    with pytest.raises(ValueError, match='cannot be read as JSON'):
        convert('coco', file, tmp_path, out)


# --------------------------------------------------------------- folders


def test_folders(convert, tmp_path):
    root = tmp_path / 'images'
    write_images(
        root, 'cat/1.jpg', 'cat/deep/2.PNG', 'wild dog/1.jpeg', 'loose.png'
    )
    # The same photo in two folders; a copy within one.
    both = (root / 'cat/1.jpg').read_bytes()
    (root / 'wild dog/same.jpg').write_bytes(both)
    (root / 'wild dog/Thumbs.db').write_bytes(both)
    out = tmp_path / 'labels/train.csv'
    said = convert('folders', root, out)
    assert load(out, root) == {
        'cat/1': ['cat', 'wild dog'],
        'cat/deep/2': ['cat'],
        'wild dog/1': ['wild dog'],
    }
    skipped = (out.parent / 'train_skipped.txt').read_text().splitlines()
    assert sorted(skipped) == [
        'loose.png\tin no class folder',
        'wild dog/Thumbs.db\tno image',
        'wild dog/same.jpg\tthe same as cat/1.jpg',
    ]
    assert 'skipped 3, listed in' in said


def test_every_tenth_image_can_be_held_back(convert, tmp_path):
    names = [f'{c}/{i:02d}.jpg' for c in ('cat', 'dog') for i in range(20)]
    write_images(tmp_path / 'images', *names)
    out, val = (tmp_path / f'labels/{s}.csv' for s in ('train', 'val'))
    said = convert('folders', tmp_path / 'images', out, '--val', val)
    train = load(out, tmp_path / 'images')
    held = load(val, tmp_path / 'images')
    assert list(held) == ['cat/09', 'cat/19', 'dog/09', 'dog/19']
    assert not train.keys() & held.keys()
    assert len(train) + len(held) == 40
    assert count_of(said, 'dog') == 2
    assert names_in(out.parent) == {
        'train.csv',
        'train_ids.txt',
        'val.csv',
        'val_ids.txt',
        'classes.txt',
    }


# ----------------------------------------------------------------- table

PHOTOS = {'a': ['cat', 'traffic light'], 'b': ['dog'], 'c': ['cat']}
TABLES = {
    'a cell a class': 'a.jpg,cat,traffic light\nb.JPG,dog,\nc,cat,\n',
    'a cell, commas': 'a,"cat, traffic light"\nb,dog\nc.png,cat\n',
    'bom, semicolons': (
        '\ufeffPhoto;Shows\r\na.jpg;cat|traffic light\r\n'
        'b.JPG;dog;\r\n;;\r\nc;cat\r\n'
    ),
    'tabs, a cell': 'image\tx\na\tcat; traffic light\nb\tdog\nc\tcat\n',
    'a row a pair': 'image,class\na,traffic light\nb,dog\na,cat\nc,cat\n',
    'a column a class': (
        'image;cat;dog;traffic light\na;1;0;1\nb;;x;\nc;Yes;no;false\n'
    ),
}


@pytest.fixture
def photos(tmp_path):
    write_images(tmp_path / 'photos', 'a.jpg', 'b.JPG', 'c.png')
    return tmp_path


@pytest.mark.parametrize('table', TABLES.values(), ids=TABLES)
def test_table(convert, photos, table):
    (photos / 'table.csv').write_bytes(table.encode())
    out = photos / 'labels/train.csv'
    convert('table', photos / 'table.csv', photos / 'photos', out)
    assert load(out, photos / 'photos') == PHOTOS
    classes = (out.parent / 'classes.txt').read_text().splitlines()
    assert classes == ['cat', 'dog', 'traffic light']


def test_columns_of_a_table_and_folders_of_windows(convert, photos):
    write_images(photos / 'photos/new', 'd.jpg')
    (photos / 'table.csv').write_text(
        'date,tags,photo,tags2\n1.2.,dog,new\\d.jpg,\n2.2.,cat,a.jpg,dog\n'
        '2.2.,cat,a.jpg\n'
    )
    out = photos / 'labels/train.csv'
    call = ('table', photos / 'table.csv', photos / 'photos', out)
    said = convert(*call, '--columns', 'photo', 'tags', 'tags2')
    assert load(out, photos / 'photos') == {
        'new/d': ['dog'],
        'a': ['cat', 'dog'],
    }
    assert '1 labels stood in the table twice' in said
    with pytest.raises(ValueError, match="has 0 columns 'label'; its header"):
        convert(*call, '--overwrite', '--columns', 'photo', 'label')


@pytest.mark.parametrize(
    ('table', 'says'),
    [
        ('', 'is empty'),
        ('a,cat\n,dog\n', "a row has no image before 'dog'"),
        ('a,cat\nb,Cat\n', "'[cC]at' and '[cC]at' are the same but for cap"),
        ('a,background\n', "'background' is no class of its own"),
        ('a\nb\n', 'has no classes'),
        ('a,cat\na.jpg,cat\n', "'a' and 'a.jpg' are one image"),
        ('x,cat\na.jpg,cat\n', '1 of 2 images .*: x; add'),
        ('a.jpg,cat\nx.jpg,cat\ny,cat\n', '2 of 3 images .*: x.jpg, y; add'),
    ],
)
def test_bad_table(convert, photos, table, says):
    (photos / 'table.csv').write_text(table)
    out = photos / 'labels/train.csv'
    with pytest.raises((ValueError, FileNotFoundError), match=says):
        convert('table', photos / 'table.csv', photos / 'photos', out)
    assert not out.parent.exists()


def test_a_table_in_another_encoding(convert, photos):
    (photos / 'table.csv').write_bytes('a;Bär\n'.encode('cp1252'))
    out = photos / 'labels/train.csv'
    with pytest.raises(ValueError, match="save it as 'CSV UTF-8'"):
        convert('table', photos / 'table.csv', photos / 'photos', out)


# ----------------------------------------------------------------- masks


@pytest.fixture
def masked(tmp_path):
    write_images(tmp_path / 'images', 'a.jpg', 'x/b.jpg', 'c.jpg')
    (tmp_path / 'masks/x').mkdir(parents=True)
    grey = np.zeros((4, 6), np.uint8)
    Image.fromarray(grey).save(tmp_path / 'masks/c.png')
    grey[0, 0], grey[1] = 2, 255
    Image.fromarray(grey).save(tmp_path / 'masks/a.png')
    grey[2] = 1
    palette = Image.fromarray(grey)
    palette.putpalette(bytes(range(256)) * 3)
    palette.save(tmp_path / 'masks/x/b.png')
    (tmp_path / 'names.txt').write_text('cat\ndog\n')
    return tmp_path


def test_masks(convert, masked):
    out = masked / 'labels/train.txt'
    said = convert(
        *('masks', masked / 'masks', masked / 'images', out),
        *('--classes', masked / 'names.txt'),
    )
    assert out.read_text() == 'a 1\nx/b 0 1\n'
    assert '1 no class: c' in said
    (masked / 'list.txt').write_text('x/b\n')
    out = masked / 'labels/val.txt'  # classes.txt is there now
    call = ('masks', masked / 'masks', masked / 'images', out)
    convert(*call, '--list', masked / 'list.txt')
    assert out.read_text() == 'x/b 0 1\n'


@pytest.mark.parametrize(
    ('mode', 'value', 'says'),
    [
        ('L', 3, r'a\.png holds 3, but there are 2 classes'),
        ('RGB', 1, r'a\.png must be 8-bit grey or with a palette, not RGB'),
    ],
)
def test_bad_masks(convert, masked, mode, value, says):
    colour = (value,) * 3 if mode == 'RGB' else value
    Image.new(mode, (6, 4), colour).save(masked / 'masks/a.png')
    call = ('masks', masked / 'masks', masked / 'images', masked / 'l/a.csv')
    with pytest.raises(ValueError, match='name them in a file'):
        convert(*call)
    with pytest.raises(ValueError, match=says):
        convert(*call, '--classes', masked / 'names.txt')


# ------------------------------------------------------- shared by all


def test_missing_images_are_left_out_only_on_request(convert, photos):
    (photos / 'table.csv').write_text('a,cat\nx,cat\nb,dog\n')
    out = photos / 'labels/train.csv'
    call = ('table', photos / 'table.csv', photos / 'photos', out)
    with pytest.raises(FileNotFoundError, match=r'1 of 3 images .*: x; add'):
        convert(*call)
    said = convert(*call, '--skip-missing')
    assert load(out, photos / 'photos') == {'a': ['cat'], 'b': ['dog']}
    assert f'1 not in {photos / "photos"}: x' in said
    # Whoever names a wrong folder has not asked for an empty list.
    (photos / 'table.csv').write_text('x.jpg,cat\n')
    with pytest.raises(FileNotFoundError, match='1 of 1 images'):
        convert(*call, '--skip-missing', '--overwrite')
    # Mended: what was skipped before is forgotten.
    (photos / 'table.csv').write_text('a,cat\n')
    convert(*call, '--overwrite')
    assert not (out.parent / 'train_skipped.txt').exists()


def test_a_second_list_keeps_the_classes_of_the_first(convert, photos):
    images, labels = photos / 'photos', photos / 'labels'
    table = photos / 'table.csv'
    table.write_text('a,cat\nb,dog\n')
    convert('table', table, images, labels / 'train.txt')
    table.write_text('c,dog\n')
    convert('table', table, images, labels / 'val.txt')
    assert (labels / 'val.txt').read_text() == 'c 1\n'
    table.write_text('c,cow\n')
    with pytest.raises(ValueError, match=r'cow \(1\); the classes are cat, d'):
        convert('table', table, images, labels / 'test.txt')
    (photos / 'other.txt').write_text('cow\n')
    other = ('--classes', photos / 'other.txt')
    with pytest.raises(ValueError, match='holds other classes than'):
        convert('table', table, images, labels / 'test.txt', *other)


@pytest.mark.parametrize(
    ('out', 'options', 'says'),
    [
        ('labels/old.csv', (), 'old.csv is there already'),
        ('labels/new.xlsx', (), 'must end in .csv, .json or .txt'),
        ('labels/classes.txt', (), 'will name the classes'),
        ('labels/new.csv', ('--val', 'labels/new.txt'), 'another name than'),
        ('labels/new.csv', ('--val', 'other/val.csv'), 'in one folder'),
        ('labels/new.csv', ('--val', 'labels/val.csv'), 'there are 1'),
        ('labels/new.txt', (), '1 images have a blank in their name'),
    ],
)
def test_a_bad_output_leaves_everything_as_it_was(
    convert, photos, monkeypatch, out, options, says
):
    monkeypatch.chdir(photos)
    write_images(photos / 'photos', 'my photo.jpg')
    Path('labels').mkdir()
    Path('labels/old.csv').write_text('precious')
    Path('table.csv').write_text('my photo,cat\n')
    with pytest.raises(ValueError, match=says):
        convert('table', 'table.csv', 'photos', out, *options)
    assert names_in(Path('labels')) == {'old.csv'}
    assert Path('labels/old.csv').read_text() == 'precious'


def test_what_does_not_read_back_is_not_written(convert, photos):
    (photos / 'table.csv').write_text('a,"two\nlines"\nb,cat\n')
    out = photos / 'labels/train.csv'
    with pytest.raises(ValueError, match='is there a line break in'):
        convert('table', photos / 'table.csv', photos / 'photos', out)
    assert not names_in(out.parent)


def test_a_class_called_like_anothers_number(convert, photos):
    (photos / 'table.csv').write_text('a,1\nb,2\n')
    out = photos / 'labels/train.csv'
    with pytest.raises(ValueError, match='is also the number of class'):
        convert('table', photos / 'table.csv', photos / 'photos', out)
    assert not names_in(out.parent)


def test_empty_files_are_left_out_and_counted(convert, photos):
    (photos / 'photos/c.png').write_bytes(b'')
    (photos / 'table.csv').write_text('a,cat\nc,cat\nb,dog\n')
    out = photos / 'labels/train.csv'
    said = convert('table', photos / 'table.csv', photos / 'photos', out)
    assert load(out, photos / 'photos') == {'a': ['cat'], 'b': ['dog']}
    assert '1 an empty file: c' in said
