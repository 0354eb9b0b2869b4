"""replacing: the old file or the new one, whole, and nothing beside it."""

import os
import subprocess
import sys
import time

import pytest

from helpers.atomic import replacing


def test_the_new_file_is_there_only_at_the_end(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("broken", ["write", "fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(broken, tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    def write():
        with replacing(path) as file:
            file.write(b"new")
            if broken == "write":
                full()

    if broken != "write":
        monkeypatch.setattr(os, broken, full)
    with pytest.raises(OSError, match="No space left"):
        write()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_it_is_on_the_disk_before_it_has_the_name(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append("flushed"))
    monkeypatch.setattr(os, "replace", lambda aside, path: done.append("renamed"))
    with replacing(tmp_path / "a") as file:
        file.write(b"new")
    assert done == ["flushed", "renamed"]


def test_two_processes_that_write_at_once_and_are_killed_leave_a_whole_file(tmp_path):
    code = (
        "import sys; from helpers.atomic import replacing\n"
        "while True:\n"
        "    with replacing(sys.argv[1]) as file:\n"
        "        for _ in range(100): file.write(sys.argv[2].encode() * 1000)\n"
    )
    path = tmp_path / "a"
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), letter]) for letter in "xy"]
    try:
        while not path.exists():
            assert all(writer.poll() is None for writer in writers)
            time.sleep(0.01)
        for _ in range(50):
            assert path.read_bytes() in (b"x" * 100_000, b"y" * 100_000)
        assert all(writer.poll() is None for writer in writers)
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    assert path.read_bytes() in (b"x" * 100_000, b"y" * 100_000)


def test_two_that_write_at_once_do_not_meet(tmp_path):
    """Also in one process: each has a file of its own beside the path."""
    path = tmp_path / "a"
    with replacing(path) as first:
        first.write(b"1")
        with replacing(path) as second:
            second.write(b"2")
        assert path.read_bytes() == b"2"
    assert path.read_bytes() == b"1"
    assert os.listdir(tmp_path) == ["a"]


def test_a_link_stays_one_and_what_is_no_file_is_refused(tmp_path):
    (tmp_path / "link").symlink_to("target")
    with replacing(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(OSError, match="is no regular file"), replacing(tmp_path / name):
            pass
