import json
from collections import Counter

import pytest

from benchmarks.coco_rehearsal import COUNTS, IMAGES, main, write_data


def test_list_has_each_class_as_often_as_it_should(tmp_path):
    counts = write_data(tmp_path, 2000, 8)
    lines = (tmp_path / 'list.txt').read_text().splitlines()
    images = [list(map(int, line.split()[1:])) for line in lines]
    assert len(images) == len(list((tmp_path / 'images').iterdir())) == 2000
    assert all(len(set(image)) == len(image) > 0 for image in images)
    found = Counter(c for image in images for c in image)
    assert [found[c] for c in range(80)] == counts
    for own, real in zip(counts, COUNTS, strict=True):
        assert abs(own / 2000 - real / IMAGES) < 1 / 2000


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_rehearses_a_tiny_training(tmp_path):
    out = tmp_path / 'summary.json'
    main(
        '--images 200 --size 32 --batch-size 2 --iterations 5 --step-turns 0 '
        f'--threads 1 --out {out}'.split()
    )
    found = json.loads(out.read_text())
    assert found['images, rows'].startswith('200, ')
    assert found['checkpoint (MB)'] > found['checkpoint of plain CAM (MB)']
