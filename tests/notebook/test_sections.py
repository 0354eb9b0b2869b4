"""Each section of the notebook runs in a fresh process: on the sample, and after the stop button was pressed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CELLS = json.loads((ROOT / "DL_Assignment1.ipynb").read_text("utf-8"))["cells"]
SAMPLE = """
import helpers.data
from tests.support.datasets import sample_arrays
helpers.data.load_raw = lambda dataset, allow_sample: (*sample_arrays(dataset), "sample")
from helpers.recipes import RECIPES
RECIPES["fast"].hyperparameters["epochs"] = 10  # section 11 takes this recipe; the sample needs no 100 epochs to run it
"""
STOP = """
import signal
from helpers.experiment import stopping
from helpers.experiment.run import TrainingHooks
stopping.AGAIN = 0  # otherwise the next training of a loop ends the section
def step(self, *arguments, step=TrainingHooks.step):
    if self.steps == 0 and not self.stop.requested:
        signal.raise_signal(signal.SIGINT)
    return step(self, *arguments)
TrainingHooks.step = step
"""


def sections():
    """Return ``{number: [source of each code cell]}`` for the whole notebook, and for what does not go deeper."""
    whole, essential, number = {}, {}, 0
    for cell in CELLS:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and source.startswith(f"## {number + 1} "):
            number += 1
        elif cell["cell_type"] == "code":
            whole.setdefault(number, []).append(source)
            if "depth" not in cell["metadata"].get("tags", []):
                essential.setdefault(number, []).append(source)
    return whole, essential


SECTIONS, ESSENTIAL = sections()
TRAINING = [
    number
    for number, cells in SECTIONS.items()
    if any("model_train(" in c or "train_each(" in c or "search(" in c for c in cells)
]


def run_cells(cells, folder, prelude=""):
    """Run cells in a process of their own, in another folder, without any data set but the sample."""
    code = "\n".join([SAMPLE, prelude, *cells])
    environment = os.environ | {"MPLBACKEND": "agg", "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


def test_there_are_twelve_sections():
    assert list(SECTIONS) == list(range(1, 13))
    assert list(ESSENTIAL) == [1, 2, 3, 4, 5, 6, 7, 8, 10, 12]  # at the end of 12, the score


def test_sections_import_what_they_use(tmp_path):
    """Each section, and each without what goes deeper."""
    for name, parts in (("whole", SECTIONS), ("essential", ESSENTIAL)):
        for number, cells in parts.items():
            (tmp_path / f"{name}_{number}.py").write_text("\n".join(cells), "utf-8")
    undefined_names = ["check", "--isolated", "--select", "F821"]
    command = [sys.executable, "-m", "ruff", *undefined_names, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("number", SECTIONS)
def test_section_runs_alone_on_the_sample(number, tmp_path):
    output = run_cells(SECTIONS[number], tmp_path)
    assert ("(sample)" in output) == (number != 2)


@pytest.mark.slow
def test_the_essentials_run_alone_on_the_sample(tmp_path):
    assert "(sample)" in run_cells([cell for cells in ESSENTIAL.values() for cell in cells], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("number", TRAINING)
def test_section_runs_to_its_end_after_the_stop_button(number, tmp_path):
    """Each training is stopped in its first epoch."""
    run_cells(SECTIONS[number], tmp_path, STOP)
