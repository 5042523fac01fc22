"""What a label list may hold, in each of its notations."""

import json

import pytest

from mmrca.datasets.label_list import read_classes, read_images, read_labels

CLASSES = ('cat', 'dog', 'person')


def read(folder, name, text, classes=CLASSES):
    (folder / name).write_bytes(text.encode())
    return read_labels(folder / name, classes)


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('l.txt', 'b 2 0\n\na dog\n'),
        ('l.txt', '\ufeffb person cat cat\r\na 1\r\n'),
        ('l', 'b\tperson  0\na dog'),
        ('l.csv', 'b,cat,person\na,dog\n'),
        ('l.csv', '\ufeff"b", person ,"cat",\r\n,,\r\na,1,,\r\n'),
        ('l.json', '{"b": ["cat", "person"], "a": ["dog"]}'),
        ('l.json', '{"b": [2, 0], "a": ["1"]}'),
    ],
)
def test_notations_of_one_list(tmp_path, name, text):
    labels = read(tmp_path, name, text)
    assert list(labels.items()) == [('b', [0, 2]), ('a', [1])]


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('l.txt', './b 2\na\n'),
        ('l.csv', 'b,person\na\n'),
        ('l.csv', 'b,person\na,,\n'),
        ('l.json', '{"./b": ["person"], "a": []}'),
    ],
)
def test_an_entry_without_a_class_is_a_normal_image(tmp_path, name, text):
    labels = read(tmp_path, name, text)
    assert list(labels.items()) == [('b', [2]), ('a', [])]


def test_numbers_ascend(tmp_path):
    classes = [f'class {c}' for c in range(40)]
    assert read(tmp_path, 'l', 'a 33 8 1', classes) == {'a': [1, 8, 33]}


@pytest.mark.parametrize('name', ['l.csv', 'l.json'])
def test_blanks_commas_and_quotes_in_names(tmp_path, name):
    classes = ('traffic light', 'salt, pepper', 'a "b"')
    text = '"my photo, 1","salt, pepper",traffic light,"a ""b"""\n'
    if name == 'l.json':
        text = json.dumps({'my photo, 1': list(classes)})
    labels = read(tmp_path, name, text, classes)
    assert labels == {'my photo, 1': [0, 1, 2]}


@pytest.mark.parametrize(
    ('name', 'text', 'says'),
    [
        ('l.csv', '', 'is empty'),
        ('l.csv', 'a,cat\na,dog\n', 'line 2: image a is listed a second'),
        ('l.csv', '"a\nb",cat\nc,cow\n', "line 3: image c has 'cow'"),
        ('l.csv', ',cat\n', "line 1: the name '' must be a path"),
        ('l.csv', 'a,"cat\n', 'cannot be read: unexpected end of data'),
        ('l.json', '{}', 'is empty'),
        ('l.json', '{"a": ["cat"], "a": ["dog"]}', 'entry 2: image a is l'),
        ('l.json', '{"a": "cat"}', 'entry 1: image a must have a list'),
        ('l.json', '{"a": {"cat": 1}}', 'image a must have a list'),
        ('l.json', '{"a": [["cat"]]}', r'image a has .\[.cat.\]'),
        ('l.json', '[["a", ["cat"]]]', 'must be a JSON object'),
        ('l.json', '{"a": ["cat"]', 'cannot be read: Expecting'),
        ('l.txt', '/etc/a cat\n', 'line 1: .* must be a path inside'),
        ('l.txt', '../a cat\n', 'line 1: .* must be a path inside'),
        ('l.txt', 'b/../../a cat\n', 'line 1: .* must be a path inside'),
    ],
)
def test_an_error_is_one_sentence_that_says_where(tmp_path, name, text, says):
    with pytest.raises(ValueError, match=says) as error:
        read(tmp_path, name, text)
    assert str(tmp_path / name) in str(error.value)
    assert '\n' not in str(error.value)


def test_another_encoding_is_named(tmp_path):
    (tmp_path / 'l.csv').write_bytes('bär,cat\n'.encode('cp1252'))
    with pytest.raises(ValueError, match='it must be UTF-8'):
        read_labels(tmp_path / 'l.csv', CLASSES)


