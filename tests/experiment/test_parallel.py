"""Trainings side by side: the results of one after the other, killed processes, stopping."""

import os
import signal
import threading
import time
from concurrent.futures import BrokenExecutor

import numpy as np
import pytest

from helpers.experiment.parallel import side_by_side
from helpers.experiment.run import train_each
from helpers.experiment.stopping import AGAIN, FLAG, Flag, watching
from helpers.nn.optimizers import OPTIMIZERS
from tests.support.environment import start_python, wait_until


def signed(theta, g, t, *, learning_rate=0.01):
    """A rule that only this process has registered."""
    theta -= learning_rate * np.sign(g)


def test_side_by_side_gives_the_results_of_one_after_the_other(data, monkeypatch):
    monkeypatch.setitem(OPTIMIZERS, "signed", signed)
    diverges = {"optimizer": "sgd", "learning_rate": 1e30, "activation": "identity"}
    configurations = {"rule": {"optimizer": "signed"}, "diverges": diverges, "usual": {"dropout": 0.1}}
    alone, parallel = (
        train_each(data, configurations, seeds=(0, 3), workers=workers, epochs=2, num_layers=1, hidden_size=4)
        for workers in (1, 2)
    )
    assert list(alone) == list(parallel)
    for name, histories in alone.items():
        for one, other in zip(histories, parallel[name], strict=True):
            assert one.drop(columns="seconds").equals(other.drop(columns="seconds"))
            assert one.attrs == other.attrs
    assert [history.attrs.get("diverged") for history in parallel["diverges"]] == [True, True]


def die_once(path, value):
    """End the process as the system does when memory is short; not the second time."""
    if not path.exists():
        path.touch()
        time.sleep(1)  # it is then the only task that is left
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def end(path, number):
    """End the process as `kill` does, within a training; not the second time."""
    with watching() as stop:
        if not path.exists():
            path.touch()
            os.kill(os.getpid(), signal.SIGTERM)
        return number, stop.requested


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL on this system")
def test_task_of_a_killed_process_is_done_again(tmp_path):
    tasks = [(tmp_path / "first", 5), (tmp_path, 6), (tmp_path, 7)]
    assert sorted(side_by_side(die_once, tasks, 2, Flag())) == [(0, 5), (1, 6), (2, 7)]
    assert signal.getsignal(signal.SIGINT) != signal.SIG_IGN  # only workers leave it to their parent
    with pytest.raises(BrokenExecutor):
        list(side_by_side(die, [(0,), (1,)], 2, Flag()))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="os.kill would end the process")
def test_task_of_a_process_that_was_told_to_end_is_done_again(tmp_path):
    """Its training does not end early, with fewer epochs than it has in its place of the results."""
    tasks = [(tmp_path / "first", 5), (tmp_path, 6)]
    assert sorted(side_by_side(end, tasks, 2, Flag())) == [(0, (5, False)), (1, (6, False))]


def work(path, number):
    """Return at once, or tell that the work has begun, and go on for a long time."""
    if number:
        (path / str(number)).write_text(str(os.getpid()))
        time.sleep(600)
    return number


def running(path):
    """Return whether the process that wrote its number to the file is alive."""
    try:
        os.kill(int(path.read_text()), 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_stop_while_the_processes_are_started(tmp_path, recwarn):
    flag = Flag()
    flag.number = signal.SIGINT
    assert not list(side_by_side(work, [(tmp_path, number) for number in (1, 2)], 2, flag))
    assert not recwarn.list


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="os.kill would end the process")
@pytest.mark.parametrize("waiting", [False, True])
def test_stop_keeps_what_is_finished_and_ends_the_processes(tmp_path, waiting):
    """The signal comes while a result is handled, or while the next one is awaited."""

    def stop():
        wait_until((tmp_path / "1").exists)
        time.sleep(1 if waiting else 0)
        os.kill(os.getpid(), signal.SIGINT)

    results, started = [], time.monotonic()
    with watching() as flag:
        for result in side_by_side(work, [(tmp_path, number) for number in range(3)], 2, flag):
            results.append(result)
            if waiting:
                threading.Thread(target=stop).start()
            else:
                stop()
        assert flag.requested
    assert results == [(0, 0)]
    assert time.monotonic() - started < 500
    wait_until(lambda: not running(tmp_path / "1"), timeout=60)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="os.kill would end the process")
def test_second_signal_ends_a_loop_of_comparisons(tmp_path):
    """The first one ends this comparison only, as it ends one training of a loop."""
    for number in (1, 2):
        path = tmp_path / str(number)
        path.mkdir()

        def stop(path=path):
            wait_until((path / "1").exists)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=stop).start()
        with watching() as flag:
            results = side_by_side(work, [(path, task) for task in (1, 2)], 2, flag)
            if number == 1:
                assert not list(results)
                flag.time = time.monotonic() + 600  # the second signal comes soon, however slow the processes start
            else:
                with pytest.raises(KeyboardInterrupt):
                    list(results)
    FLAG.time = -AGAIN


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL on this system")
def test_workers_end_when_their_parent_is_killed(tmp_path):
    code = (
        "from pathlib import Path; from helpers.experiment.parallel import side_by_side\n"
        "from helpers.experiment.stopping import Flag; from tests.experiment.test_parallel import work\n"
        f"list(side_by_side(work, [(Path({str(tmp_path)!r}), number) for number in (1, 2)], 2, Flag()))"
    )
    with start_python(code) as parent:
        wait_until((tmp_path / "1").exists)
        parent.kill()
    wait_until(lambda: not running(tmp_path / "1"), timeout=60)
