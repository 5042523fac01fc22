"""The converters on folders of the shapes that they are for."""

import csv
import io
import json
import os
import re
import shutil
from contextlib import suppress
from copy import deepcopy
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mmrca.datasets.image_level_dataset import ImageLevelDataset


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
        './{}.jpg',
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
    assert 'images: 3, labels: 5' in said
    assert 'difficult objects alone: 2' in said
    assert 'no training image shows: bicycle, bird' in said
    ids = (out.parent / 'train_cls_ids.txt').read_text()
    assert ids.split() == names


def test_a_list_of_voc_names_images_with_dots_and_blanks(convert, tmp_path):
    names = ('cam', 'cam.001', 'cam.002', 'IMG_1_jpg.rf.aa11', 'bus 7', 'bus')
    write_images(tmp_path / 'JPEGImages', *(f'{name}.jpg' for name in names))
    for name in names:
        path = tmp_path / f'Annotations/{name}.xml'
        path.parent.mkdir(exist_ok=True)
        shown = f'<object><name>{name}</name></object>'
        path.write_text(f'<annotation>{shown}</annotation>')
    listed = names[1:5]
    (tmp_path / 'list.txt').write_text('\n'.join(listed))
    (tmp_path / 'names.txt').write_text('\n'.join(names))
    out = tmp_path / 'labels/train.csv'
    call = ('voc', tmp_path, tmp_path / 'list.txt', out)
    convert(*call, '--classes', tmp_path / 'names.txt')
    images = load(out, tmp_path / 'JPEGImages')
    assert images == {name: [name] for name in listed}


def test_voc_images_without_object_are_normal_on_request(convert, voc):
    (voc / 'Annotations/2008_000001.xml').write_text('<annotation/>')
    (voc / 'list.txt').write_text('\n'.join(VOC))
    out = voc / 'labels/train.csv'
    said = convert('voc', voc, voc / 'list.txt', out, '--normal')
    assert load(out, voc / 'JPEGImages')['2008_000001'] == []
    assert 'images: 4, labels: 5, normal images: 1' in said


