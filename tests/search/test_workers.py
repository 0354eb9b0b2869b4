"""run_in_processes: each task runs once, an error ends all processes, and none outlives its parent."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from helpers.search.workers import run_in_processes

pytestmark = pytest.mark.slow


def mark(folder, number, seconds=0.0):
    """Write a file with the process id, then wait."""
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
    """Kill the second process while it sends more than the pipe holds."""
    mark(folder, number)
    if number == 1:
        while not (folder / "parent").exists():
            time.sleep(0.05)
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGKILL)).start()
    return bytes(5_000_000 * number)


def hold(folder, number):
    """Hold a lock of the system, as a progress bar does."""
    mark(folder, number)
    hold.lock = multiprocessing.get_context("spawn").RLock()


def script(folder, function, tasks):
    """Start a program that runs the function in two processes; return it and the folder of the marks."""
    path, marks = folder / "script.py", folder / "marks"
    path.write_text(
        "import pathlib; from helpers.search.workers import run_in_processes\n"
        f"from tests.search.test_workers import {function}; marks = pathlib.Path({str(marks)!r})\n"
        "if __name__ == '__main__':\n"
        f"    run_in_processes({function}, [(marks, *task) for task in {tasks}], 2, print)"
    )
    marks.mkdir()
    surroundings = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen([sys.executable, path], env=surroundings, stderr=subprocess.PIPE, text=True), marks


def alive(folder):
    return [path.name for path in folder.iterdir() if Path(f"/proc/{path.read_text() or 'none'}").exists()]


def tasks(folder, count=9):
    return [(folder, number) for number in range(count)]


def test_each_task_runs_once(tmp_path):
    came = []
    run_in_processes(mark, [(*task, 0.05) for task in tasks(tmp_path)], 2, on_result=came.append)
    assert sorted(came) == list(range(9))
    assert len({path.read_text() for path in tmp_path.iterdir()}) == 2
    assert not multiprocessing.active_children()


def test_error_ends_all_processes(tmp_path):
    """The other process would run for a minute, and no further task is started."""
    with pytest.raises(ValueError, match="no 1"):
        run_in_processes(fail_at, tasks(tmp_path), 2, on_result=print)
    assert {path.name for path in tmp_path.iterdir()} <= {"0", "1"}
    assert not alive(tmp_path)


def test_killed_process_loses_only_its_task(tmp_path):
    came = []
    lost = run_in_processes(kill_at, tasks(tmp_path), 2, on_result=came.append)
    assert lost == [(tmp_path, 1)]
    assert sorted(came) == [0, *range(2, 9)]
    assert not multiprocessing.active_children()


def test_unexpected_error_shows_traceback(tmp_path, capfd):
    with pytest.raises(ChildProcessError, match="a process ended with exit code 1"):
        run_in_processes(crash_at, tasks(tmp_path), 2, on_result=print)
    assert "LookupError: unforeseen" in capfd.readouterr().err
    assert not alive(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_process_killed_while_sending_loses_only_its_task(tmp_path):
    def busy(result):
        """Wait until the other process has ended."""
        (tmp_path / "parent").write_text("none")
        while not (tmp_path / "1").exists():
            time.sleep(0.05)
        while "Z" not in Path(f"/proc/{(tmp_path / '1').read_text()}/stat").read_text().split():
            time.sleep(0.05)

    assert run_in_processes(half_sent, tasks(tmp_path, 2), 2, on_result=busy) == [(tmp_path, 1)]


def test_error_in_callback_ends_all_processes(tmp_path):
    """Such as a table that does not fit on a full disk."""

    def full(number):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        run_in_processes(mark, [(tmp_path, 0, 0), (tmp_path, 1, 60), (tmp_path, 2, 60)], 2, on_result=full)
    assert len(list(tmp_path.iterdir())) <= 2
    assert not alive(tmp_path)


def test_processes_release_resources(tmp_path):
    process, _ = script(tmp_path, "hold", [(number,) for number in range(4)])
    assert process.communicate(timeout=60)[1] == ""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_workers_end_with_parent(tmp_path):
    process, marks = script(tmp_path, "mark", [(number, 60) for number in range(4)])
    while len(alive(marks)) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 60
    while alive(marks):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_poll_is_called_while_waiting(tmp_path):
    polls = []
    run_in_processes(mark, [(tmp_path, 0, 1.5)], 1, on_result=print, poll=lambda: polls.append(time.monotonic()))
    assert len(polls) >= 2


def test_interrupt_while_a_process_starts(monkeypatch):
    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr("multiprocessing.context.SpawnProcess.start", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_in_processes(time.sleep, [(1,)], 1, on_result=print)