def test_several_unknown_classes_are_named_at_once(tmp_path):
    lines = ''.join(f'{name} cow\n' for name in 'abcde')
    with pytest.raises(ValueError, match=r'line 3: image c .* and 2 more'):
        read(tmp_path, 'l.txt', lines, ('cat', 'dog'))


def test_a_class_called_like_anothers_number_is_refused(tmp_path):
    assert read(tmp_path, 'l.txt', 'a 1\n', ('0', '1')) == {'a': [1]}
    with pytest.raises(ValueError, match=r"'1', which is also .* 'two'"):
        read(tmp_path, 'l.txt', 'a 1\n', ('1', 'two'))


@pytest.fixture
def masks(tmp_path):
    for name in ('a', 'trip/bus 7', 'trip/bus 8', 'cam.001'):
        path = tmp_path / 'masks' / f'{name}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / 'masks'


@pytest.mark.parametrize(
    ('name', 'text', 'images'),
    [
        ('l.txt', 'a 0 1\ncam.001\n', ['a', 'cam.001']),
        ('l.txt', '\ufeffcam.001.jpg  -1\r\na.JPG 1\r\n', ['cam.001', 'a']),
        ('l.txt', 'a\ntrip/bus 7 \n\n./trip/bus 8', ['a', 'trip/bus 7', 0]),
        ('l.csv', 'trip/bus 7.jpg,cat\na\n', ['trip/bus 7', 'a']),
        ('l.json', '{"trip/bus 7": [], "a": [1]}', ['trip/bus 7', 'a']),
    ],
)
def test_images_of_a_list_in_every_notation(
    masks, tmp_path, name, text, images
):
    (tmp_path / name).write_bytes(text.encode())
    images = [image or 'trip/bus 8' for image in images]
    found = read_images(tmp_path / name, masks)
    assert list(found.items()) == [(i, f'{i}.png') for i in images]


@pytest.mark.parametrize(
    ('text', 'error', 'says'),
    [
        ('a\nb 1\n', FileNotFoundError, '1 of the 2 images .* first b: not'),
        ('trip/bus 7\ntrip/bus 9', FileNotFoundError, 'first trip/bus 9: '),
        ('trip/bus\xa07', FileNotFoundError, r'bus 7.png.*bus.xa07'),
        ('a 1\na 2\n', ValueError, 'image a twice'),
        ('a\na.jpg\n', ValueError, "'a' and 'a.jpg' are one image"),
        ('', ValueError, 'empty'),
    ],
)
def test_images_of_a_list_that_do_not_fit_the_folder(
    masks, tmp_path, text, error, says
):
    (tmp_path / 'l.txt').write_text(text)
    with pytest.raises(error, match=says) as caught:
        read_images(tmp_path / 'l.txt', masks)
    assert str(tmp_path / 'l.txt') in str(caught.value)


@pytest.mark.parametrize(
    'text',
    ['cat\nbus stop', '\ufeffcat\r\nbus stop \r\n', '\n cat\n\nbus stop'],
)
def test_classes_after_an_editor(tmp_path, text):
    (tmp_path / 'classes.txt').write_bytes(text.encode())
    assert read_classes(tmp_path / 'classes.txt') == ['cat', 'bus stop']


@pytest.mark.parametrize(
    ('text', 'says'),
    [
        (' \n', 'has no classes'),
        ('cat\nBackground\n', "'Background'"),
        ('cat\ncat\n', "'cat' and 'cat'"),
        ('bus stop\nBus\xa0stop\n', r"'bus stop' and 'Bus\\xa0stop'"),
    ],
)
def test_names_that_cannot_be_classes(tmp_path, text, says):
    (tmp_path / 'classes.txt').write_text(text, encoding='utf-8')
    with pytest.raises(ValueError, match=says) as error:
        read_classes(tmp_path / 'classes.txt')
    assert str(tmp_path / 'classes.txt') in str(error.value)
    (tmp_path / 'classes.txt').write_bytes(text.encode('utf-16'))
    with pytest.raises(ValueError, match='UTF-8'):
        read_classes(tmp_path / 'classes.txt')