BOMB = (
    '<!DOCTYPE a [<!ENTITY e0 "lol">'
    + ''.join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(9))
    + ']><annotation>&e9;</annotation>'
)


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        (('Annotations/2009_000003.xml', ''), '3.xml cannot be'),
        (('Annotations/2009_000003.xml', BOMB), '3.xml cannot be'),
        (('Annotations/2009_000003.xml', '<html/>'), '3.xml must be of <ann'),
        (
            ('list.txt', '2007_000032\n2007_000032\n'),
            'list.txt names image 2007_000032 twice',
        ),
        (('list.txt', '\n'), 'is empty'),
        (('list.txt', '2010_000001\n'), 'list.txt .*, first 2010_000001'),
        (('Annotations/2009_000003.xml', '<annotation>'), '3.xml cannot be'),
        (
            (
                'Annotations/2009_000003.xml',
                '<annotation><object/></annotation>',
            ),
            '3.xml has an object without a name',
        ),
        (
            (
                'Annotations/2009_000003.xml',
                '<annotation><object><name>unicorn</name></object></annotation>',
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
    assert 'crowd regions alone: 1' in said


def test_images_without_annotation_are_normal_on_request(convert, coco):
    root, prefix = coco
    out = root / 'labels/train.csv'
    call = ('coco', root / 'instances.json', root / 'images', out)
    said = convert(*call, '--normal')
    assert load(out, root / 'images')[f'{prefix}000000000003'] == []
    assert 'images: 4, labels: 4, normal images: 1' in said
    assert 'skipped' not in said
    said = convert(*call, '--overwrite')
    assert f'1 no class: {prefix}000000000003.jpg (--normal keeps' in said


def change(*path, value=None):
    """Return a function that replaces, or without a value deletes, an item."""

    def spoil(content):
        *parents, last = path
        for key in parents:
            content = content[key]
        if value is None:
            del content[last]
        else:
            content[last] = value

    return spoil


@pytest.mark.parametrize(
    ('spoil', 'says'),
    [
        (change('images'), "no list 'images'"),
        (change('annotations', value=7), "no list 'annotations'"),
        (change('annotations', 2, value='x'), "entry 3 of 'annotations'"),
        (change('images', 1, 'file_name'), "2 of 'images'.*'file_name'"),
        (change('images', 1, 'id', value=1.5), "2 of 'images'.*'id', not 1.5"),
        (change('images', 1, 'id', value=9), "two .*'images'.* id 9"),
        (change('images', 1, 'id', value=True), "2 of 'images'.* not True"),
        (change('categories', 0, 'name', value=' '), "1 of 'categories'"),
        (change('categories', 0, 'id', value=1), "two .*'categories'.* id 1"),
        (
            change('categories', 0, 'name', value='person'),
            "two .*'categories'.* 'person'",
        ),
        (
            change('annotations', 4, 'category_id'),
            "5 of 'annotations'.*'category_id'",
        ),
        (change('annotations', 0, 'image_id', value=4), '1 .*of image 4'),
        (change('annotations', 0, 'category_id', value=2), '1 .*category 2'),
    ],
)
def test_a_bad_entry_of_coco_is_named(convert, tmp_path, spoil, says):
    content = instances()
    spoil(content)
    file = tmp_path / 'instances.json'
    file.write_text(json.dumps(content))
    out = tmp_path / 'labels/train.csv'
    with pytest.raises(ValueError, match=f'instances.json.*{says}'):
        convert('coco', file, tmp_path, out)


@pytest.mark.parametrize('text', ['{"images": [', '"\ud800', '[' * 100_000])
def test_broken_json_is_named(convert, tmp_path, text):
    file = tmp_path / 'instances.json'
    file.write_text(text, errors='surrogatepass')
    with pytest.raises(ValueError, match=f'{file} cannot be read as JSON'):
        convert('coco', file, tmp_path, tmp_path / 'train.csv')


def test_coco_with_a_bom_blanks_around_names_and_ids_as_text(
    convert, tmp_path
):
    write_images(tmp_path / 'images', 'a.jpg')
    content = dict(
        images=[dict(id='1', file_name=' a.jpg')],
        categories=[dict(id=3, name=' dog ')],
        annotations=[dict(image_id=1, category_id='3')],
    )
    file = tmp_path / 'instances.json'
    file.write_text(json.dumps(content), encoding='utf-8-sig')
    out = tmp_path / 'train.csv'
    convert('coco', file, tmp_path / 'images', out)
    assert load(out, tmp_path / 'images') == {'a': ['dog']}


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
    (root / 'cow').mkdir()
    out = tmp_path / 'labels/train.csv'
    said = convert('folders', root, out)
    assert load(out, root) == {
        'cat/1': ['cat', 'wild dog'],
        'cat/deep/2': ['cat'],
        'wild dog/1': ['wild dog'],
    }
    assert skipped(out) == {
        'loose.png': 'in no class folder',
        'wild dog/Thumbs.db': '.db files are not read as images',
        'wild dog/same.jpg': 'the same as cat/1.jpg',
        'cow/': 'a folder without images',
    }
    assert 'skipped 4, listed in' in said


def skipped(out: Path) -> dict[str, str]:
    text = out.with_name(f'{out.stem}_skipped.txt').read_text()
    return dict(line.split('\t') for line in text.splitlines())


HIDDEN = (
    '.ipynb_checkpoints/cat/1.jpg',
    '__MACOSX/cat/._1.jpg',
    'cat/.ipynb_checkpoints/1-checkpoint.jpg',
    'cat/._1.jpg',
    'cat/.DS_Store',
)


def test_hidden_copies_are_left_out_and_counted(convert, tmp_path):
    root = tmp_path / 'images'
    write_images(root, *HIDDEN, 'cat/1.jpg', 'dog/1.jpg')
    out = tmp_path / 'labels/train.csv'
    said = convert('folders', root, out)
    assert load(out, root) == {'cat/1': ['cat'], 'dog/1': ['dog']}
    assert skipped(out).keys() >= set(HIDDEN)
    assert f'{len(HIDDEN)} a hidden file or folder: ' in said


def test_a_linked_class_folder_is_read(convert, tmp_path):
    write_images(tmp_path, 'elsewhere/1.jpg', 'images/dog/2.png')
    (tmp_path / 'images/cat').symlink_to(tmp_path / 'elsewhere')
    out = tmp_path / 'labels/train.csv'
    convert('folders', tmp_path / 'images', out)
    images = load(out, tmp_path / 'images')
    assert images == {'cat/1': ['cat'], 'dog/2': ['dog']}


def test_a_folder_of_normal_images(convert, tmp_path):
    names = [f'good/{i}.jpg' for i in range(4)]
    write_images(tmp_path / 'images', *names, 'scratch/1.jpg', 'ok/1.jpg')
    out = tmp_path / 'labels/train.json'
    call = ('folders', tmp_path / 'images', out)
    said = convert(*call, '--normal', 'good', '--normal', 'ok')
    images = load(out, tmp_path / 'images')
    assert images.pop('scratch/1') == ['scratch']
    assert len(images) == 5 and not any(images.values())
    assert 'images: 6, labels: 1, normal images: 5' in said
    # The same photo cannot be good and scratched.
    good = (tmp_path / 'images/good/2.jpg').read_bytes()
    (tmp_path / 'images/scratch/2.jpg').write_bytes(good)
    with pytest.raises(ValueError, match=r"good/2.jpg .*'good'.*'scratch'"):
        convert(*call, '--normal', 'good', '--overwrite')


def test_images_in_no_folder_are_no_class(convert, tmp_path):
    write_images(tmp_path / 'images', 'a.jpg', 'b.jpg')
    with pytest.raises(ValueError, match=r'images has no folder .*: a.jpg'):
        convert('folders', tmp_path / 'images', tmp_path / 'labels/train.csv')


def test_a_tenth_of_each_class_can_be_held_back(convert, tmp_path):
    names = [f'{c}/{i:02d}.jpg' for c in ('cat', 'dog') for i in range(20)]
    write_images(tmp_path / 'images', *names)
    out, val = (tmp_path / f'labels/{s}.csv' for s in ('train', 'val'))
    said = convert('folders', tmp_path / 'images', out, '--val', val)
    train = load(out, tmp_path / 'images')
    held = load(val, tmp_path / 'images')
    assert list(held) == ['cat/05', 'cat/15', 'dog/05', 'dog/15']
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


@given(
    st.lists(st.sets(st.integers(0, 4), max_size=3), min_size=1, max_size=120)
)
def test_what_is_held_back_leaves_every_class_an_image(repo, shown):
    held_back = list_writer(repo).held_back
    entries = {str(n): sorted(classes) for n, classes in enumerate(shown)}
    held = held_back(entries)
    assert held == held_back(entries)
    groups = {c: [] for classes in shown for c in classes or {-1}}
    for image, classes in entries.items():
        for c in classes or [-1]:
            groups[c].append(image in held)
    for c, group in groups.items():
        assert not all(group), c
    # As many as from each class apart, but for what rounding adds.
    assert len(held) <= len(entries) / 10 + len(groups) / 2


def list_writer(repo):
    path = repo / 'tools/dataset_converters/list_writer.py'
    spec = spec_from_file_location('list_writer', path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_held_back_is_spread_over_classes_that_overlap(repo):
    # Of 100 images all show 0, each fifth also 1, each tenth also 2; the
    # last 50 are normal.
    entries = {
        str(n): [0] * (n < 100)
        + [1] * (n < 100 and n % 5 == 0)
        + [2] * (n < 100 and n % 10 == 0)
        for n in range(150)
    }
    held = list_writer(repo).held_back(entries)
    shown = [c for image in held for c in entries[image] or [-1]]
    counts = {c: shown.count(c) for c in (0, 1, 2, -1)}
    assert counts == {0: 10, 1: 2, 2: 1, -1: 5}


@pytest.mark.parametrize('name', ['table', 'coco', 'label_studio', 'masks'])
def test_a_missing_folder_is_named_without_a_word_of_configs(
    convert, photos, name
):
    (photos / 'table.csv').write_text('a,cat\n')
    (photos / 'coco.json').write_text(json.dumps(instances()))
    tasks = [task('a.jpg', ['cat'])]
    (photos / 'label_studio.json').write_text(json.dumps(tasks))
    write_images(photos / 'masks', 'a.png')
    (photos / 'classes.txt').write_text('cat\n')
    source = dict(table='table.csv', masks='masks').get(name, f'{name}.json')
    out = photos / 'labels/train.csv'
    call = (name, photos / source, photos / 'photoz', out)
    if name == 'masks':
        Image.new('L', (6, 4), 1).save(photos / 'masks/a.png')
        call += ('--classes', photos / 'classes.txt')
    with pytest.raises(FileNotFoundError, match='photoz') as caught:
        convert(*call)
    assert 'config' not in str(caught.value)


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
    'floats': (
        'image,cat,dog,traffic light\na,1.0,0.0,1.0\nb,0.0,1.0,0\nc,1.,0,-\n'
    ),
    'decimal commas': (
        'image;cat;dog;traffic light\na;1,0;0,0;1,0\nb;0,0;1,0;\nc;1,0;;\n'
    ),
    'counts': 'image,cat,dog,traffic light\na,2,0,3\nb,0,1,0\nc,1,0,\n',
    'German': (
        'image,cat,dog,traffic light\na,WAHR,FALSCH,ja\n'
        'b,FALSCH,WAHR,nein\nc,wahr,falsch,Nein\n'
    ),
    'French': (
        'image,cat,dog,traffic light\na,VRAI,FAUX,oui\n'
        'b,FAUX,VRAI,non\nc,vrai,faux,\n'
    ),
    "Excel's sep": (
        'sep=|\r\nimage|shows\r\na|cat;traffic light\r\nb|dog\r\nc|cat'
    ),
    'old Mac': 'image;shows\ra;cat,traffic light\rb;dog\rc;cat\r',
    'numbered columns': 'image,tag1,tag2\na,cat,traffic light\nb,dog\nc,,cat',
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
    assert 'in the table twice: 1' in said
    with pytest.raises(ValueError, match="has 0 columns 'label'; its header"):
        convert(*call, '--overwrite', '--columns', 'photo', 'label')


@pytest.mark.parametrize(
    ('table', 'says'),
    [
        ('', 'is empty'),
        ('a,cat\n,dog\n', "row 2 before 'dog'"),
        ('a,cat\nb,Cat\n', "table.csv: .*'[cC]at' and '[cC]at'"),
        ('a,caf\u00e9\nb,cafe\u0301\n', 'table.csv: .*look-alike'),
        ('a,bad egg\nb,bad\u00a0egg\n', 'table.csv: .*look-alike'),
        ('a,background\n', "table.csv: 'background' cannot be a class"),
        ('a\nb\n', 'table.csv has no classes'),
        ('a,cat\na.jpg,cat\n', "'a' and 'a.jpg' are one image"),
        ('x,cat\na.jpg,cat\n', r'1 of 2 images .*: x \(not in .*\); add'),
        ('a.jpg,cat\nx.jpg,cat\ny,cat\n', '2 of 3 images .*: x.jpg .*, y '),
        ('a,cat\nb,"dog\n', 'table.csv line 2 cannot be read as CSV'),
        ('[{"image": "a"}]', 'table.csv is not a table but JSON'),
        # Marks
        ('image,dog,cat\na,1,-1\nb,0,1\n', "row 2, column 'cat': '-1'"),
        ('image,dog,cat\na,1,0\nb,NaN,1\n', "row 3, column 'dog': 'NaN'"),
        ('image,dog,cat\na,.9,.2\nb,.1,1\n', "row 2, column 'dog': '.9'"),
        ('image,dog,cat\na,1,0\nb,0,1,1\n', "row 3, column '4': '1'"),
        ('image,dog,dog\na,1,0\nb,0,1\n', "row 2, column 'dog': '1' is a m"),
        ('image,label\na,0\nb,1\n', "row 3, column 'label': '1' is a m"),
        ('image,dog,size\na,1,640\nb,0,480\n', "column 'size' with 640"),
        ('image,kind\na,0\nb,2\nc,0\n', "column 'kind' with 2"),
        ('/me/a.jpg,cat\n', "'/me/a.jpg' must be a path inside"),
        ('../photos/a.jpg,cat\n', "'../photos/a.jpg' must be a path"),
        ('image,row,dog\na,0,1\nb,1,0\nc,2,1\n', "column 'row' with 2"),
        # Words
        ('a,0\nb,1\n', "row 1, column '2': '0' is not a class name"),
        ('a,cat\nb,"dog,2"\n', "row 2, column '2': 'dog,2' is not a class"),
        ('a,cat,2024-01-31\n', "row 1, column '3': '2024-01-31' is not"),
        ('image,shows\na,cat\nb,n/a\n', "row 3, column 'shows': 'n/a'"),
        (
            'image,dog,cat,remark\na,1,0,\nb,0,1,too dark\n',
            "row 3, column 'remark': 'too dark' is a word",
        ),
        (
            'image,shows,date\na,cat,1.2.2024\nb,dog,\n',
            "row 2, column 'date': '1.2.2024' is not",
        ),
        (
            'image,shows,remark\na,cat,too dark\nb,dog,\n',
            'columns shows, remark may hold something else.* --columns',
        ),
        (
            'id,choice\na,"{""choices"": [""cat"", ""dog""]}"\n',
            "row 2, column 'choice': holds JSON.* label_studio.py",
        ),
    ],
)
def test_a_table_that_is_not_clear_is_refused(convert, photos, table, says):
    (photos / 'table.csv').write_text(table)
    out = photos / 'labels/train.csv'
    with pytest.raises((ValueError, FileNotFoundError), match=says):
        convert('table', photos / 'table.csv', photos / 'photos', out)
    assert not out.parent.exists()


NO_RESET = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@NO_RESET
@given(
    cell=st.text(st.characters(exclude_categories=['Cs', 'Cc']), min_size=1)
)
def test_any_cell_is_a_mark_a_class_or_refused(convert, photos, cell):
    """A cell among words becomes classes made of its own letters only."""
    text = io.StringIO()
    csv.writer(text).writerows([['a', 'cat'], ['b', cell]])
    (photos / 'table.csv').write_text(text.getvalue())
    out = photos / 'labels/train.csv'
    shutil.rmtree(out.parent, ignore_errors=True)
    try:
        convert('table', photos / 'table.csv', photos / 'photos', out)
    except ValueError:
        return
    shown = load(out, photos / 'photos').get('b', [])
    assert all(name in cell and not name.isdigit() for name in shown)


@NO_RESET
@given(
    name=st.text(
        st.characters(exclude_categories=['Cs', 'Cc'], exclude_characters='/'),
        min_size=1,
        max_size=40,
    )
)
def test_an_image_of_any_name_keeps_its_id_or_is_refused(
    convert, photos, name
):
    shutil.rmtree(photos / 'labels', ignore_errors=True)
    shutil.rmtree(photos / 'photos')
    write_images(photos / 'photos', 'a.jpg', f'{name}.jpg')
    text = io.StringIO()
    csv.writer(text).writerows([['a', 'cat'], [name, 'dog']])
    (photos / 'table.csv').write_text(text.getvalue())
    out = photos / 'labels/train.csv'
    try:
        convert('table', photos / 'table.csv', photos / 'photos', out)
    except (ValueError, FileNotFoundError):
        return
    # Rows of one image add up.
    expected = {'a': ['cat'], name: ['dog']}
    if name == 'a':
        expected = {'a': ['cat', 'dog']}
    assert load(out, photos / 'photos') == expected


def test_a_count_column_that_is_picked_is_read(convert, photos):
    (photos / 'table.csv').write_text('id,size,dog\na,640,1\nb,480,0\n')
    out = photos / 'labels/train.csv'
    call = ('table', photos / 'table.csv', photos / 'photos', out)
    convert(*call, '--columns', 'id', 'size', 'dog')
    assert load(out, photos / 'photos') == {
        'a': ['size', 'dog'],
        'b': ['size'],
    }


@pytest.mark.parametrize(
    ('table', 'word'),
    [
        ('a,scratch\nb,good\nc,good\n', 'good'),
        ('image,shows\na,scratch\nb,\nc\n', ''),
        ('image,shows\na,scratch\nb,0\nc,0\n', '0'),
        ('image,shows\na,scratch\nb,none\nc,none\n', 'none'),
        ('image,scratch\na,1\nb,0\nc,0\n', ''),
        ('image,scratch,good\na,1,0\nb,0,1\nc,0,1\n', 'good'),
    ],
)
@pytest.mark.parametrize('kind', ['txt', 'csv', 'json'])
def test_normal_images_stay_on_request(convert, photos, table, word, kind):
    (photos / 'table.csv').write_text(table)
    out = photos / f'labels/train.{kind}'
    call = ('table', photos / 'table.csv', photos / 'photos', out)
    said = convert(*call, '--normal', word)
    assert load(out, photos / 'photos') == {'a': ['scratch'], 'b': [], 'c': []}
    assert (out.parent / 'classes.txt').read_text() == 'scratch\n'
    assert 'images: 3, labels: 1, normal images: 2' in said


def test_images_without_a_class_are_not_normal_unasked(convert, photos):
    (photos / 'table.csv').write_text('a,scratch\nb,good\nc,\n')
    out = photos / 'labels/train.csv'
    call = ('table', photos / 'table.csv', photos / 'photos', out)
    said = convert(*call, '--normal', 'good')
    assert load(out, photos / 'photos') == {'a': ['scratch'], 'b': []}
    assert '1 no class: c (--normal' in said


@pytest.mark.parametrize(
    ('table', 'says'),
    [
        ('a,scratch\nb,"good,dent"\n', "image b .*'good'.*'dent'"),
        ('a,scratch\nb,Good\n', "'Good' and 'good'"),
        ('a,scratch\nb,dent\n', "no image is marked by 'good'"),
        ('a,good\nb,good\n', 'table.csv has no classes'),
    ],
)
def test_a_word_for_normal_that_does_not_fit(convert, photos, table, says):
    (photos / 'table.csv').write_text(table)
    out = photos / 'labels/train.csv'
    call = ('table', photos / 'table.csv', photos / 'photos', out)
    with pytest.raises(ValueError, match=says):
        convert(*call, '--normal', 'good')


@pytest.mark.parametrize('encoding', ['utf-16', 'utf-16-le', 'cp1252'])
def test_a_table_in_another_encoding(convert, photos, encoding):
    (photos / 'table.csv').write_bytes('a\tBär\n'.encode(encoding))
    out = photos / 'labels/train.csv'
    call = ('table', photos / 'table.csv', photos / 'photos', out)
    if encoding == 'utf-16':  # what Excel calls Unicode text, with a mark
        convert(*call)
        assert out.read_text() == 'a,Bär\n'
        return
    with pytest.raises(ValueError, match=r"table.csv.* 'CSV UTF-8'"):
        convert(*call)


# --------------------------------------------------- Label Studio and CVAT


def task(image: str, *answers: list[str], **more: object) -> dict:
    results = [
        dict(type='choices', from_name='what', value=dict(choices=choices))
        for choices in answers
    ]
    annotations = [dict(result=[result], **more) for result in results]
    return dict(data=dict(image=image), annotations=annotations)


UPLOAD = '/data/upload/3/'


def test_label_studio(convert, photos):
    write_images(photos / 'photos', '0123abcd-d.jpg', 'sub dir/e.jpg')
    tasks = [
        task(f'{UPLOAD}1a2b3c4d-a.jpg', ['cat', 'dog'], ['dog', 'cat']),
        task(f'{UPLOAD}0123abcd-d.jpg', ['dog']),
        task('/data/local-files/?d=x/sub%20dir/e.jpg', ['good']),
        task('https://example.org/b.JPG', ['cat'], was_cancelled=True),
    ]
    tasks[2]['annotations'][0]['result'].append(dict(type='rating'))
    (photos / 'export.json').write_text(json.dumps(tasks))
    out = photos / 'labels/train.csv'
    call = ('label_studio', photos / 'export.json', photos / 'photos', out)
    said = convert(*call, '--normal', 'good')
    assert load(out, photos / 'photos') == {
        'a': ['cat', 'dog'],
        '0123abcd-d': ['dog'],
        'sub dir/e': [],
    }
    assert '1 not annotated: https://example.org/b.JPG' in said
    assert 'without the prefix of an upload: 1' in said


@pytest.mark.parametrize(
    ('tasks', 'says'),
    [
        ({'images': []}, 'export.json: task 1 must have'),
        ([dict(image='a.jpg', choice='cat')], 'task 1 .*not JSON-MIN'),
        ([task('a.jpg', 'cat')], 'task 1 must have'),
        ([task('a.jpg', ['cat'], ['dog'])], 'task 1, a.jpg, .*differ'),
        ([task('a.jpg', ['cat'])] * 2, 'task 2, a.jpg, .*twice'),
        (
            [task('a.jpg', ['cat']), task(f'{UPLOAD}a.jpg', ['dog'])],
            'two tasks have the image a.jpg',
        ),
        ([task(f'{UPLOAD}1234abcd-a.jpg', ['cat'])], 'may be 1234abcd-a.jpg'),
        ([task('a.jpg')], 'answers 0 questions'),
        ([task('x.jpg', ['cat'])], '1 of 1 images .*: x.jpg '),
    ],
)
def test_an_unclear_export_of_label_studio(convert, photos, tasks, says):
    write_images(photos / 'photos', '1234abcd-a.jpg')
    (photos / 'export.json').write_text(json.dumps(tasks))
    out = photos / 'labels/train.csv'
    with pytest.raises((ValueError, FileNotFoundError), match=says):
        convert('label_studio', photos / 'export.json', photos / 'photos', out)


def places(content):
    """Yield every list or dict in JSON content with each of its keys."""
    if isinstance(content, dict | list):
        keys = content if isinstance(content, dict) else range(len(content))
        for key in keys:
            yield content, key
            yield from places(content[key])


EXPORTS = dict(
    coco=instances(), label_studio=[task('a', ['cat']), task('b', ['dog'])]
)


@pytest.mark.parametrize('name', EXPORTS)
@pytest.mark.parametrize(
    'value', [None, True, 1.5, 7, '', 'x', [], {}, [None], {'x': 1}]
)
def test_any_value_anywhere_in_json_is_read_or_refused(
    convert, photos, name, value
):
    content = EXPORTS[name]
    for image in instances()['images']:
        write_images(photos / 'photos', image['file_name'])
    file, out = photos / 'export.json', photos / 'labels/train.csv'
    for number in range(len(list(places(content)))):
        spoiled = deepcopy(content)
        parent, key = list(places(spoiled))[number]
        parent[key] = value
        file.write_text(json.dumps(spoiled))
        with suppress(ValueError, FileNotFoundError):
            convert(name, file, photos / 'photos', out, '--overwrite')


CVAT = (
    '<annotations><version>1.1</version><meta><task><labels>'
    '<label><name>dog</name></label><label><name>cat</name></label>'
    '<label><name>cow</name></label></labels></task></meta>{}</annotations>'
)


def test_cvat(convert, photos):
    (photos / 'annotations.xml').write_text(
        CVAT.format(
            '<image id="0" name="a.jpg"><tag label="cat"/>'
            '<box label="dog" xtl="1"/></image>'
            '<image id="1" name="b.JPG"></image>'
        )
    )
    out = photos / 'labels/train.csv'
    call = ('cvat', photos / 'annotations.xml', photos / 'photos', out)
    said = convert(*call)
    assert load(out, photos / 'photos') == {'a': ['dog', 'cat']}
    assert '1 no class: b.JPG' in said
    assert 'no training image shows: cow' in said
    convert(*call, '--normal', '', '--overwrite')
    assert load(out, photos / 'photos') == {'a': ['dog', 'cat'], 'b': []}


@pytest.mark.parametrize(
    ('text', 'says'),
    [
        (CVAT.format('<image id="0"/>'), "<image> 1, ''"),
        (CVAT.format('<image name="a.jpg"><tag/></image>'), "1, 'a.jpg'"),
        (CVAT.format('<image name="a.jpg"/>' * 2), "2, 'a.jpg'"),
        (CVAT.format('<track id="0"/>'), 'no <image>'),
        ('<annotation/>', 'must be of <annotations>'),
        ('<?xml version="1.0" encoding="odd"?><annotations/>', 'as XML'),
    ],
)
def test_a_bad_file_of_cvat(convert, photos, text, says):
    (photos / 'annotations.xml').write_text(text)
    out = photos / 'labels/train.csv'
    with pytest.raises(ValueError, match=f'annotations.xml.*{says}'):
        convert('cvat', photos / 'annotations.xml', photos / 'photos', out)


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
        ('L', 3, r'a\.png holds 3, .* 0 to 2'),
        ('RGB', 1, r'a\.png .* RGB'),
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


def test_masks_of_background_are_normal_on_request(convert, masked):
    # What is ignored may be of a class.
    grey = np.zeros((4, 6), np.uint8)
    grey[0] = 255
    Image.fromarray(grey).save(masked / 'masks/d.PNG')
    write_images(masked / 'images', 'd.jpg')
    out = masked / 'labels/train.csv'
    said = convert(
        *('masks', masked / 'masks', masked / 'images', out, '--normal'),
        *('--classes', masked / 'names.txt'),
    )
    assert load(out, masked / 'images') == {
        'a': ['dog'],
        'c': [],
        'x/b': ['cat', 'dog'],
    }
    assert 'normal images: 1' in said
    assert '1 no class but ignored pixels (255): d' in said


def test_masks_of_0_and_255_only_are_refused(convert, masked):
    for path in (masked / 'masks').rglob('*.png'):
        Image.new('L', (6, 4), 255).save(path)
    out = masked / 'labels/train.csv'
    call = ('masks', masked / 'masks', masked / 'images', out)
    with pytest.raises(
        ValueError, match=r'mask in .*masks shows a class.* 255'
    ):
        convert(*call, '--classes', masked / 'names.txt')


def test_masks_of_other_kinds_than_png(convert, masked):
    (masked / 'masks/a.png').rename(masked / 'masks/a.PNG')
    Image.new('L', (6, 4)).save(masked / 'masks/d.jpg')
    out = masked / 'labels/train.csv'
    call = ('masks', masked / 'masks', masked / 'images', out)
    call += ('--classes', masked / 'names.txt')
    said = convert(*call)
    assert load(out, masked / 'images').keys() == {'a', 'x/b'}
    assert '1 not a PNG: d.jpg' in said
    for path in [*masked.glob('masks/*.[pP]*'), *masked.glob('masks/*/*')]:
        path.unlink()
    with pytest.raises(ValueError, match=r'masks has no PNG, but d\.jpg'):
        convert(*call, '--overwrite')


# ------------------------------------------------------- shared by all


def test_missing_images_are_left_out_only_on_request(convert, photos):
    (photos / 'table.csv').write_text('a,cat\nx,cat\nb,dog\n')
    out = photos / 'labels/train.csv'
    call = ('table', photos / 'table.csv', photos / 'photos', out)
    with pytest.raises(FileNotFoundError, match=r'1 of 3 images .*: x '):
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
        ('labels/old.csv', (), 'old.csv exists'),
        ('labels/new.xlsx', (), 'must end in .csv, .json or .txt'),
        ('labels/classes.txt', (), 'will name the classes'),
        ('labels/new.csv', ('--val', 'labels/new.txt'), 'another name than'),
        ('labels/new.csv', ('--val', 'other/val.csv'), 'in one folder'),
        ('labels/new.csv', ('--val', 'labels/val.csv'), 'there are 1 im'),
        ('labels/new.txt', (), 'names with a blank: 1'),
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


def test_a_fault_on_reading_back_names_the_users_file(convert, tmp_path):
    write_images(tmp_path / 'images', '1/a.jpg', '2/b.jpg')
    out = tmp_path / 'labels/train.csv'
    with pytest.raises(ValueError, match='which is also the number') as caught:
        convert('folders', tmp_path / 'images', out)
    assert '.labels.' not in str(caught.value)
    assert not names_in(out.parent)


def test_a_file_name_in_another_encoding_is_named(convert, tmp_path):
    write_images(tmp_path / 'images', 'cat/1.jpg', 'dog/2.jpg')
    name = os.fsdecode(b'caf\xe9.jpg')
    (tmp_path / 'images/dog/2.jpg').rename(tmp_path / 'images/dog' / name)
    out = tmp_path / 'labels/train.csv'
    with pytest.raises(ValueError, match=r"'dog/caf.*\.jpg' is not UTF-8"):
        convert('folders', tmp_path / 'images', out)
    assert not out.parent.exists()


def test_the_summary_names_what_may_be_a_slip(convert, photos):
    write_images(photos / 'photos', *(f'{i}.jpg' for i in range(8)))
    names = ['grass hopper', 'grasshopper', 'beetle', 'beetel', 'betle']
    names += ['ant1', 'ant2', 'moth']
    rows = ''.join(f'{i},{name}\n' for i, name in enumerate(names))
    (photos / 'table.csv').write_text(f'{rows}a,moth\n')
    out = photos / 'labels/train.csv'
    said = convert('table', photos / 'table.csv', photos / 'photos', out)
    (single,) = [s for s in said.splitlines() if 'only one image' in s]
    assert 'moth' not in single and 'ant1' in single
    (near,) = [s for s in said.splitlines() if 'almost the same' in s]
    pairs = set(re.findall(r"'([a-z ]+)' \(1\) and '([a-z ]+)' \(1\)", near))
    assert pairs == {
        ('beetle', 'betle'),
        ('beetel', 'beetle'),
        ('grass hopper', 'grasshopper'),
    }
    assert 'classes.txt' in near


def test_a_misspelt_class_is_put_beside_the_frequent_one(convert, photos):
    write_images(photos / 'photos', *(f'{i}.jpg' for i in range(9)))
    names = ['scratch'] * 6 + ['scracth', 'dent', 'dent']
    rows = ''.join(f'{i},{name}\n' for i, name in enumerate(names))
    (photos / 'table.csv').write_text(rows)
    out = photos / 'labels/train.csv'
    said = convert('table', photos / 'table.csv', photos / 'photos', out)
    assert re.search('^scratch +6$', said, re.M)
    assert 'note: only one image shows: scracth' in said
    assert "'scracth' (1) and 'scratch' (6)" in said
    assert 'dent (' not in said


def test_empty_files_are_left_out_and_counted(convert, photos):
    (photos / 'photos/c.png').write_bytes(b'')
    (photos / 'table.csv').write_text('a,cat\nc,cat\nb,dog\n')
    out = photos / 'labels/train.csv'
    said = convert('table', photos / 'table.csv', photos / 'photos', out)
    assert load(out, photos / 'photos') == {'a': ['cat'], 'b': ['dog']}
    assert '1 an empty file: c' in said


def test_a_class_of_an_earlier_list_cannot_become_normal(convert, tmp_path):
    write_images(tmp_path / 'images', 'good/a.jpg', 'bad/b.jpg')
    call = ('folders', tmp_path / 'images', tmp_path / 'labels/train.csv')
    convert(*call)
    said = r"'good', which is a class in .*classes\.txt"
    with pytest.raises(ValueError, match=said):
        convert(*call, '--normal', 'good', '--overwrite')
    (tmp_path / 'labels/classes.txt').unlink()
    summary = convert(*call, '--normal', 'good', '--overwrite')
    assert 'normal images: 1' in summary
