"""Products in blocks among threads: bitwise the same for any number of threads, and no waiting for a busy core."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from helpers.experiment.run import ENGINES, model_train
from helpers.speed import threads
from tests.support.datasets import blobs
from tests.support.environment import run_python


@pytest.mark.parametrize(
    ("shape", "count", "axis"),
    [
        ((64, 784, 128), 1, 1), ((128, 784, 512), 2, 1), ((256, 784, 1024), 2, 1), ((784, 256, 1024), 2, 0),
        ((256, 1024, 2048), 4, 1), ((1000, 784, 2048), 8, 0),
    ],
)  # fmt: skip
def test_blocks_cover_the_product(shape, count, axis):
    blocks = threads.product_blocks(*shape)
    assert len(blocks) == count
    assert all(block[1 - axis] == slice(None) for block in blocks)
    length = shape[2 * axis]
    assert [i for block in blocks for i in range(*block[axis].indices(length))] == list(range(length))


@pytest.fixture
def small_blocks(monkeypatch):
    """Small products, too, are split."""
    monkeypatch.setattr(threads, "BLOCKS", ((1, 2), (20_000, 3), (50_000, 8)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("hidden_size", "batch_size"), [([32] * 3, 16), ([16, 8], 64), ([40], 7), ([3], 100), ([64, 33], 50)]
)
def test_number_of_threads_changes_no_bit(hidden_size, batch_size, dtype, small_blocks):
    values = {"num_layers": len(hidden_size), "hidden_size": hidden_size, "batch_size": batch_size, "dropout": 0.1}
    engine = ENGINES[batch_size % 2]  # auto or numpy
    first, history = model_train(blobs(dtype=dtype), epochs=2, threads=1, **values)
    for count in (2, 3):
        params, other = model_train(blobs(dtype=dtype), epochs=2, threads=count, engine=engine, **values)
        np.testing.assert_array_equal(params.theta, first.theta)
        assert history.drop(columns="seconds").equals(other.drop(columns="seconds"))


def test_a_thread_that_does_not_run_holds_up_nothing(small_blocks):
    """As on a busy machine: the thread that asks for the product computes every block that is left."""
    rng, engine, busy = np.random.default_rng(0), threads.ThreadedEngine(2), threading.Event()
    A, B = rng.normal(size=(20, 30)), rng.normal(size=(30, 40))
    blocked = engine.pool.submit(busy.wait, 600)
    product = engine.matmul(A, B)
    assert not blocked.done()
    busy.set()
    np.testing.assert_allclose(product, A @ B)
    np.testing.assert_array_equal(engine.matmul(A, B), product)


@pytest.mark.slow
def test_busy_cores_cost_their_share():
    """With one other process per core, an epoch takes less than four times as long; with BLAS's threads up to nine."""
    data = blobs(N=8192, inputs=784, dtype=np.float32, validation=False)

    def seconds():
        values = {"epochs": 6, "batch_size": 128, "num_layers": 2, "hidden_size": [512, 256]}
        return model_train(data, progress=False, **values)[1].seconds[1:].median()

    quiet = [seconds()]
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count())]
    try:
        busy = seconds()
    finally:
        for process in others:
            process.kill()
            process.wait()
    quiet.append(seconds())
    assert busy < 4 * max(quiet)


@pytest.mark.slow
def test_available_threads_where_no_blas_is_known(monkeypatch):
    """As on macOS, whose Accelerate threadpoolctl does not list; joblib limits it in a worker process."""
    monkeypatch.setattr(threads, "threadpool_info", list)
    monkeypatch.setattr("joblib.cpu_count", lambda only_physical_cores: 8)
    monkeypatch.delenv("VECLIB_MAXIMUM_THREADS", raising=False)
    assert threads.available_threads() == 8
    monkeypatch.setenv("VECLIB_MAXIMUM_THREADS", "1")
    assert threads.available_threads() == 1


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "affinity"])
def test_available_threads_respects_environment_and_affinity(name):
    code = "from helpers.speed.threads import available_threads; print(available_threads())"
    if name == "affinity":
        if not hasattr(os, "sched_setaffinity"):
            pytest.skip("CPU affinity is not available on this system")
        code = f"import os; os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})\n{code}"
    result = run_python(code, env=os.environ | {name: "1"})
    assert result.stdout.strip() == "1", result.stderr


def blas_threads():
    """Return the number of threads of NumPy's BLAS; SciPy may load its own at any time."""
    (count,) = {pool["num_threads"] for pool in threadpool_info() if "numpy" in pool["filepath"]}
    return count


def test_training_leaves_blas_one_thread_and_restores_the_others(data):
    with threadpool_limits(2, "blas"):
        before, during = blas_threads(), []
        model_train(data, epochs=1, hidden_size=4, threads=2, log=lambda _: during.append(blas_threads()))
        assert during == [1]
        assert blas_threads() == before
