"""What only some systems have is taken away: CPU affinity, fork, signals, UTF-8, renaming over an open file."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import files, tracking
from helpers.experiment.run import available_threads
from tests.support.environment import run_python

ROOT = Path(__file__).parents[1]
# Windows and macOS have no sched_getaffinity, Windows no fork, no SIGHUP and no /usr/share (nor SIGKILL, which Python's
# own modules need on the other systems)
LESS = """
import os, signal
for module, names in {os: ("sched_getaffinity", "fork", "forkpty"), signal: ("SIGHUP", "SIGUSR1")}.items():
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
    assert re.search("Results of all [23] trials", result.stdout)  # two workers may draw the same point at the end


def test_threads_without_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert available_threads() >= 1


@pytest.mark.parametrize(("failures", "system", "timeout"), [(3, "nt", 600), (10**9, "nt", 0.2), (1, "posix", 600)])
def test_file_that_another_process_has_open(tmp_path, monkeypatch, failures, system, timeout):
    """Windows refuses to rename over an open file: the writer waits, and gives up after a while."""
    path, new, replace, calls = tmp_path / "file", tmp_path / "new", os.replace, []
    path.write_bytes(b"old")
    new.write_bytes(b"new")

    def refuse(*names):
        calls.append(names)
        if len(calls) <= failures:
            raise PermissionError(13, "Access is denied")
        replace(*names)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        patch.setattr(os, "name", system)
        patch.setattr(files, "REPLACE_TIMEOUT", timeout)
        try:
            files.replace(new, path)
        except PermissionError:
            assert failures > 3 or system == "posix"
    assert path.read_bytes() == (b"new" if failures == 3 else b"old")


def test_path_on_another_drive(monkeypatch):
    def relpath(path):
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr(os.path, "relpath", relpath)
    assert tracking.display_path(Path("folder")) == "folder"
