"""One run in a folder."""

import os
import signal

import pytest

from mmrca import folder_lock
from mmrca.folder_lock import sole_user


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    monkeypatch.setattr(folder_lock, 'PATIENCE', 0.0)


def test_a_killed_run_lets_go_though_its_child_lives_on(tmp_path):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        with sole_user(tmp_path / 'a'):
            child = os.fork()  # as a loader's worker
            if child:
                os.write(writer, child.to_bytes(8, 'big'))
            signal.pause()
            os._exit(0)
    child = int.from_bytes(os.read(reader, 8), 'big')
    with (
        pytest.raises(ValueError, match='another run'),
        sole_user(tmp_path / 'a'),
    ):
        pass
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    try:
        with sole_user(tmp_path / 'a'):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_folder_that_stays_empty_is_removed(tmp_path):
    with sole_user(tmp_path / 'a' / 'b'):
        pass
    assert not (tmp_path / 'a' / 'b').exists()
    with sole_user(tmp_path / 'a' / 'b'):
        (tmp_path / 'a' / 'b' / 'c').touch()
    assert (tmp_path / 'a' / 'b' / 'c').exists()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / 'a').touch()
    with (
        pytest.raises(ValueError, match=r'a is not a folder'),
        sole_user(tmp_path / 'a'),
    ):
        pass
