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
RUN_TRAIN = f"from helpers import cli, train; cli.run(lambda: train.main({RUN}))"
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
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("WANDB", "PYTHON", "LC", "LANG"))
    }
    clean |= {
        "HOME": "/proc/nowhere",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "LC_ALL": "C",
        "CI": "true",
    } | NO_NETWORK

    def run(*command, cwd=folder):
        return subprocess.run(
            [sys.executable, *command],
            env=clean,
            cwd=cwd,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )

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
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {RUN_TRAIN}"
    result = odd("-c", code.replace("]))", ", '--checkpoint=a.ckpt', '--model=a.npz']))"), cwd="/proc")
    assert result.returncode == 1, result.stderr
    assert "validation accuracy" in result.stdout
    assert "checkpoint 'a.ckpt' could not be written" in result.stderr
    assert "the network could not be written" in result.stderr
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SWEEP), "utf-8")
    code = f"from helpers import cli, sweep; cli.run(lambda: sweep.main([{str(tmp_path / 'small.yaml')!r}]))"
    result = odd("-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}", cwd="/proc")
    assert result.returncode == 1
    assert "sweeps" in result.stderr
    assert "Traceback" not in result.stderr


def test_other_working_directory(odd, tmp_path):
    result = odd("-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {RUN_TRAIN}", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "validation accuracy" in result.stdout


def test_closed_pipe_exit_code_1():
    command = [sys.executable, "-m", "helpers.recipes", "--table"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    process.stdout.close()
    assert process.wait(timeout=60) == 1
    assert process.stderr.read() == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_output_to_a_full_disk_costs_only_the_output(tmp_path):
    command = [sys.executable, "-m", "helpers.train", *RUN, f"--model={tmp_path / 'm.npz'}"]
    environment = os.environ | {"WANDB_MODE": "disabled"}
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment, check=False, timeout=100
        )
    assert result.returncode == 1
    assert (tmp_path / "m.npz").exists()
    assert result.stderr.splitlines()[-1].startswith("error: the output could not be written: [Errno 28]")
    assert "Traceback" not in result.stderr


def test_report_without_account(odd):
    result = odd("-m", "helpers.report")
    assert result.returncode == 1
    assert "error: a report needs W&B: " in result.stderr  # among lines of W&B's about the missing folder for its log
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="these are redirections of a POSIX shell")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_streams_closed_from_the_start(tmp_path, closed):
    command = [sys.executable, "-m", "helpers.train", *RUN, f"--model={tmp_path / 'm.npz'}"]
    environment = os.environ | {"WANDB_MODE": "disabled"}
    result = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *command], capture_output=True, text=True, cwd=ROOT, env=environment,
        check=False, timeout=100,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "m.npz").exists()
    assert ("validation accuracy" in result.stdout) == (closed == "2>&-")
    result = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *command, "--epochs=0"], capture_output=True, cwd=ROOT,
        check=False, timeout=100,
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (2, b"")


@pytest.mark.skipif(sys.platform != "linux", reason="a file in /proc, which cannot be written, gives the warning")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_closed_during_training_costs_only_the_output(tmp_path, stream):
    """As after ``| head -1``; a warning is written to standard error."""
    command = [
        sys.executable, "-u", "-m", "helpers.train", *RUN, "--epochs=3", f"--model={tmp_path / 'm.npz'}",
        "--checkpoint=/proc/a.ckpt",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env=os.environ | {"WANDB_MODE": "disabled"},
    )  # fmt: skip
    assert process.stdout.readline()
    getattr(process, stream).close()
    assert process.wait(timeout=100) == (1 if stream == "stdout" else 0)
    assert (tmp_path / "m.npz").exists()
    if stream == "stdout":
        assert "Traceback" not in process.stderr.read()
