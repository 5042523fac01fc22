import io
import sys

import pytest

from mmrca import progress as module
from mmrca.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves by hand."""

    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

    monkeypatch.setattr(module, 'time', Clock())
    return module.time


def test_a_pipe_gets_a_line_for_every_tenth(capsys, clock):
    seen = []
    for item in progress(range(200), 'images'):
        clock.now += 0.5
        seen.append(item)
    assert seen == list(range(200))
    out = capsys.readouterr().out
    assert out.splitlines() == [
        f'images {n}/200, {(200 - n) // 2} s left' for n in range(20, 201, 20)
    ]
    assert '\r' not in out


def test_what_has_shown_a_line_ends_with_one(capsys, clock):
    for number in progress(range(36), 'images'):
        clock.now += 1.5 if number < 33 else 0.0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith('images 33/36')
    assert lines[-1] == 'images 36/36'


def test_what_takes_no_second_shows_nothing(capsys, clock):
    for _ in progress(range(200), 'images'):
        clock.now += 0.001
    assert capsys.readouterr().out == ''


def test_slow_items_get_a_line_each_half_minute(capsys, clock):
    for _ in progress(iter(range(8)), 'images'):  # how many, nobody knows
        clock.now += 20
    lines = capsys.readouterr().out.splitlines()
    assert lines == ['images 2', 'images 4', 'images 6', 'images 8']


@pytest.mark.parametrize('stream', [io.StringIO, Terminal])
def test_nothing_to_do_shows_nothing(monkeypatch, stream):
    shown = stream()
    monkeypatch.setattr(sys, 'stdout', shown)
    assert list(progress([], 'images')) == []
    assert list(progress(iter([]), 'images', 0)) == []
    assert shown.getvalue() == ''


def test_a_terminal_gets_a_bar(monkeypatch):
    shown = Terminal()
    monkeypatch.setattr(sys, 'stdout', shown)
    monkeypatch.setenv('TERM', 'xterm')
    assert list(progress(range(3), 'images')) == [0, 1, 2]
    assert 'images' in shown.getvalue()
    assert '3/3' in shown.getvalue()
