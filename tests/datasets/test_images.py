"""What is an image, what it is called, and what is read of it."""

import os
import re
import unicodedata

import cv2
import numpy as np
import pytest
from PIL import Image

from mmrca.datasets.images import (
    ImageError,
    find_images,
    image_ids,
    image_name,
    image_size,
    list_images,
    load_image,
    open_picture,
)

NFC, NFD = (unicodedata.normalize(form, 'é') for form in ('NFC', 'NFD'))


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


@pytest.fixture
def folder(tmp_path):
    return touch(
        tmp_path,
        *('a.jpg', 'b.PNG', 'b.txt', 'v1.2.JPeG', 'x/a.webp', 'c.gif'),
    )


def test_images_are_found_with_and_without_suffix(folder):
    names = ['a', 'a.jpg', 'b', 'b.png', 'v1.2', 'v1', 'x/a', 'y/a', 'c']
    files, missing = find_images(folder, names)
    assert files == {
        'a': 'a.jpg',
        'a.jpg': 'a.jpg',
        'b': 'b.PNG',
        'v1.2': 'v1.2.JPeG',
        'x/a': 'x/a.webp',
    }
    assert list(missing) == ['b.png', 'v1', 'y/a', 'c']
    assert missing['v1'] == f'not in {folder}'
    assert 'has c.gif' in missing['c']


def test_a_suffix_of_ones_own(folder):
    (folder / 'a_left.png').touch()
    files, _ = find_images(folder, ['a', 'b'], '_left.png')
    assert files == {'a': 'a_left.png'}
    assert image_ids(files, '_left.png') == {'a': 'a'}


def test_an_exact_name_wins_over_a_stem(folder):
    (folder / 'a.jpg.png').touch()
    assert find_images(folder, ['a.jpg'])[0] == {'a.jpg': 'a.jpg'}


def test_dots_and_blanks_inside_names_belong_to_the_id(tmp_path):
    files = {
        'cam': 'cam.png',
        'cam.001': 'cam.001.jpg',
        'img_jpg.rf.abc123': 'img_jpg.rf.abc123.jpg',
        'trip/bus 7': 'trip/bus 7.jpeg',
        r'back\slash': r'back\slash.jpg',
    }
    touch(tmp_path, *files.values())
    found, missing = find_images(tmp_path, files)
    assert (found, missing) == (files, {})
    assert image_ids(found) == {name: name for name in files}


@pytest.mark.parametrize('spelling', [NFC, NFD])
def test_composed_and_decomposed_letters_are_one_name(tmp_path, spelling):
    touch(tmp_path, f'{spelling}/caf{spelling}.jpg')
    for word in (NFC, NFD):
        name = f'{word}/caf{word}'
        found, _ = find_images(tmp_path, [name])
        # The ID, and so the label's name, is spelled as the file is.
        assert image_ids(found) == {name: f'{spelling}/caf{spelling}'}


def test_two_files_of_one_name_in_two_unicode_forms(tmp_path):
    touch(tmp_path, f'{NFC}.jpg', f'{NFD}.jpg')
    found, _ = find_images(tmp_path, [NFC, NFD])
    assert found == {NFC: f'{NFC}.jpg', NFD: f'{NFD}.jpg'}


@pytest.mark.parametrize(
    ('file', 'name'),
    [
        ('bus\xa07.jpg', 'bus 7'),
        ('bus7.jpg', 'bus\u200b7'),
        ('Bus.jpg', 'bus'),
        ('trip/bus.jpg', r'trip\bus'),
    ],
)
def test_a_name_that_only_looks_alike_is_spelled_out(tmp_path, file, name):
    touch(tmp_path, file)
    found, missing = find_images(tmp_path, [name])
    assert found == {}
    assert ascii(file) in missing[name]
    assert ascii(name) in missing[name]


def test_what_a_listing_leaves_out_has_a_reason(tmp_path):
    touch(
        tmp_path,
        *('b.jpg', 'a/x y.PNG', '._b.jpg', '.ipynb_checkpoints/b.jpg'),
        *('__MACOSX/b.jpg', 'Thumbs.db', 'c.heic', 'README', 'cam.001'),
    )
    images, left_out = list_images(tmp_path)
    assert images == ['a/x y.PNG', 'b.jpg']
    hidden = {name for name, why in left_out.items() if 'hidden' in why}
    assert hidden == {
        *('._b.jpg', '.ipynb_checkpoints/b.jpg', '__MACOSX/b.jpg')
    }
    assert '.heic' in left_out['c.heic']
    assert {'Thumbs.db', 'README', 'cam.001'} < left_out.keys()
    assert len(left_out) == 7


