"""The command lines where little is as it should be: no UTF-8, no home, a folder with an odd name, another one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from tests.conftest import NO_NETWORK

ROOT = Path(__file__).parent.parent
RUN = ["--allow_sample", "--epochs=1", "--hidden_size=16", "--batch_size=500"]
RUN_TRAIN = f"from helpers import console, train; console.run(lambda: train.main({RUN}))"
SWEEP = {
    "method": "random", "metric": {"name": "val_accuracy", "goal": "maximize"},
    "parameters": {"epochs": {"value": 1}, "hidden_size": {"value": 8}, "batch_size": {"values": [250, 500]}},
}  # fmt: skip


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A copy of the project in such a folder, and a function that runs a command there."""
    folder = tmp_path_factory.mktemp("a") / "Übung 1, 数"
    shutil.copytree(ROOT / "helpers", folder / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "größe.yaml").write_text(yaml.safe_dump(SWEEP | {"description": "größer"}, allow_unicode=True), "utf-8")
    Image.new("L", (28, 28), 99).save(folder / "röck.png")
    away = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB", "PYTHON", "LC", "LANG"))}
    away |= {
        "HOME": "/proc/nowhere",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "LC_ALL": "C",
        "CI": "true",
    } | NO_NETWORK

    def run(*command, cwd=folder):
        return subprocess.run(
            [sys.executable, *command], env=away, cwd=cwd, capture_output=True, text=True, errors="replace", check=False
        )

    return run


def test_nothing_here_is_utf_8(odd):
    code = "import sys; print(sys.stdout.encoding, sys.getfilesystemencoding())"
    expected = "ascii utf-8\n" if sys.platform == "darwin" else "ascii ascii\n"
    assert odd("-c", code).stdout == expected


def test_a_run_a_model_and_its_prediction(odd):
    for _ in range(2):  # the second goes on from the first's checkpoint
        answer = odd("-m", "helpers.train", *RUN, "--checkpoint=schön.ckpt", "--resume", "--model=schön.model")
        assert answer.returncode == 0, answer.stderr
        assert "validation accuracy" in answer.stdout
    answer = odd("-m", "helpers.predict", "schön.model", "röck.png")
    assert answer.returncode == 0, answer.stderr
    assert "%" in answer.stdout


def test_a_sweep(odd):
    answer = odd("-m", "helpers.sweep", "größe.yaml", "--trials=2", "--allow_sample")
    assert answer.returncode == 0, answer.stderr
    assert "All 2 trials are in" in answer.stdout


@pytest.mark.parametrize("module", ["train", "sweep", "predict", "recipes"])
def test_help_and_nonsense(odd, module):
    assert odd("-m", f"helpers.{module}", "--help").returncode == 0
    answer = odd("-m", f"helpers.{module}", "--größe=×")
    assert answer.returncode == 2
    assert "Traceback" not in answer.stderr


def test_the_table_of_the_recipes(odd):
    answer = odd("-m", "helpers.recipes", "--table")
    assert answer.returncode == 0, answer.stderr
    assert r"\xb1" in answer.stdout  # ±, which this terminal cannot show


@pytest.mark.skipif(sys.platform != "linux", reason="/proc, where not even root can write, is Linux's")
def test_a_folder_that_cannot_be_written(odd, tmp_path):
    """A training goes on without its record, its checkpoint and its network; a search says what it cannot do."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {RUN_TRAIN}"
    answer = odd("-c", code.replace("]))", ", '--checkpoint=a.ckpt', '--model=a.model']))"), cwd="/proc")
    assert answer.returncode == 1, answer.stderr
    assert "validation accuracy" in answer.stdout
    assert "checkpoint a.ckpt could not be written" in answer.stderr
    assert "the network could not be written" in answer.stderr
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SWEEP), "utf-8")
    code = f"from helpers import console, sweep; console.run(lambda: sweep.main([{str(tmp_path / 'small.yaml')!r}]))"
    answer = odd("-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}", cwd="/proc")
    assert answer.returncode == 2
    assert "sweeps" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_another_working_directory(odd, tmp_path):
    answer = odd("-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {RUN_TRAIN}", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "validation accuracy" in answer.stdout


def test_a_reader_that_goes_away_is_no_reason_for_a_traceback():
    command = [sys.executable, "-m", "helpers.recipes", "--table"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    process.stdout.close()
    assert process.wait(timeout=60) == 1
    assert process.stderr.read() == ""
