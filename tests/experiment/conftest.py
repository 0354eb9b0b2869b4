"""Fixtures of these tests."""

import signal

import pytest

from helpers.experiment import stopping


@pytest.fixture
def stop_after():
    """Return a function that makes a callback for `log`, which presses Ctrl-C after that epoch, once or twice."""

    def make(epoch, times=1):
        def log(row):
            if row["epoch"] == epoch:
                stopping.FLAG.time = -stopping.AGAIN  # long after the Ctrl-C of another training
                for _ in range(times):
                    signal.raise_signal(signal.SIGINT)

        return log

    return make
