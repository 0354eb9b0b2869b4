"""The functions of the benchmark's processes. They are spawned, so their functions cannot be in __main__."""

import contextlib
import io
import os
import time

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
