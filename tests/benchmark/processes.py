"""The functions of the benchmark's processes. They are spawned, so their functions cannot be in __main__."""

import contextlib
import io
import os
import time

from threadpoolctl import threadpool_limits

from helpers.data import load_data
from helpers.nn.training import BLAS_THREADS
from tests.benchmark.contestants import CONTESTANTS


def images(count):
    with contextlib.redirect_stdout(io.StringIO()):
        data = load_data()
    return data.x_train[:count], data.y_train[:count], data.x_val, data.y_val


def contest(pipe, core, name, count, hidden, batch_size, optimizer):
    """A contestant's process: an epoch each time it is told to, until it is asked for its accuracy."""
    os.sched_setaffinity(0, {core})
    X, Y, x_val, y_val = images(count)
    epoch, predict = CONTESTANTS[name]([784, *hidden, 10], batch_size, optimizer, X, Y)
    while pipe.recv() == "epoch":
        started = time.perf_counter()
        epoch()
        pipe.send(time.perf_counter() - started)
    pipe.send(predict and float((predict(x_val).argmax(axis=1) == y_val.argmax(axis=1)).mean()))


def train_on(pipe, cores, count, hidden, batch_size):
    """A process that trains with the default thread setting on so many cores: seconds of an epoch, when told to."""
    os.sched_setaffinity(0, cores)
    X, Y, *_ = images(count)
    epoch, _ = CONTESTANTS["this project"]([784, *hidden, 10], batch_size, "nadam", X, Y)
    epoch()
    with threadpool_limits(BLAS_THREADS, "blas"):
        while pipe.recv():
            started = time.perf_counter()
            epoch()
            pipe.send(time.perf_counter() - started)


def spin():
    while True:
        pass
