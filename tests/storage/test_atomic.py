"""atomic_write and locked: complete files, no temporary files, no lost changes."""

import os
import subprocess
import time

import pytest

from helpers.storage import atomic, atomic_write, locked
from tests.support.environment import start_python, wait_until


def test_atomic_write_replaces_file_at_end_of_block(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("broken", ["write", "fsync", "replace"])
def test_atomic_write_failure_keeps_old_file(broken, tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    def write():
        with atomic_write(path) as file:
            file.write(b"new")
            if broken == "write":
                full()

    if broken != "write":
        monkeypatch.setattr(os, broken, full)
    with pytest.raises(OSError, match="No space left"):
        write()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_atomic_write_removes_what_a_kill_left(tmp_path, monkeypatch):
    """After ten minutes without a change; younger files may belong to another process, other names to the user.

    The age is that of the file system: the clock of this process may be wrong.
    """
    abandoned, young, others = "a[1].0123abcd.new", "a[1].89abcdef.new", ["a[1].backup.new", "a1.0123abcd.new"]
    for name in (abandoned, young, *others):
        (tmp_path / name).write_bytes(b"part")
    before = time.time() - 2 * atomic.ABANDONED_AFTER
    for name in (abandoned, *others):
        os.utime(tmp_path / name, (before, before))
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + 86400)
    with atomic_write(tmp_path / "a[1]") as file:
        file.write(b"new")
    assert sorted(os.listdir(tmp_path)) == sorted(["a[1]", young, *others])


def test_atomic_write_interrupt_keeps_old_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def write():
        with atomic_write(path) as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_atomic_write_flushes_before_rename(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: calls.append("fsync"))
    monkeypatch.setattr(os, "replace", lambda temporary, path: calls.append("replace"))
    with atomic_write(tmp_path / "a") as file:
        file.write(b"new")
    assert calls == ["fsync", "replace"]


@pytest.mark.slow
def test_atomic_write_two_killed_processes_leave_complete_file(tmp_path):
    code = (
        "import sys; from helpers.storage import atomic_write\n"
        "while True:\n"
        "    with atomic_write(sys.argv[1]) as file:\n"
        "        for _ in range(100): file.write(sys.argv[2].encode() * 1000)\n"
    )
    path = tmp_path / "a"
    writers = [start_python(code, path, letter) for letter in "xy"]
    try:
        wait_until(lambda: path.exists() or any(writer.poll() is not None for writer in writers))
        for _ in range(50):
            assert path.read_bytes() in (b"x" * 100_000, b"y" * 100_000)
        assert all(writer.poll() is None for writer in writers)
    finally:
        for writer in writers:
            writer.kill()
            writer.wait(timeout=60)
    assert path.read_bytes() in (b"x" * 100_000, b"y" * 100_000)


def test_atomic_write_concurrent_writers_use_separate_temporary_files(tmp_path):
    """In the same process, too."""
    path = tmp_path / "a"
    with atomic_write(path) as first:
        first.write(b"1")
        with atomic_write(path) as second:
            second.write(b"2")
        assert path.read_bytes() == b"2"
    assert path.read_bytes() == b"1"
    assert os.listdir(tmp_path) == ["a"]


def test_atomic_write_follows_symbolic_link(tmp_path):
    (tmp_path / "link").symlink_to("target")
    with atomic_write(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["pipe", "."])
def test_atomic_write_non_regular_file_refused(tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"), atomic_write(tmp_path / name):
        pass


@pytest.mark.slow
def test_locked_two_processes_lose_no_change(tmp_path):
    """Each of two processes reads a number, adds one and writes it, 50 times."""
    code = (
        "import sys, time; from pathlib import Path; from helpers.storage import atomic_write, locked\n"
        "path = Path(sys.argv[1]); Path(sys.argv[2]).touch()\n"
        "deadline = time.monotonic() + 60\n"
        "while not path.exists() and time.monotonic() < deadline: time.sleep(0.001)\n"
        "for _ in range(50):\n"
        "    with locked(path):\n"
        "        number = int(path.read_text())\n"
        "        with atomic_write(path) as file: file.write(str(number + 1).encode())\n"
    )
    path, ready = tmp_path / "number", [tmp_path / "ready1", tmp_path / "ready2"]
    processes = [start_python(code, path, flag, stderr=subprocess.PIPE) for flag in ready]
    try:
        wait_until(lambda: all(flag.exists() for flag in ready))
        with atomic_write(path) as file:  # both start now
            file.write(b"0")
        for process in processes:
            _, errors = process.communicate(timeout=100)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
            process.wait(timeout=60)
    assert path.read_text() == "100"


def test_locked_times_out_while_another_holds_lock(tmp_path, monkeypatch):
    path = tmp_path / "a"
    with locked(path):
        monkeypatch.setattr(atomic, "LOCK_TIMEOUT", 0.05)
        with pytest.raises(TimeoutError), locked(path):
            pass
    with locked(path):  # free again
        pass


@pytest.mark.slow
def test_locked_is_free_after_holder_is_killed(tmp_path):
    code = (
        "import sys, time; from helpers.storage import locked\n"
        "with locked(sys.argv[1]): open(sys.argv[1], 'w').close(); time.sleep(100)\n"
    )
    path = tmp_path / "a"
    holder = start_python(code, path)
    try:
        wait_until(lambda: path.exists() or holder.poll() is not None)
        assert holder.poll() is None
    finally:
        holder.kill()
        holder.wait(timeout=60)
    start = time.monotonic()
    with locked(path):
        pass
    assert time.monotonic() - start < 10