def test_linked_folders_are_followed_but_not_in_circles(tmp_path):
    photos, other = tmp_path / 'photos', tmp_path / 'other'
    touch(photos, 'a.jpg')
    touch(other, 'b.jpg')
    os.symlink(other, photos / 'link')
    os.symlink(photos, other / 'back')
    os.symlink(photos, photos / 'self')
    assert list_images(photos)[0] == ['a.jpg', 'link/b.jpg']


def test_a_link_to_a_missing_image_is_still_listed(tmp_path):
    os.symlink(tmp_path / 'gone.jpg', tmp_path / 'a.jpg')
    assert list_images(tmp_path)[0] == ['a.jpg']
    with pytest.raises(ImageError, match=r'a\.jpg .*No such file'):
        load_image(tmp_path / 'a.jpg')


def test_a_words_way_to_a_name():
    for word in ('a/b c', './a/b c', 'a//./b c', 'a/b c/'):
        assert image_name(word, 'list') == 'a/b c'
    for word in ('', '.', '/a', '../a', 'a/../b'):
        said = re.escape(f"l.txt line 2: the name '{word}'")
        with pytest.raises(ValueError, match=said):
            image_name(word, 'l.txt line 2')


def xmp(orientation):
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf='
        '"http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
        f'tiff:Orientation="{orientation}"/></rdf:RDF></x:xmpmeta>'
    ).encode()


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


@pytest.mark.parametrize('size', [(40, 24), (24, 40), (33, 34), (9, 2)])
@pytest.mark.parametrize(
    ('suffix', 'extra'),
    [
        ('.jpg', {}),
        ('.jpg', dict(exif=exif(6))),
        ('.jpg', dict(exif=exif(9))),
        ('.jpg', dict(xmp=xmp(6))),
        ('.png', dict(exif=exif(6))),
        ('.webp', dict(exif=exif(8))),
        ('.webp', dict(xmp=xmp(8))),
        ('.tif', dict(tiffinfo={0x0112: 6})),
    ],
)
def test_the_size_is_that_of_the_loaded_pixels(tmp_path, size, suffix, extra):
    path = tmp_path / f'a{suffix}'
    Image.new('RGB', size, 'red').save(path, **extra)
    loaded = load_image(path)
    content = np.frombuffer(path.read_bytes(), np.uint8)
    reference = cv2.imdecode(content, cv2.IMREAD_COLOR)
    assert np.array_equal(loaded, reference)
    assert image_size(path) == reference.shape[:2]


def test_broken_images_are_named_whatever_the_decoder_raises(tmp_path):
    whole = {}
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8))
    for suffix in ('.jpg', '.png', '.bmp', '.tif', '.webp'):
        picture.save(tmp_path / f'a{suffix}')
        whole[suffix] = (tmp_path / f'a{suffix}').read_bytes()
    contents = [(s, b[: len(b) // 2]) for s, b in whole.items()]
    # A TIFF whose tags have a type that they may not have.
    tags = whole['.tif'].replace(b'\0\1\4\0', b'\0\1\x0b\0', 1)
    contents += [('.jpg', b''), ('.png', b'text'), ('.tif', tags)]
    for suffix, content in contents:
        path = tmp_path / f'broken{suffix}'
        path.write_bytes(content)
        with pytest.raises(ImageError, match=re.escape(str(path))):
            load_image(path)


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_a_decompression_bomb_says_so(tmp_path, monkeypatch, suffix):
    path = tmp_path / f'a{suffix}'
    Image.new('RGB', (50, 50)).save(path)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    for read in (load_image, image_size):
        with pytest.raises(ImageError, match=r'a\.\w+ .* bomb'):
            read(path)


def test_a_picture_that_is_not_a_photo_keeps_its_mode(tmp_path):
    picture = Image.new('P', (3, 2), 7)
    picture.putpalette(bytes(768))
    picture.save(tmp_path / 'a.png')
    picture = open_picture(tmp_path / 'a.png', 'mask')
    assert (picture.mode, picture.getpixel((2, 1))) == ('P', 7)
    (tmp_path / 'b.png').write_text('x')
    with pytest.raises(ImageError, match=r'mask .*b\.png'):
        open_picture(tmp_path / 'b.png', 'mask')
