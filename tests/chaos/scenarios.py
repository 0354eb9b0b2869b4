"""What is run under faults, and what must be true of it afterwards.

A scenario starts commands until one ends without a fault. Each has a folder of its own, with a copy of `helpers`.
"""

import shutil
import signal
import sqlite3
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from helpers.files import read_archive
from tests.chaos.processes import Command
from tests.support.environment import NO_NETWORK
from tests.support.wandb_server import SWEEP, Server

ROOT = Path(__file__).parents[2]
QUIET = NO_NETWORK | {"WANDB_MODE": "disabled", "OPENBLAS_NUM_THREADS": "1"}
SIGNAL_CODES = {"SIGKILL": -9, "SIGTERM": 143, "SIGINT": 130, "SIGHUP": 129}
API_KEY = "0123456789abcdef" * 2 + "01234567"


class Broken(AssertionError):
    """An invariant does not hold."""


def require(condition, what):
    """Raise Broken unless the condition holds."""
    if not condition:
        raise Broken(what)


class Scenario:
    """A command that is started, hurt and started again in one folder, until it reaches its end."""

    seconds = 6  # about how long an undisturbed run takes
    limit = 300  # seconds for one start
    kinds = ("signal", "signal", "double")  # a fault is drawn from these
    targets = ("parent", "parent", "worker", "all")  # so is the receiver of a signal
    worker = b"popen_loky"  # a part of the command line of each worker
    troubles = ()  # how a server can fail

    def __init__(self, folder):
        self.folder = folder
        shutil.copytree(ROOT / "helpers", folder / "helpers", ignore=shutil.ignore_patterns("__pycache__", "results"))
        (folder / "helpers" / "results").mkdir()
        self.prepare()

    def prepare(self):
        """Write what the command needs."""

    def start(self):
        """Start the command once."""
        return Command(self.arguments, self.folder, self.environment(), self.worker)

    def environment(self):
        """Return the changes of the environment."""
        return QUIET | {"TMPDIR": str(self.folder)}

    def disturb(self, trouble):
        """Begin one of the troubles, or end it (None)."""

    def exit_codes(self, fault, received):
        """Return the exit codes that are allowed after a fault and the signals that were received.

        A second signal ends a command with 130. One that meets a command after its end, while Python shuts down, has
        the effect that it has on any program.
        """
        codes = {0}
        if received:
            codes |= {SIGNAL_CODES[name] for name in received} | {-getattr(signal, name) for name in received}
            codes |= ({1} if fault["target"] != "parent" else set()) | ({130} if len(received) > 1 else set())
        return codes

    def check_start(self, fault, received):
        """Check what must hold after this start, with this fault."""

    def check_always(self):
        """Check what must hold after every start, whatever has happened to it."""

    def check_end(self):
        """Check what must hold after a run without a fault."""

    def close(self):
        """End what was started beside the command, at the end of the round."""

    def temporary_files(self):
        """Return the temporary files of the command."""
        places = [self.folder, self.folder / "sweeps", self.folder / "helpers" / "results"]
        return [path.name for place in places for path in place.glob("*.new")]


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
    """A search with two workers: no finished trial is lost; processes finish the trials that they have begun."""

    method, trials, processes, seconds = "random", 12, 2, 10
    sizes = 4, 8, 16

    arguments = ("-m", "helpers.sweep", "search.yaml", "--workers=2", "--allow_sample")

    def prepare(self):
        self.finished = {}
        (self.folder / "sweeps").mkdir()
        values = {"hidden_size": {"values": list(self.sizes)}, "learning_rate": {"values": [0.01, 0.001]}}
        content = {
            "method": self.method, "metric": {"name": "val_accuracy", "goal": "maximize"}, "run_cap": self.trials,
            "parameters": {"epochs": {"value": 3}, "batch_size": {"values": [100, 200]}, **values},
        }  # fmt: skip
        (self.folder / "search.yaml").write_text(yaml.safe_dump(content), "utf-8")

    def check_always(self):
        """Every trial that was complete is complete, with the same value; the table is whole."""
        found = self.complete()
        for number, value in self.finished.items():
            require(found.get(number) == value, f"trial {number} was {value} and is {found.get(number)}")
        most = self.trials + self.processes - 1
        require(len(found) <= most, f"{len(found)} trials are complete; {self.trials} were asked for")
        self.finished = found
        table = self.folder / "sweeps" / "search.csv"
        if table.exists():
            require("val_accuracy" in pd.read_csv(table).columns, "the table of the search is not whole")

    def complete(self):
        """Return ``{number: value}`` of the complete trials."""
        query = (
            "SELECT trials.number, trial_values.value FROM trials JOIN trial_values USING (trial_id) "
            "WHERE trials.state = 'COMPLETE'"
        )
        with closing(sqlite3.connect(self.folder / "sweeps" / "search.db", timeout=60)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            return dict(database.execute(query)) if "trial_values" in tables else {}

    def check_end(self):
        table = pd.read_csv(self.folder / "sweeps" / "search.csv")
        require(len(table) >= self.trials, f"the table has {len(table)} trials instead of {self.trials}")
        require(set(self.finished) <= set(table["trial"]), "a complete trial is not in the table")


class Recipes(Scenario):
    """Recipes in two processes: their rows are whole, and none that was stored is lost."""

    script = """
from helpers import cli, data, recipes

train = recipes.run

def change():
    if "a" not in recipes.RECIPES:
        load = data.load_data
        data.load_data = lambda name, validation_split: load(name, allow_sample=True)
        recipes.RECIPES = {"a": recipes.Recipe("small", {"epochs": 3, "hidden_size": 16, "batch_size": 250})}

def run(*arguments):
    change()  # in the worker too
    return train(*arguments)

if __name__ == "__main__":
    change()
    recipes.run = run
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


class Shared(Sweep):
    """Two searches of a grid on one storage, one of which is hurt."""

    method = "grid"
    sizes, trials, processes = (4, 6, 8, 10, 12, 14), 24, 4  # enough for several starts of the one that is hurt
    other = None

    def start(self):
        """Start both, one when the other has made the database; what is done to it leaves the other alone."""
        self.other = super().start()
        database, deadline = self.folder / "sweeps" / "search.db", time.monotonic() + self.limit
        while not (database.exists() and self.complete()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return super().start()

    def check_always(self):
        """The other search is not disturbed."""
        code, errors = self.other.wait(self.limit), self.other.text("err")
        require(code == 0 and "Traceback" not in errors, f"the other search: exit code {code}\n  {errors}")
        self.other.close()
        super().check_always()

    def close(self):
        """End the other search."""
        if self.other:
            self.other.close()


class Recorded(Train):
    """A training that is recorded online: whatever W&B's server does, the network is the same."""

    kinds = 2 * ("signal",) + ("double",) + 3 * ("server",)
    troubles = ("500", "hang", "reset")

    def prepare(self):
        super().prepare()
        self.server = Server()
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def environment(self):
        """Return that of a machine with an account at the server."""
        folders = {"HOME": "", "WANDB_CACHE_DIR": "cache", "WANDB_CONFIG_DIR": "config", "WANDB_DATA_DIR": "data"}
        account = {"WANDB_BASE_URL": self.server.url, "WANDB_API_KEY": API_KEY, "WANDB_MODE": "online"}
        account |= {"WANDB_ERROR_REPORTING": "false", "WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL": "0.1"}
        return super().environment() | {name: str(self.folder / path) for name, path in folders.items()} | account

    def disturb(self, trouble):
        """Let the server answer with errors, not at all, or cut the connections."""
        self.server.trouble = trouble

    def check_start(self, fault, received):
        """A run that was stopped by a signal is closed, if the server was there to be told."""
        closed = len(received) == 1 and "SIGKILL" not in received and fault["target"] == "parent"
        for name, run in self.server.runs.items():
            require(run["exit_code"] is not None or not closed, f"the run {name} is not closed, after {received}")
        self.server.runs.clear()

    def close(self):
        """Stop the server."""
        self.server.vanish()


class Agents(Recorded):
    """W&B's agent starts trainings; each that is not killed reaches the server as a finished run."""

    kinds = ("signal",)
    targets = ("worker",)
    worker = b"helpers.train"
    runs, seconds = 2, 18  # from the start of the first run
    arguments = ("-m", "wandb", "agent", f"--count={runs}", f"me/p/{SWEEP}")

    def prepare(self):
        super().prepare()
        sweep = yaml.safe_load((ROOT / "sweep.yaml").read_text("utf-8"))
        sweep["command"] = ["${env}", sys.executable, "-m", "helpers.train", "--allow_sample", "${args}"]
        self.server.sweep = yaml.safe_dump(sweep)

    def start(self):
        values = {"epochs": 3, "hidden_size": 16, "batch_size": 128}
        parameters = {name: {"value": value} for name, value in values.items()}
        self.server.queue = [dict(parameters) for _ in range(self.runs)]
        return super().start()

    def exit_codes(self, fault, received):
        """Allow nothing but 0: the agent goes on."""
        return {0}

    def check_start(self, fault, received):
        """Every run is finished and has its three epochs, but those that a signal has stopped."""
        whole = 0
        for name, run in self.server.runs.items():
            epochs = [row["epoch"] for row in run["history"] if "train_loss" in row]
            require(epochs == list(range(1, len(epochs) + 1)), f"the run {name} has the epochs {epochs}")
            whole += epochs == [1, 2, 3] and run["exit_code"] == 0
        require(whole >= self.runs - bool(received), f"{whole} of {self.runs} runs are complete, after {received}")
        self.server.runs.clear()

    def check_end(self):
        """Nothing is stored in the folder."""


SCENARIOS = {
    "train": Train, "sweep": Sweep, "recipes": Recipes, "shared": Shared, "recorded": Recorded, "agents": Agents,
}  # fmt: skip
