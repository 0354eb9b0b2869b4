"""What is run under faults, and what must be true of it afterwards.

A scenario starts commands until one ends without a fault. Each has a folder of its own, with a copy of `helpers`.
"""

import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from helpers.storage import read_archive
from tests.chaos.processes import Command
from tests.support.environment import NO_NETWORK

ROOT = Path(__file__).parents[2]
QUIET = NO_NETWORK | {"WANDB_MODE": "disabled", "OPENBLAS_NUM_THREADS": "1"}
SIGNAL_CODES = {"SIGKILL": -9, "SIGTERM": 143, "SIGINT": 130, "SIGHUP": 129}


class Broken(AssertionError):
    """An invariant does not hold."""


def require(condition, what):
    """Raise Broken unless the condition holds."""
    if not condition:
        raise Broken(what)


class Scenario:
    """A command that is started, hurt and started again in one folder, until it reaches its end."""

    limit = 120  # seconds for one start
    trials = 0

    def __init__(self, folder):
        self.folder = folder
        shutil.copytree(ROOT / "helpers", folder / "helpers", ignore=shutil.ignore_patterns("__pycache__", "results"))
        (folder / "helpers" / "results").mkdir()
        self.prepare()

    def prepare(self):
        """Write what the command needs."""

    def start(self, **options):
        """Start the command once."""
        return Command(self.arguments, self.folder, QUIET, **options)

    def seconds(self):
        """Return about how long an undisturbed run takes, start included."""
        return 6

    def check_always(self):
        """Check what must hold after every start, whatever has happened to it."""

    def check_end(self):
        """Check what must hold after a run without a fault."""

    def leftovers(self):
        """Return the temporary files in the folder."""
        return [str(path.relative_to(self.folder)) for path in self.folder.rglob("*.new")]

    def age_leftovers(self):
        """Make the temporary files as old as if the next start came an hour later."""
        for name in self.leftovers():
            then = time.time() - 3600
            os.utime(self.folder / name, (then, then))


class Train(Scenario):
    """A training with a checkpoint: the network at the end is bitwise that of an undisturbed training."""

    arguments = (
        "-m", "helpers.train", "--allow_sample", "--epochs=120", "--hidden_size=64", "--batch_size=128",
        "--dropout=0.1", "--checkpoint=run.ckpt", "--resume", "--model=run.npz",
    )  # fmt: skip
    reference = None

    def prepare(self):
        self.epochs = 0

    def check_always(self):
        """The checkpoint is whole, and has at least the epochs that it had before."""
        path = self.folder / "run.ckpt"
        if path.exists():
            epochs = len(read_archive(path, "checkpoint")[0]["history"])
            require(epochs >= self.epochs, f"the checkpoint had {self.epochs} epochs and has {epochs}")
            self.epochs = epochs
        elif self.epochs:
            raise Broken("the checkpoint has disappeared")
        if (self.folder / "run.npz").exists():
            read_archive(self.folder / "run.npz", "model")

    def check_end(self):
        require(self.epochs == 120, f"{self.epochs} epochs instead of 120")
        _, arrays = read_archive(self.folder / "run.npz", "model")
        if Train.reference is None:
            Train.reference = arrays
        for name, array in Train.reference.items():
            require(np.array_equal(array, arrays[name]), f"{name} differs from that of the first complete training")


class Sweep(Scenario):
    """A search with two workers: no finished trial is lost, none is counted twice."""

    arguments = ("-m", "helpers.sweep", "search.yaml", "--workers=2", "--allow_sample")
    method, trials = "random", 12

    def prepare(self):
        self.finished = {}
        values = {"hidden_size": {"values": [4, 8, 16]}, "learning_rate": {"values": [0.01, 0.001]}}
        content = {
            "method": self.method, "metric": {"name": "val_accuracy", "goal": "maximize"}, "run_cap": self.trials,
            "parameters": {"epochs": {"value": 3}, "batch_size": {"values": [100, 200]}, **values},
        }  # fmt: skip
        (self.folder / "search.yaml").write_text(yaml.safe_dump(content), "utf-8")

    def seconds(self):
        return 10

    def check_always(self):
        """Every trial that was complete is complete, with the same value; the table is whole."""
        database = self.folder / "sweeps" / "search.db"
        if database.exists():
            found = self.complete(database)
            for number, value in self.finished.items():
                require(found.get(number) == value, f"trial {number} was {value} and is {found.get(number)}")
            self.finished = found
        table = self.folder / "sweeps" / "search.csv"
        if table.exists():
            require("val_accuracy" in pd.read_csv(table).columns, "the table of the search is not whole")

    @staticmethod
    def complete(database):
        """Return ``{number: value}`` of the complete trials."""
        query = (
            "SELECT trials.number, trial_values.value FROM trials JOIN trial_values USING (trial_id) "
            "WHERE trials.state = 'COMPLETE'"
        )
        with closing(sqlite3.connect(database, timeout=30)) as connection:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
            return dict(connection.execute(query)) if "trial_values" in tables else {}

    def check_end(self):
        table = pd.read_csv(self.folder / "sweeps" / "search.csv")
        require(len(table) == self.trials, f"the table has {len(table)} trials instead of {self.trials}")
        require(set(self.finished) <= set(table["trial"]), "a complete trial is not in the table")


class Grid(Sweep):
    """A search over a grid: each point once."""

    method, trials = "grid", 12

    def check_end(self):
        super().check_end()
        points = pd.read_csv(self.folder / "sweeps" / "search.csv")[["hidden_size", "learning_rate", "batch_size"]]
        require(not points.duplicated().any(), "a point of the grid was counted twice")


class Recipes(Scenario):
    """Recipes in two processes: their rows are whole, and none that was stored is lost."""

    script = """
import helpers.data
from helpers import cli, recipes
load = helpers.data.load_data
helpers.data.load_data = lambda name, validation_split: load(name, validation_split=validation_split, allow_sample=True)
recipes.RECIPES = {"a": recipes.Recipe("small", {"epochs": 3, "hidden_size": 16, "batch_size": 250})}
if __name__ == "__main__":
    cli.run(lambda: recipes.main(["--seeds=6", "--workers=2"]))
"""
    arguments = ("run_recipes.py",)

    def prepare(self):
        self.rows = {}
        (self.folder / "run_recipes.py").write_text(self.script, "utf-8")

    def check_always(self):
        """The files are whole; the accuracy of a seed is always the same."""
        path = self.folder / "helpers" / "results" / "recipes.csv"
        if not path.exists():
            require(not self.rows, "the results have disappeared")
            return
        rows = pd.read_csv(path).set_index("seed")["test_accuracy"].to_dict()
        for seed, value in self.rows.items():
            require(rows.get(seed) == value, f"seed {seed} had {value} and has {rows.get(seed)}")
        self.rows = rows

    def check_end(self):
        require(sorted(self.rows) == list(range(6)), f"the results have the seeds {sorted(self.rows)}")
        curves = pd.read_csv(self.folder / "helpers" / "results" / "curves.csv")
        require(len(curves) == 18, f"the curves have {len(curves)} rows instead of 18")


SCENARIOS = {"train": Train, "sweep": Sweep, "grid": Grid, "recipes": Recipes}
