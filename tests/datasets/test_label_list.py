"""What a label list may hold, in each of its notations."""

import json

import pytest

from mmrca.datasets.label_list import read_labels

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
        ('l.csv', '"a\nb",cat\nc,cow\n', 'line 3: image c has the unknown'),
        ('l.csv', 'a\n', 'line 1: image a has no class'),
        ('l.csv', ',cat\n', 'line 1: image : the name must be a path'),
        ('l.csv', 'a,"cat\n', 'cannot be read: unexpected end of data'),
        ('l.json', '{}', 'is empty'),
        ('l.json', '{"a": ["cat"], "a": ["dog"]}', 'entry 2: image a is l'),
        ('l.json', '{"a": "cat"}', 'entry 1: image a must have a list'),
        ('l.json', '{"a": {"cat": 1}}', 'image a must have a list'),
        ('l.json', '{"a": [["cat"]]}', r'unknown class .\[.cat.\]'),
        ('l.json', '[["a", ["cat"]]]', 'must be a JSON object'),
        ('l.json', '{"a": ["cat"]', 'cannot be read: Expecting'),
        ('l.txt', '/etc/a cat\n', 'line 1: .* must be a path inside'),
        ('l.txt', '../a cat\n', 'line 1: .* must be a path inside'),
        ('l.txt', 'b/../../a cat\n', 'line 1: .* must be a path inside'),
    ],
)
def test_a_fault_is_one_sentence_that_says_where(tmp_path, name, text, says):
    with pytest.raises(ValueError, match=says) as error:
        read(tmp_path, name, text)
    assert str(tmp_path / name) in str(error.value)
    assert '\n' not in str(error.value)


def test_another_encoding_is_named(tmp_path):
    (tmp_path / 'l.csv').write_bytes('bär,cat\n'.encode('cp1252'))
    with pytest.raises(ValueError, match='it must be UTF-8'):
        read_labels(tmp_path / 'l.csv', CLASSES)


def test_a_class_called_like_anothers_number_is_refused(tmp_path):
    assert read(tmp_path, 'l.txt', 'a 1\n', ('0', '1')) == {'a': [1]}
    with pytest.raises(ValueError, match=r"'1', which is also .* 'two'"):
        read(tmp_path, 'l.txt', 'a 1\n', ('1', 'two'))
