"""The time of an epoch, relative to its matrix products alone: a ratio, measured alternately in one process."""

import statistics
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from helpers.data import one_hot
from tests.benchmark.contestants import matrix_products, this_project


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "limit"), [("nadam", 2.1), ("sgd", 1.8)])  # 1.5 and 1.25 if idle
def test_train_epoch_time_near_matrix_products(optimizer, limit):
    pytest.importorskip("numba")
    rng = np.random.default_rng(0)
    # the larger array that is freed here, as in load_data, makes glibc keep freed memory instead of returning it
    X, Y = rng.random((3200, 784)).astype(np.float32), one_hot(np.arange(3200) % 10)
    with threadpool_limits(1, "blas"):
        runs = [make([784, 128, 128, 128, 10], 64, optimizer, X, Y)[0] for make in (this_project, matrix_products)]
        seconds = [[], []]
        for _ in range(15):
            for epoch, times in zip(runs, seconds, strict=True):
                start = time.perf_counter()
                epoch()
                times.append(time.perf_counter() - start)
    ours, products = map(statistics.median, seconds)
    assert ours < limit * products, f"{ours / products:.2f} times the matrix products"
