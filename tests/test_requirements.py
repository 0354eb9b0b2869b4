"""An old Python, missing or old packages: one sentence. The lists of versions agree with each other."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import requirements

ROOT = Path(__file__).parents[1]
OLD_PYTHON = "import sys\nsys.version_info = (3, 10, 4, 'final', 0)\n"
METADATA = """
from importlib import metadata
def version(name, found=metadata.version):
    if (name, {version!r}) == ({name!r}, None):
        raise metadata.PackageNotFoundError(name)
    return {version!r} if name == {name!r} else found(name)
metadata.version = version
"""
CASES = {
    OLD_PYTHON: "this is Python 3.10.4, but 3.11 or newer is required: install it from https://www.python.org",
    METADATA.format(name="optuna", version=None): "the package optuna is missing; install the requirements: ",
    METADATA.format(name="numpy", version="1.26.4"): "numpy 1.26.4 is installed, but 2.0 or newer is required: ",
    METADATA.format(name="scikit-learn", version="1.5.2rc1"): "scikit-learn 1.5.2rc1 is installed, but 1.6 or newer ",
}


@pytest.fixture(params=CASES.items(), ids=["python", "missing", "old", "candidate"])
def machine(request, tmp_path, monkeypatch):
    """Return the message that is expected on a machine where something is missing or old."""
    change, message = request.param
    (tmp_path / "sitecustomize.py").write_text(change, "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return message


def run(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_command_ends_with_one_sentence(machine):
    result = run("-m", "helpers.train", "--help")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error: {machine}")
    assert result.stderr.count("\n") == 1
    if "python.org" not in machine:
        assert f'"{sys.executable}" -m pip install -r "{ROOT / "requirements.txt"}"' in result.stderr


def test_import_raises_import_error(machine):
    result = run("-c", "import helpers.nn")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(f"ImportError: {machine}")


@pytest.mark.parametrize("version", ["2.0", "2.0.0", "2.0.0rc1", "10", "2.1.dev3", "2.4.6+local"])
def test_newer_versions_are_accepted(monkeypatch, version):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "999" if name != "numpy" else version)
    assert requirements.problem() is None


def test_without_requirements_file_only_python_is_checked(monkeypatch, tmp_path):
    monkeypatch.setattr(requirements, "FILE", tmp_path / "none")
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0")
    assert requirements.problem() is None


def pins(name):
    text = (ROOT / "tests" / f"{name}.txt").read_text("utf-8")
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE))


def test_oldest_versions_are_the_floors():
    """What is tested as the oldest is what requirements.txt allows, and no list goes below it."""
    text = (ROOT / "requirements.txt").read_text("utf-8")
    floors = dict(re.findall(r"^([\w-]+)>=([\d.]+)", text, re.MULTILINE))
    assert len(floors) > 12
    for name, floor in floors.items():
        oldest = requirements.numbers(pins("oldest")[name])
        assert oldest[: len(requirements.numbers(floor))] == requirements.numbers(floor), name
        for versions in ("colab", "newest"):
            found = pins(versions).get(name)
            assert found is None or requirements.numbers(found) >= requirements.numbers(floor), (versions, name)
