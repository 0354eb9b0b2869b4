"""The number of BLAS threads: from the work of a step and the cores; recorded, and kept when training is resumed."""

import os
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from helpers.nn import Config, Trainer, intial_weights, model_train, threads
from helpers.nn.engine import make_engine
from tests.support.datasets import blobs
from tests.support.environment import run_python

SMALL, WIDE = [784, 128, 128, 128, 10], [784, 1024, 512, 10]


@pytest.mark.parametrize(
    ("sizes", "batch_size", "cores", "expected"),
    [
        (SMALL, 64, 16, 1),
        (SMALL, 256, 16, 2),
        (WIDE, 256, 1, 1),
        (WIDE, 256, 2, 2),
        (WIDE, 256, 8, 8),
        (WIDE, 256, 64, 20),
        (WIDE, 1, 16, 1),
    ],
)
def test_choose_threads_follows_work_and_cores(sizes, batch_size, cores, expected, monkeypatch):
    monkeypatch.setattr(threads, "available_threads", lambda: cores)
    assert threads.choose_threads(sizes, batch_size) == expected


def test_available_threads_respects_limits():
    with threadpool_limits(1, "blas"):
        assert threads.available_threads() == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"])
def test_available_threads_respects_environment(name):
    code = "from helpers.nn.threads import available_threads; print(available_threads())"
    result = run_python(code, env=os.environ | {name: "1"})
    assert result.stdout.strip() == "1", result.stderr


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="CPU affinity is not available on this system")
def test_available_threads_respects_affinity():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from helpers.nn.threads import available_threads; print(available_threads())"
    )
    assert run_python(code).stdout.strip() == "1"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="what cannot be counted is different on other systems")
def test_cores_that_cannot_be_counted_are_no_warning():
    """As on a minimal machine: without lscpu and core ids, joblib finds 0 physical cores."""
    code = (
        "from joblib.externals.loky.backend import context; context._count_physical_cores_linux = lambda: 0\n"
        "from helpers.nn.threads import available_threads; print(available_threads())"
    )
    result = run_python(code, env=os.environ | {"PYTHONWARNINGS": "always"})
    assert (result.returncode, result.stderr) == (0, "")
    assert int(result.stdout) >= 1


def blas_threads():
    """Return the number of threads of NumPy's BLAS; SciPy may load its own at any time."""
    (count,) = {pool["num_threads"] for pool in threadpool_info() if "numpy" in pool["filepath"]}
    return count


@pytest.mark.parametrize("count", [1, 2])
def test_training_uses_threads_and_restores_them(count, data):
    before, during = blas_threads(), []
    _, history = model_train(data, epochs=1, hidden_size=4, threads=count, log=lambda _: during.append(blas_threads()))
    assert during == [count]
    assert blas_threads() == before
    assert history.attrs["threads"] == count


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", True])
def test_invalid_threads_are_refused(count, data):
    with pytest.raises(ValueError, match=f"threads={count!r} must be an integer, at least 1"):
        Trainer(data, Config(), threads=count)


def test_resume_uses_threads_of_checkpoint(data, tmp_path):
    file = tmp_path / "run.npz"
    model_train(data, epochs=1, hidden_size=4, threads=2, checkpoint=file)
    with pytest.warns(UserWarning, match="training continues with 2 BLAS threads, as in the checkpoint"):
        _, history = model_train(data, epochs=1, hidden_size=4, threads=1, checkpoint=file, resume=True)
    assert history.attrs["threads"] == 2


@pytest.mark.slow
def test_parallel_workers_share_cores(tmp_path):
    """Each of two workers may use half of the cores."""
    code = (
        "from helpers.search.workers import run_in_processes; from tests.nn.test_threads import report\n"
        "if __name__ == '__main__': run_in_processes(report, [()] * 2, 2, print)"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    result = run_python(f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')")
    share = max(1, threads.available_threads() // 2)
    assert result.stdout.split() == [str(share)] * 2, result.stderr


def report():
    return threads.available_threads()


def test_blobs_train_on_one_thread():
    """A step on toy data has too little work for a second thread."""
    assert Trainer(blobs(), Config()).threads == 1


@pytest.fixture
def two_threads():
    """A process whose BLAS has two threads, whatever the environment says; a training on toy data uses one."""
    with threadpool_limits(2, "blas"):
        yield


def test_concurrent_trainings_keep_one_limit_and_restore_it(data, two_threads):
    """Three threads train at once, the first ends early: each has the result of a training alone, bitwise."""
    sizes = {"a": {"epochs": 1}, "b": {"epochs": 30}, "c": {"epochs": 30, "optimizer": "adam"}}
    alone = {name: model_train(data, hidden_size=8, **values)[0].theta for name, values in sizes.items()}
    before = [pool["num_threads"] for pool in threadpool_info()]
    together, limits = {}, []

    def log(row):
        limits.append(blas_threads())

    def train(name):
        together[name] = model_train(data, hidden_size=8, log=log, **sizes[name])[0].theta

    threads = [threading.Thread(target=train, args=(name,)) for name in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=100)
    for name in sizes:
        np.testing.assert_array_equal(together[name], alone[name])
    assert limits == [1] * 61
    assert [pool["num_threads"] for pool in threadpool_info()] == before


def test_threads_without_numba_warn_of_nothing(monkeypatch):
    """They look for it at once; a thread that meets a half-initialised module would say that Numba is damaged."""

    class Finder:
        def find_spec(self, name, path, target=None):
            if name == "numba":
                time.sleep(0.02)
                raise ModuleNotFoundError("No module named 'numba'", name="numba")

    monkeypatch.delitem(sys.modules, "numba", raising=False)
    monkeypatch.delitem(sys.modules, "helpers.nn.compiled", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    params = intial_weights(1, 2)
    with warnings.catch_warnings(record=True) as caught, ThreadPoolExecutor(8) as pool:
        names = [engine.name for engine in pool.map(lambda _: make_engine("auto", params), range(24))]
    assert names == ["numpy"] * 24
    assert not caught


def test_trainings_with_different_numbers_of_threads(data):
    """A number that is required is an error beside another one; the default follows the training that runs."""
    seen = []

    def log(row):
        _, history = model_train(data, hidden_size=8, epochs=1)
        seen.append(history.attrs["threads"])
        with pytest.raises(ValueError, match="threads=1: another training in this process uses 2 BLAS threads"):
            model_train(data, hidden_size=8, epochs=1, threads=1)

    model_train(data, hidden_size=8, epochs=1, threads=2, log=log)
    assert seen == [2]
    model_train(data, hidden_size=8, epochs=1, threads=1)


def test_limit_is_restored_by_the_last_training_while_the_first_thread_lives(data, two_threads):
    before, started, release = blas_threads(), threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(
            model_train, data, hidden_size=8, epochs=1, log=lambda row: started.set() or release.wait(60)
        )
        assert started.wait(60)
        model_train(data, hidden_size=8, epochs=1, log=lambda row: release.set() or first.result(60))
        assert blas_threads() == before == 2
