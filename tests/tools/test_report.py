"""The report: what it says, of odd input, and in a browser."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmrca.pseudo_labels.maker import make_pseudo_labels
from tests.place import LABELS, Place
from tools import report

EVIL = '<script>document.title="run"</script>'
NAMES = {
    'a': '<img src=x onerror=alert(1)>',
    'b': 'sub folder/größe & 猫',
    'c': "it's",
}
CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / 'my place', 'rca')


def make(place, out='labels', **options):
    folder = place.root / out
    make_pseudo_labels(
        Config.fromfile(place.config), str(place.checkpoint), folder,
        workers=0, **options,
    )  # fmt: skip
    return folder


def write_training(folder, lines):
    logs = folder / '20260101_000000' / 'vis_data'
    logs.mkdir(parents=True)
    (logs / 'scalars.json').write_text('\n'.join(lines) + '\n')
    return folder


def page(tmp_path, *folders, more=()):
    out = tmp_path / 'report.html'
    report.main([*map(str, folders), '--out', str(out), *more])
    return out


def test_markup_in_names_is_text(place, tmp_path):
    place.rename(NAMES, {'disc': EVIL}, 'rca')
    text = page(tmp_path, make(place)).read_text()
    assert EVIL not in text
    assert '<img src=x' not in text
    assert '&lt;script&gt;document.title' in text
    assert '&lt;img src=x onerror=alert(1)&gt;' in text
    assert 'größe &amp; 猫' in text


def test_the_file_needs_no_other(place, tmp_path):
    folder = make(place, cams_dir=place.root / 'cams')
    text = page(tmp_path, folder).read_text()
    links = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert links
    assert all(link.startswith(('data:image/', '#')) for link in links)
    assert not re.search(r'https?:|@import|url\(', text)


def test_galleries_tables_and_prototypes(place, tmp_path):
    folder = make(place, cams_dir=place.root / 'cams')
    text = page(tmp_path, folder).read_text()
    for title in (
        *('Look at these first', 'Worst labels', 'Best labels'),
        'Tags to check first',
        *('Random labels', 'What is taken for what', 'From CAMs to labels'),
        *('Prototypes of the region memory', 'Classes'),
    ):
        assert title in text
    record = json.loads((place.root / 'labels.json').read_text())
    quality = record['against_masks']['labels']
    assert f'{quality["mIoU_strict"]:.1f}' in text
    # Photo, CAM, label and truth of four images in each of five galleries.
    for title in ('photo', 'CAM', 'label', 'truth'):
        assert text.count(f'<figcaption>{title}<') == 20
    crops = re.findall(r'title="cosine [-\d.]+, (.)\.jpg"', text)
    assert len(crops) == 6  # two prototypes a class
    assert set(crops) <= set(LABELS)


def test_without_masks_nothing_is_said_of_them(place, tmp_path):
    shutil.rmtree(place.root / 'SegmentationClass')
    (place.root / 'SegmentationClass').mkdir()
    text = page(tmp_path, make(place), more=['--prototype-images', '0'])
    text = text.read_text()
    assert 'measured with masks</em>' not in text
    assert 'Look at these first' in text
    assert 'Prototypes of' not in text


def test_normals_only(place, tmp_path):
    (place.root / 'list.json').write_text(
        json.dumps({name: [] for name in 'abcd'})
    )
    text = place.config.read_text().replace('labels.txt', 'list.json')
    place.config.write_text(text)
    folder = make(place)
    Image.fromarray(np.ones((24, 32), np.uint8)).save(folder / 'a.png')
    text = page(tmp_path, make(place)).read_text()
    assert '1 images show no class and their labels one.' in text
    assert 'No class in the label' not in text


def test_what_is_gone_is_said(place, tmp_path):
    folder = make(place)
    (place.root / 'JPEGImages/a.jpg').unlink()
    (place.root / 'SegmentationClass/b.png').unlink()
    place.checkpoint.unlink()
    (folder / 'c.png').unlink()
    text = page(tmp_path, folder).read_text()
    assert 'No prototypes are shown' in text
    assert 'JPEGImages/a.jpg' in text
    assert 'no truth' in text
    assert 'no label' in text


def test_no_image_at_all(place, tmp_path):
    folder = make(place)
    review = place.root / 'labels_review.csv'
    review.write_text(review.read_text().splitlines()[0] + '\n')
    assert 'labels' in page(tmp_path, folder).read_text()


def test_a_training_and_its_broken_lines(tmp_path):
    lines = [
        json.dumps(dict(loss=1 / n, loss_cam=1 / n, memory_filled=0.1, step=n))
        for n in range(1, 5)
    ]
    lines += [json.dumps(dict(mAP=70.0, step=1)), '{"loss": 0.']
    work_dir = write_training(tmp_path / 'work', lines)
    text = page(tmp_path, work_dir).read_text()
    assert text.count('alt="training curves"') == 3
    assert '1 lines of scalars.json were cut off' in text


def test_the_folder_of_a_run_is_its_parts(place, tmp_path):
    run = tmp_path / 'my_run'
    for name in ('classifier', 'segmenter'):
        lines = [json.dumps(dict(loss=1 / n, step=n)) for n in (1, 2)]
        folder = write_training(run / name, lines)
        classes = ('background', 'disc', 'bar', 'ring')
        dataset = dict(metainfo=dict(classes=classes))
        Config(
            dict(
                model=dict(type='RCA'), train_dataloader=dict(dataset=dataset)
            )
        ).dump(folder / 'config.py')
    make_pseudo_labels(
        Config.fromfile(place.config), str(place.checkpoint), run / 'labels',
        workers=0,
    )  # fmt: skip
    text = page(tmp_path, run, more=['--pictures', '1']).read_text()
    for part in ('classifier', 'segmenter', 'labels'):
        assert re.search(rf'<h2 id="part\d">{part}</h2>', text)
    # Without the background.
    assert re.findall(r'Classes</t[hd]><td[^>]*>(\d+)<', text) == ['3', '3']


def test_a_resumed_training_replaces_what_was_logged_before(tmp_path):
    from report_parts import read_scalars

    lines = [json.dumps(dict(loss=9, step=n)) for n in (1, 2)]
    work_dir = write_training(tmp_path / 'work', lines)
    later = work_dir / '20260101_000001' / 'vis_data'
    later.mkdir(parents=True)
    (later / 'scalars.json').write_text('{"loss": 3, "step": 2}\n')
    found, broken = read_scalars(work_dir)
    assert [line['loss'] for line in found] == [9, 3]
    assert broken == 0


def test_a_folder_that_is_neither_is_named(tmp_path):
    with pytest.raises(ValueError, match=r'work.* neither'):
        (tmp_path / 'work').mkdir()
        page(tmp_path, tmp_path / 'work')


def test_labels_without_a_review_say_how_to_get_one(place, tmp_path):
    folder = make(place)
    (place.root / 'labels_review.csv').unlink()
    with pytest.raises(ValueError, match=r'labels_review\.csv'):
        page(tmp_path, folder)


@pytest.mark.skipif(not CHROMIUM, reason='there is no Chromium')
def test_a_browser_shows_it_and_runs_nothing_of_the_names(place, tmp_path):
    place.rename(NAMES, {'disc': EVIL}, 'rca')
    file = page(tmp_path, make(place))
    text = file.read_text()
    # Some more entries, so that there is a second page.
    entry = re.search(
        r'<div class="item">.*?</figure></div></div>', text, re.S
    )
    assert entry
    file.write_text(text.replace(entry[0], entry[0] * 9, 1))
    shown = subprocess.run(
        [
            *(CHROMIUM, '--headless', '--no-sandbox', '--disable-gpu'),
            *(f'--user-data-dir={tmp_path}/profile', '--dump-dom'),
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=100,
    ).stdout
    assert '<title>Report: labels</title>' in shown
    assert '1 to 8 of 12' in shown
    assert shown.count('hidden=""') == 4
    assert EVIL not in shown
