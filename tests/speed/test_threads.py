"""The number of BLAS threads: from the work of a step and the cores; recorded, and kept when training is resumed."""

import os

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from helpers.experiment.run import model_train
from helpers.speed import threads
from tests.support.environment import run_python

SMALL, WIDE = [784, 128, 128, 128, 10], [784, 1024, 512, 10]


@pytest.mark.parametrize(
    ("sizes", "batch_size", "cores", "expected"),
    [(SMALL, 64, 16, 1), (SMALL, 256, 16, 2), (WIDE, 256, 1, 1), (WIDE, 256, 8, 8), (WIDE, 256, 64, 20)],
)
def test_choose_threads_follows_work_and_cores(sizes, batch_size, cores, expected, monkeypatch):
    monkeypatch.setattr(threads, "available_threads", lambda: cores)
    assert threads.choose_threads(sizes, batch_size) == expected


@pytest.mark.slow
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


@pytest.mark.parametrize("count", [1, 2])
def test_training_uses_threads_and_restores_them(count, data):
    with threadpool_limits(2, "blas"):
        before, during = blas_threads(), []
        _, history = model_train(
            data, epochs=1, hidden_size=4, threads=count, log=lambda _: during.append(blas_threads())
        )
        assert during == [min(count, before)]
        assert blas_threads() == before
    assert history.attrs["threads"] == count


def test_resume_uses_threads_of_checkpoint(data, tmp_path):
    """The result would differ in the last bits."""
    values = {"hidden_size": 4, "checkpoint": tmp_path / "run.npz"}
    model_train(data, epochs=1, threads=2, **values)
    _, history = model_train(data, epochs=2, threads=1, resume=True, **values)
    assert history.attrs["threads"] == 2
