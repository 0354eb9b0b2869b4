"""The ways into the project: the set-up, the commands, the notebook; on a new machine and in a wrong environment."""

import json
import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

from helpers import cli

ROOT = Path(__file__).parents[1]
COMMANDS = ["train", "sweep", "recipes", "predict", "report"]
TOOLS = ("dirname", "touch", "rm", "env", "mkdir", "chmod", "cp", "true")
# A Python whose venv fails until Debian's package python3-venv is installed, and which makes environments of stand-ins
PYTHON = """
case "$*" in
-c*) ;;
"-m venv --clear .venv")
    rm -rf .venv
    mkdir -p .venv/bin # Debian's venv too leaves this behind when it fails
    [ -e installed ] || { echo "ensurepip is not available" && exit 1; }
    echo venv >>log
    printf '#!/bin/sh\\necho "$@" >>log\\n[ ! -e broken ]\\n' >.venv/bin/python
    cp .venv/bin/python .venv/bin/jupyter
    chmod 755 .venv/bin/python .venv/bin/jupyter ;;
esac
"""
APT = 'echo "apt-get $@" >>log\ncase "$*" in *python3-venv) touch installed ;; *) exit 100 ;; esac\n'
SUDO = '[ "$1" != -n ] || shift\nexec "$@"\n'
NO_PASSWORD = "echo 'sudo: a password is required' >&2\nexit 1\n"
ADMINISTRATOR = "an administrator can install what it lacks: apt-get install python3-venv"


@pytest.fixture
def machine(tmp_path):
    """Return a function that sets up the project on a machine that has only these programs, and returns its log."""
    if os.name == "nt":
        pytest.skip("Windows has no apt-get")
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in TOOLS:
        (programs / name).symlink_to(shutil.which(name))

    def set_up(user="1000", **stand_ins):
        for name, code in {"id": f"echo {user}\n", "python3": PYTHON, **stand_ins}.items():
            path = programs / name.replace("_", "-")
            path.unlink(missing_ok=True)
            path.write_text(f"#!/bin/sh\n{code}", "utf-8")
            path.chmod(0o755)
        (tmp_path / "log").write_text("", "utf-8")
        result = subprocess.run(
            [shutil.which("bash"), ".ci/run", "notebook"], cwd=tmp_path, env={"PATH": str(programs)}, text=True,
            capture_output=True, check=False, timeout=600, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return result, (tmp_path / "log").read_text("utf-8").splitlines()

    return set_up


@pytest.mark.parametrize("programs", [{}, {"apt_get": APT}, {"apt_get": APT, "sudo": NO_PASSWORD}])
def test_set_up_without_venv_and_rights_names_the_command(machine, programs):
    for _ in range(2):  # a failed set-up is repeated
        result, log = machine(**programs)
        assert result.returncode == 1
        assert ADMINISTRATOR in result.stderr
        assert result.stderr.count("\n") == 1
        assert log == []


@pytest.mark.parametrize("programs", [{"user": "0", "apt_get": APT}, {"apt_get": APT, "sudo": SUDO}])
def test_set_up_installs_venv(machine, programs):
    """As root without sudo, and with sudo."""
    result, log = machine(**programs)
    assert result.returncode == 0, result.stderr
    assert "apt-get install -qy --no-install-recommends python3-venv" in log
    assert "-m pip install -q --no-compile -r requirements.txt" in log
    assert log[-1].startswith("nbconvert")


def test_half_made_environment_is_made_again(machine, tmp_path):
    (tmp_path / "installed").touch()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to("/gone/python")
    assert "venv" in machine()[1]
    result, log = machine()
    assert result.returncode == 0, result.stderr
    assert "venv" not in log  # it is whole
    (tmp_path / ".venv" / "unfinished").touch()  # pip was killed
    assert "venv" in machine()[1]
    (tmp_path / "broken").touch()  # pip fails
    assert machine()[0].returncode == 1
    (tmp_path / "broken").unlink()
    assert machine()[0].returncode == 0


def test_set_up_with_an_old_python(machine):
    result, log = machine(python3='case "$1" in -c) exit 1 ;; *) echo Python 3.10.4 ;; esac\n')
    assert (result.returncode, log) == (1, [])
    assert (
        result.stderr == "error: Python 3.11 or newer is required, and this is Python 3.10.4: https://www.python.org\n"
    )


def run(*arguments, folder="/", **variables):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=folder, env=environment | variables, capture_output=True,
        text=True, encoding="utf-8", timeout=600, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_results_of_commands_as_files_are_where_the_user_is(tmp_path):
    def run_file(name, *flags):
        file = ROOT / "helpers" / f"{name}.py"
        return run(file, *flags, folder=tmp_path, WANDB_MODE="offline", PYTHONUTF8="1")

    result = run_file("train", "--allow_sample", "--epochs=1", "--hidden_size=8", "--batch_size=500", "--model=a.npz")
    assert result.returncode == 0, result.stderr
    result = run_file("predict", "a.npz", "--test", "--allow_sample")
    assert result.returncode == 0, result.stderr
    (tmp_path / "small.yaml").write_text(
        "{method: grid, parameters: {epochs: {value: 1}, batch_size: {value: 500}, hidden_size: {values: [4, 8]}},"
        " metric: {name: val_accuracy, goal: maximize}}",
        "utf-8",
    )
    result = run_file("sweep", "small.yaml", "--workers=2", "--allow_sample")
    assert result.returncode == 0, result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"a.npz", "small.yaml", "sweeps", "wandb"}
    result = run_file("recipes", "--table")
    assert result.stdout.count("\n") > 10, result.stderr


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flags", [[], ["-m"]])
def test_command_without_packages_ends_with_one_sentence(name, flags):
    door = f"helpers.{name}" if flags else ROOT / "helpers" / f"{name}.py"
    result = run("-S", *flags, door, folder=ROOT)
    assert (result.returncode, result.stdout) == (1, "")
    assert re.fullmatch(
        r"error: the package \w+ is missing; activate the project's virtual environment, or make it as the README "
        r"describes\n",
        result.stderr,
    )


