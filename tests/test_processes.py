"""Shared work: all of it is done once, an error ends everybody, and nobody outlives the process that started them."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from helpers.processes import share


def mark(folder, number, seconds=0.0):
    """What a worker does: leave a file with its process's number, wait a little."""
    path = folder / str(number)
    path.write_text(str(os.getpid()))
    time.sleep(seconds)
    return number


def fail_at(folder, number):
    mark(folder, number)
    if number == 1:
        raise ValueError(f"no {number}")
    time.sleep(60)


def kill_at(folder, number):
    if mark(folder, number) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def crash_at(folder, number):
    if mark(folder, number) == 1:
        raise LookupError("unforeseen")
    time.sleep(60)


def half_sent(folder, number):
    """The second process is killed while it hands over what does not fit into the pipe."""
    mark(folder, number)
    if number == 1:
        while not (folder / "parent").exists():
            time.sleep(0.05)
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGKILL)).start()
    return bytes(5_000_000 * number)


def hold(folder, number):
    """Keep what the system must be given back, as a progress bar does."""
    mark(folder, number)
    hold.lock = multiprocessing.get_context("spawn").RLock()


def script(folder, function, calls):
    """Start a program of its own that shares such calls of the function; return it and the folder of the marks."""
    path, marks = folder / "script.py", folder / "marks"
    path.write_text(
        f"import pathlib; from helpers.processes import share; from tests.test_processes import {function}\n"
        f"if __name__ == '__main__': share({function}, [(pathlib.Path({str(marks)!r}), *c) for c in {calls}], 2, print)"
    )
    marks.mkdir()
    surroundings = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    return subprocess.Popen([sys.executable, path], env=surroundings, stderr=subprocess.PIPE, text=True), marks


def alive(folder):
    return [path.name for path in folder.iterdir() if Path(f"/proc/{path.read_text() or 'none'}").exists()]


def calls(folder, count=9):
    return [(folder, number) for number in range(count)]


def test_every_call_is_made_once_by_so_many_processes(tmp_path):
    came = []
    share(mark, [(*call, 0.05) for call in calls(tmp_path)], 2, after=came.append)
    assert sorted(came) == list(range(9))
    assert len({path.read_text() for path in tmp_path.iterdir()}) == 2
    assert not multiprocessing.active_children()


def test_an_error_ends_everybody_at_once(tmp_path):
    """The other one would go on for a minute; and of the calls that wait none is begun."""
    with pytest.raises(ValueError, match="no 1"):
        share(fail_at, calls(tmp_path), 2, after=print)
    assert {path.name for path in tmp_path.iterdir()} <= {"0", "1"}
    assert not alive(tmp_path)


def test_a_killed_process_costs_its_call_alone(tmp_path):
    came = []
    lost = share(kill_at, calls(tmp_path), 2, after=came.append)
    assert lost == [(tmp_path, 1)]
    assert sorted(came) == [0, *range(2, 9)]
    assert not multiprocessing.active_children()


def test_an_error_that_nobody_foresaw_is_shown_where_it_happened(tmp_path, capfd):
    with pytest.raises(ChildProcessError, match="a process ended with exit code 1"):
        share(crash_at, calls(tmp_path), 2, after=print)
    assert "LookupError: unforeseen" in capfd.readouterr().err
    assert not alive(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_process_that_is_killed_while_it_hands_over_its_result_costs_its_call_alone(tmp_path):
    def busy(result):
        """Look away until the other process is gone."""
        (tmp_path / "parent").write_text("none")
        while not (tmp_path / "1").exists():
            time.sleep(0.05)
        while "Z" not in Path(f"/proc/{(tmp_path / '1').read_text()}/stat").read_text().split():
            time.sleep(0.05)

    assert share(half_sent, calls(tmp_path, 2), 2, after=busy) == [(tmp_path, 1)]


def test_an_error_of_what_is_done_with_a_result_ends_them_too(tmp_path):
    """Such as a table that a full disk does not take."""

    def full(number):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        share(mark, [(tmp_path, 0, 0), (tmp_path, 1, 60), (tmp_path, 2, 60)], 2, after=full)
    assert len(list(tmp_path.iterdir())) <= 2
    assert not alive(tmp_path)


def test_processes_give_back_what_they_hold(tmp_path):
    process, _ = script(tmp_path, "hold", [(number,) for number in range(4)])
    assert process.communicate(timeout=60)[1] == ""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_no_worker_outlives_the_process_that_started_it(tmp_path):
    process, marks = script(tmp_path, "mark", [(number, 60) for number in range(4)])
    while len(alive(marks)) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate()
    while alive(marks):  # for ever, if they do
        time.sleep(0.05)
