import json

import pytest

from benchmarks import bench
from benchmarks.timing import Ratio


def test_table_goes_between_the_markers(tmp_path):
    doc = tmp_path / 'doc.md'
    doc.write_text(f'before\n{bench.START}\nold\n{bench.END}\nafter\n')
    bench.write_table(doc, ['| new |'])
    text = doc.read_text()
    assert text.startswith(f'before\n{bench.START}\n')
    assert text.endswith(f'| new |\n{bench.END}\nafter\n')
    assert 'old' not in text


def test_document_without_markers_is_named(tmp_path):
    doc = tmp_path / 'doc.md'
    doc.write_text('nothing')
    with pytest.raises(ValueError, match=r'doc\.md'):
        bench.write_table(doc, [])


def test_keeps_what_it_measured_and_says_what_it_skipped(
    tmp_path, monkeypatch, capsys
):
    row = bench.Row(lambda device, turns: Ratio(0.5, 0.4, 0.6), 'it', 0.9)
    skipped = row._replace(why_not='no such package')
    monkeypatch.setattr(bench, 'ROWS', dict(row=row, skipped=skipped))
    doc, out = tmp_path / 'doc.md', tmp_path / 'summary.json'
    doc.write_text(f'{bench.START}{bench.END}')
    bench.main(['--doc', str(doc), '--out', str(out)])
    expected = dict(ratio=0.5, low=0.4, high=0.6, goal=0.9)
    assert json.loads(out.read_text()) == dict(row=expected)
    assert 'no such package' in doc.read_text()
    assert 'no such package' in capsys.readouterr().out


@pytest.mark.slow
def test_measures_a_row(tmp_path):
    out = tmp_path / 'summary.json'
    bench.main(f'--rows threshold_curve --turns 1 --out {out}'.split())
    (found,) = json.loads(out.read_text()).values()
    assert 0 < found['low'] <= found['ratio'] <= found['high']