@pytest.mark.parametrize("name", ["helpers.nn.none", "tkinter", None])
def test_missing_module_of_our_own_keeps_its_traceback(name):
    code = f"from helpers import cli\ndef main(): raise ModuleNotFoundError('missing', name={name!r})\ncli.run(main)"
    result = run("-c", code, folder=ROOT)
    assert result.stderr.startswith("Traceback")
    assert "ModuleNotFoundError: missing" in result.stderr


def test_command_in_a_notebook_whose_streams_cannot_be_reconfigured(monkeypatch):
    """As with ``%run helpers/train.py``."""
    monkeypatch.setattr(sys, "stdout", types.SimpleNamespace(flush=lambda: None))
    with pytest.raises(SystemExit, match="0"):
        cli.run(lambda: 0)


def test_old_python_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 10, 4, "final", 0))
    with pytest.raises(SystemExit, match="1"):
        cli.run_module("helpers.train")
    assert capsys.readouterr().err.startswith("error: Python 3.11 or newer is required; this is ")


FIRST_CELL = next(
    "".join(cell["source"])
    for cell in json.loads((ROOT / "DL_Assignment1.ipynb").read_text("utf-8"))["cells"]
    if cell["cell_type"] == "code"
)
OTHERS_HELPERS = {"helpers/__init__.py": ""}
WITHOUT_NUMPY = {"sitecustomize.py": f"import sys\nsys.modules['numpy'] = None\nsys.path.append({str(ROOT)!r})\n"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "No module named 'helpers'"),
        (OTHERS_HELPERS, "cannot import name 'load_data' from 'helpers'"),
        (WITHOUT_NUMPY, "numpy"),
    ],
    ids=["alone", "another package of this name", "a package is missing"],
)
def test_notebook_alone_says_how_to_fetch_the_rest(tmp_path, files, reason):
    for name, code in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code, "utf-8")
    result = run("-c", FIRST_CELL, folder=tmp_path, PYTHONPATH=str(tmp_path))
    assert result.returncode == 1
    assert reason in result.stderr
    assert ": open the notebook in its repository" in result.stderr
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith(("!", "%"))]
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "\n".join(lines) in readme
    assert len(lines) == 3


def test_oldest_versions_are_the_floors():
    """What is tested as the oldest is what requirements.txt allows, and no list goes below it."""
    pins = {
        name: dict(re.findall(r"^([\w.-]+)==([\d.]+)", (ROOT / f"tests/{name}.txt").read_text("utf-8"), re.MULTILINE))
        for name in ("oldest", "colab", "newest")
    }
    floors = re.findall(r"^([\w-]+)>=([\d.]+)", (ROOT / "requirements.txt").read_text("utf-8"), re.MULTILINE)
    assert len(dict(floors)) > 12
    for name, floor in floors:
        assert f"{pins['oldest'][name]}.".startswith(f"{floor}."), name
        for versions in pins.values():
            pinned, least = (list(map(int, text.split("."))) for text in (versions.get(name, floor), floor))
            assert pinned >= least, name
