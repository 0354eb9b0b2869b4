"""Run the course's search on two workers while signals stop it again and again, and measure what grows with the trials.

Example: python -m tests.chaos.load --trials 500

Every minute or two a random signal hits the search or a worker; when the search has ended, it is started again, until
all trials are finished. The table has one row for each tenth of the trials: the time per trial, the memory of the
search and of its largest worker, the open files, and the size of the database.
"""

import argparse
import collections
import random
import shutil
import sys
import time
from contextlib import closing
from pathlib import Path

import pandas as pd
import sqlalchemy

from tests.chaos.processes import enter_namespace, new_folder
from tests.chaos.rounds import SIGNALS, check_start, draw_fault
from tests.chaos.scenarios import ROOT, Broken, Sweep, require

INTERVAL = 2  # seconds between two measurements
START_UP = 15  # seconds after a start, or after a signal, that do not count as time per trial


class Load(Sweep):
    """The search of sweep.yaml on the full data."""

    limit = 3600

    @property
    def arguments(self):
        return (
            "-m", "helpers.sweep", "search.yaml", f"--trials={self.trials}", "--workers=2", f"--storage={self.storage}",
        )  # fmt: skip

    def prepare(self):
        super().prepare()
        shutil.copy(ROOT / "sweep.yaml", self.folder / "search.yaml")

    def measure(self, command):
        """Return the number of finished trials, the memory and open files of the processes, and the database's size."""
        engine = sqlalchemy.create_engine(self.storage, poolclass=sqlalchemy.NullPool)
        finished = 0
        if sqlalchemy.inspect(engine).has_table("trials"):
            with engine.connect() as connection:
                query = "SELECT COUNT(*) FROM trials WHERE state IN ('COMPLETE', 'PRUNED')"
                finished = connection.execute(sqlalchemy.text(query)).scalar()
        parent, workers = command.process.pid, command.workers()
        database = self.folder / "sweeps" / "search.db"
        return {
            "trials": finished,
            "search_mb": memory(parent),
            "worker_mb": max(map(memory, workers), default=None),
            "files": max(map(open_files, [parent, *workers])),
            "database_kb": database.stat().st_size / 1024 if database.exists() else 0,
        }


def memory(process):
    """Return the resident memory of a process in megabytes, or 0 if it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text("utf-8")
        return int(status.split("VmRSS:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        return 0


def open_files(process):
    """Return how many files a process has open, or 0 if it has ended."""
    try:
        return len(list(Path(f"/proc/{process}/fd").iterdir()))
    except OSError:
        return 0


def run_until_stopped(scenario, rng):
    """Start the search once; return the measurements, and the faults that it met."""
    command, rows, faults = scenario.start(), [], []
    try:
        command.wait_for_handlers()
        disturbed = started = time.monotonic()
        pause = rng.uniform(45, 120)
        while command.wait(INTERVAL) is None:
            now = time.monotonic()
            require(now < started + scenario.limit, "the command hangs")
            rows.append(scenario.measure(command) | {"time": now, "steady": now > disturbed + START_UP})
            if now > disturbed + pause:
                fault = draw_fault(rng, scenario, SIGNALS)
                received = [name for name in fault["signals"] if command.send(name, fault["target"])]
                faults.append((fault | {"signals": received}) if received else None)
                disturbed, pause = time.monotonic(), rng.uniform(45, 120)
        faults = [fault for fault in faults if fault]
        received = [name for fault in faults for name in fault["signals"]]
        target = next((fault["target"] for fault in faults if fault["target"] != "parent"), "parent")
        check_start(scenario, command, {"kind": "signal", "target": target}, command.wait(0), received)
        scenario.check_always()
        return rows, faults, command.wait(0)
    finally:
        command.close()


def table(starts, trials):
    """Return the measurements as a data frame with one row for each tenth of the trials."""
    rows = []
    for measurements in filter(None, starts):
        frame = pd.DataFrame(measurements)
        pairs = frame[["time", "trials"]].diff().rename(columns={"time": "seconds", "trials": "new"})
        rows.append(frame.join(pairs.where(frame["steady"])))
    frame = pd.concat(rows)
    groups = frame.groupby((frame["trials"] * 10 // trials).clip(upper=9))
    columns = ["search_mb", "worker_mb", "files", "database_kb"]
    result = groups[columns].median().join(groups["trials"].agg(["min", "max"]))
    sums = groups[["seconds", "new"]].sum()
    return result.assign(seconds_per_trial=sums["seconds"] / sums["new"])


def main():
    """Run the search to its end and print the table; return the exit code: 1 if an invariant was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.load", description=__doc__)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0, help="determines the signals and their times")
    args = parser.parse_args()
    rng, starts, counts, begun, code = random.Random(args.seed), [], collections.Counter(), time.monotonic(), None
    Load.trials = args.trials
    with new_folder() as folder, closing(Load(folder)) as scenario:
        while code != 0:
            try:
                rows, faults, code = run_until_stopped(scenario, rng)
            except Broken as error:
                print(f"after {len(starts)} starts: {error}")
                return 1
            starts.append(rows)
            counts.update(f"{' '.join(fault['signals'])} {fault['target']}" for fault in faults)
            minutes = (time.monotonic() - begun) / 60
            print(f"{minutes:5.1f} min, {rows[-1]['trials'] if rows else 0} trials, exit code {code}", flush=True)
        scenario.check_end()
    for label, count in sorted(counts.items()):
        print(f"{count:4d}  {label}")
    print(f"{sum(counts.values())} faults in {len(starts)} starts; no invariant broken")
    print(table(starts, args.trials).to_string(index=False, float_format="{:.1f}".format))
    return 0


if __name__ == "__main__":
    enter_namespace("tests.chaos.load")
    sys.exit(main())
