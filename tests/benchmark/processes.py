"""The functions of the benchmark's processes. They are spawned, so their functions cannot be in __main__."""

import contextlib
import io
import os
import time
from pathlib import Path

from helpers.data import load_data
from tests.benchmark.contestants import CONTESTANTS


def images(count):
    with contextlib.redirect_stdout(io.StringIO()):
        data = load_data()
    return data.x_train[:count], data.y_train[:count], data.x_val, data.y_val


def contest(pipe, core, name, count, hidden, batch_size, optimizer):
    """Train an epoch each time "epoch" arrives; then send the validation accuracy. core: None for all cores."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    X, Y, x_val, y_val = images(count)
    epoch, predict = CONTESTANTS[name]([784, *hidden, 10], batch_size, optimizer, X, Y)
    while pipe.recv() == "epoch":
        started = time.perf_counter()
        epoch()
        pipe.send(time.perf_counter() - started)
    pipe.send(predict and float((predict(x_val).argmax(axis=1) == y_val.argmax(axis=1)).mean()))


def spin():
    """Keep a core busy."""
    while True:
        pass


def train_seeds(trainings, workers, hidden, batch_size):
    """Train with so many seeds; return the seconds of four epochs of each, and the megabytes (PSS) of the workers."""
    from helpers import train_each

    data = load_data()
    options = {"num_layers": len(hidden), "hidden_size": hidden, "batch_size": batch_size}
    options |= {"seeds": range(trainings), "workers": workers}
    train_each(data, {"": {}}, **options, epochs=1)  # starts the processes, and compiles
    started = time.perf_counter()
    train_each(data, {"": {}}, **options, epochs=4)
    seconds, megabytes = time.perf_counter() - started, 0.0
    for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        if "popen_loky" in Path(f"/proc/{child}/cmdline").read_text():
            megabytes += int(Path(f"/proc/{child}/smaps_rollup").read_text().split("Pss:")[1].split()[0]) / 1e3
    return seconds, megabytes
