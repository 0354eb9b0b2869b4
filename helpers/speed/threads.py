"""Matrix products among a few threads, whose results do not depend on the number of threads.

A large product A B is computed in blocks of rows or columns. The blocks follow from the shapes alone, so that one
thread and eight compute bitwise the same; a thread that is free takes the next block, so that another busy process
costs its share of the cores and no more. BLAS itself has one thread, within `blas_threads(1)`: its own threads would
wait for each other at every product.
"""

import io
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr
from itertools import pairwise

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from helpers.nn.network import Engine

# Floating-point operations from which a product has so many blocks; with less work a thread costs more than it gains
BLOCKS = ((40e6, 2), (500e6, 4), (2e9, 8))


def available_threads():
    """Return how many threads this process may use.

    It is the number of physical cores within the process's CPU affinity and cgroup limits, and at most the number that
    BLAS was given by OMP_NUM_THREADS, OPENBLAS_NUM_THREADS or threadpoolctl.
    """
    from joblib import cpu_count  # slow to import

    pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    # Where the physical cores cannot be counted, joblib warns, prints a traceback, and counts the logical ones
    with warnings.catch_warnings(action="ignore"), redirect_stderr(io.StringIO()):
        cores = cpu_count(only_physical_cores=True)
    return min(cores, max(pools) if pools else int(os.environ.get("VECLIB_MAXIMUM_THREADS") or cores))  # macOS: no pool


def blas_threads(count):
    """Return a context manager that limits BLAS to `count` threads."""
    return threadpool_limits(count, "blas")


def product_blocks(n, k, m):
    """Return the blocks of the product of matrices (n, k) and (k, m), as slices of its rows and of its columns.

    BLAS reads one of the matrices again for each block: the second one, where the first is tall and its rows are cut.
    """
    count = max((blocks for operations, blocks in BLOCKS if 2 * n * k * m >= operations), default=1)
    length, whole = n if n > k else m, slice(None)
    cuts = [slice(*pair) for pair in pairwise(length * i // count for i in range(count + 1))]
    return [(cut, whole) if n > k else (whole, cut) for cut in cuts]


class ThreadedEngine(Engine):
    """NumPy's array operations, with large matrix products in blocks among `threads` threads."""

    name = "numpy"

    def __init__(self, threads=1):
        self.threads, self.small = threads, BLOCKS[0][0] / 2  # multiplications of the smallest product that is split
        self.pool = ThreadPoolExecutor(max(threads - 1, 1))  # the calling thread works, too

    def matmul(self, A, B, out=None):
        """See `Engine`."""
        if A.size * B.shape[1] < self.small:
            if out is None:
                return A.dot(B)
            if out.size < 10_000 and A.dtype == B.dtype == out.dtype:  # faster than matmul, but converts no numbers
                return A.dot(B, out)
            return np.matmul(A, B, out=out)
        out = self.new_array((A.shape[0], B.shape[1]), A.dtype) if out is None else out
        blocks = product_blocks(*A.shape, B.shape[1])
        left = iter(blocks)  # of all threads

        def work():
            with np.errstate(all="ignore"):  # each thread has its own
                for rows, columns in left:
                    np.matmul(A[rows], B[:, columns], out=out[rows, columns])

        helpers = [self.pool.submit(work) for _ in range(min(self.threads, len(blocks)) - 1)]
        work()
        for helper in helpers:
            if not helper.cancel():  # it has begun
                helper.result()
        return out

    def new_array(self, shape, dtype):
        """Return an array for a result."""
        return np.empty(shape, dtype)
