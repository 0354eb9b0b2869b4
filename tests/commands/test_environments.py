"""The commands in unusual environments: no UTF-8, no home folder, a path with special characters."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from tests.support.environment import NO_NETWORK

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RUN = ["--allow_sample", "--epochs=1", "--hidden_size=16", "--batch_size=500"]
SWEEP = {
    "method": "random", "metric": {"name": "val_accuracy", "goal": "maximize"},
    "parameters": {"epochs": {"value": 1}, "hidden_size": {"value": 8}, "batch_size": {"values": [250, 500]}},
}  # fmt: skip


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Return a function that runs a command in a copy of the project in such a folder."""
    folder = tmp_path_factory.mktemp("a") / "Übung 1, 数"
    shutil.copytree(ROOT / "helpers", folder / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "größe.yaml").write_text(yaml.safe_dump(SWEEP | {"description": "größer"}, allow_unicode=True), "utf-8")
    Image.new("L", (28, 28), 99).save(folder / "röck.png")
    prefixes = ("WANDB", "PYTHON", "LC", "LANG")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)} | NO_NETWORK
    clean |= {"HOME": "/proc/nowhere", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "CI": "true"}

    def run(*command, cwd=folder, **variables):
        return subprocess.run(
            [sys.executable, *map(str, command)], env=clean | variables, cwd=cwd, capture_output=True, text=True,
            errors="replace", check=False,
        )  # fmt: skip

    return run


def test_environment_has_no_utf_8(odd):
    code = "import sys; print(sys.stdout.encoding, sys.getfilesystemencoding())"
    expected = "ascii utf-8\n" if sys.platform == "darwin" else "ascii ascii\n"
    assert odd("-c", code).stdout == expected


def test_train_and_predict(odd):
    for _ in range(2):  # the second continues from the checkpoint of the first
        result = odd("-m", "helpers.train", *RUN, "--checkpoint=schön.ckpt", "--resume", "--model=schön.npz")
        assert result.returncode == 0, result.stderr
        assert "validation accuracy" in result.stdout
    result = odd("-m", "helpers.predict", "schön.npz", "röck.png")
    assert result.returncode == 0, result.stderr
    assert "%" in result.stdout


def test_sweep(odd):
    result = odd("-m", "helpers.sweep", "größe.yaml", "--trials=2", "--allow_sample")
    assert result.returncode == 0, result.stderr
    assert "Results of all 2 trials" in result.stdout


@pytest.mark.parametrize("module", ["train", "sweep", "predict", "recipes", "report"])
def test_help_and_invalid_flag(odd, module):
    assert odd("-m", f"helpers.{module}", "--help").returncode == 0
    result = odd("-m", f"helpers.{module}", "--größe=×")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_recipe_table_escapes_characters(odd):
    result = odd("-m", "helpers.recipes", "--table")
    assert result.returncode == 0, result.stderr
    assert r"\xb1" in result.stdout  # ±, which this terminal cannot show


@pytest.mark.skipif(sys.platform != "linux", reason="/proc, where not even root can write, exists on Linux only")
def test_unwritable_folder(odd, tmp_path):
    """Training continues without record, checkpoint and model file; a search ends with a message."""
    files = "--checkpoint=a.ckpt", "--model=a.npz"
    result = odd("-m", "helpers.train", *RUN, *files, cwd="/proc", PYTHONPATH=str(ROOT))
    assert result.returncode == 1, result.stderr
    assert "validation accuracy" in result.stdout
    assert "checkpoint 'a.ckpt' could not be written" in result.stderr
    assert "the network could not be written" in result.stderr
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SWEEP), "utf-8")
    result = odd("-m", "helpers.sweep", tmp_path / "small.yaml", cwd="/proc", PYTHONPATH=str(ROOT))
    assert result.returncode == 1
    assert "sweeps" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no closed pipes of this kind")
def test_closed_pipe_exit_code_1():
    """As after ``| head``."""
    command = [sys.executable, "-m", "helpers.recipes", "--table"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    process.stdout.close()
    assert process.wait(timeout=200) == 1
    assert process.stderr.read() == ""
