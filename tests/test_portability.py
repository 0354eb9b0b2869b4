"""What only some systems have is taken away: CPU affinity, fork, signals, UTF-8, renaming over an open file."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import cli, tracking
from helpers.nn.threads import available_threads
from helpers.storage import atomic, atomic_write
from tests.support.environment import run_python

ROOT = Path(__file__).parents[1]
# Windows and macOS have no sched_getaffinity, Windows no fork, no SIGHUP and no /usr/share
LESS = """
import os, signal
for module, names in {os: ("sched_getaffinity", "fork", "forkpty"), signal: ("SIGHUP", "SIGKILL", "SIGUSR1")}.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
"""
RUN = ["--allow_sample", "--epochs=1", "--hidden_size=16", "--batch_size=500"]


@pytest.fixture
def less(tmp_path, monkeypatch):
    """A system without these functions, and with a console that shows few characters."""
    (tmp_path / "sitecustomize.py").write_text(LESS, "utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    monkeypatch.setenv("WANDB_MODE", "offline")
    return tmp_path


def command(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, capture_output=True, timeout=200, check=False, text=True,
        encoding="cp1252",
    )  # fmt: skip


@pytest.mark.slow
def test_commands_with_fewer_functions(less):
    result = run_python("import os, signal; print(hasattr(os, 'fork'), hasattr(signal, 'SIGHUP'))")
    assert result.stdout.split() == ["False", "False"]
    result = command(less, "helpers.train", *RUN, "--model=a.npz", "--checkpoint=a.ckpt")
    assert result.returncode == 0, result.stderr
    assert "validation accuracy" in result.stdout
    assert (less / "a.npz").exists()
    (less / "small.yaml").write_text(
        "method: grid\nmetric: {name: val_accuracy, goal: maximize}\n"
        "parameters: {epochs: {value: 1}, batch_size: {value: 500}, hidden_size: {values: [4, 8]}}\n",
        "utf-8",
    )
    result = command(less, "helpers.sweep", "small.yaml", "--workers=2", "--allow_sample")
    assert result.returncode == 0, result.stderr
    assert "Results of all 2 trials" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("module", ["train", "sweep", "recipes", "predict", "report"])
def test_help_with_fewer_functions(less, module):
    result = command(less, f"helpers.{module}", "--help")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("usage")


def test_threads_without_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert available_threads() >= 1


@pytest.mark.parametrize("missing", [(), ("SIGHUP",), ("SIGHUP", "SIGTERM")])
def test_signals_that_do_not_exist(monkeypatch, missing):
    before = signal.getsignal(signal.SIGINT)
    for name in missing:
        monkeypatch.delattr(signal, name, raising=False)
    with pytest.raises(KeyboardInterrupt), cli.signals() as signals:
        signal.raise_signal(signal.SIGINT)
    assert signals.exit_code == 130
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_closed_terminal_interrupts():
    with pytest.raises(KeyboardInterrupt), cli.signals() as signals:
        signal.raise_signal(signal.SIGHUP)
    assert signals.exit_code == 129


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a process could handle")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signal_after_the_end_of_a_command_keeps_its_exit_code(name):
    code = (
        "import atexit, os, signal; from helpers import cli\n"
        f"atexit.register(lambda: os.kill(os.getpid(), signal.{name}))\n"
        "cli.run(lambda: 3)"
    )
    result = run_python(code)
    assert (result.returncode, result.stderr) == (3, "")


@pytest.mark.parametrize(("failures", "system"), [(3, "nt"), (10**9, "nt"), (1, "posix")])
def test_file_that_another_process_has_open(tmp_path, monkeypatch, failures, system):
    """Windows refuses to rename over an open file: the writer waits, and gives up after a while."""
    path, replace, calls = tmp_path / "file", os.replace, []
    path.write_bytes(b"old")

    def refuse(*names):
        calls.append(names)
        if len(calls) <= failures:
            raise PermissionError(13, "Access is denied")
        replace(*names)

    monkeypatch.setattr(atomic.os, "replace", refuse)
    monkeypatch.setattr(atomic, "REPLACE_TIMEOUT", 0.3)
    path_type = type(path)
    monkeypatch.setattr(atomic.os, "name", system)
    monkeypatch.setattr(atomic, "Path", path_type)  # pathlib chooses its class by os.name
    try:
        with atomic_write(path) as file:
            file.write(b"new")
    except PermissionError:
        assert failures > 3 or system == "posix"
    monkeypatch.undo()
    assert path.read_bytes() == (b"new" if failures == 3 else b"old")
    assert list(tmp_path.iterdir()) == [path]


def test_path_on_another_drive(monkeypatch):
    def relpath(path):
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr(os.path, "relpath", relpath)
    assert tracking.display_path(Path("folder")) == "folder"
