"""The number of BLAS threads for training."""

import io
import warnings
from contextlib import redirect_stderr

from threadpoolctl import threadpool_info, threadpool_limits

from helpers.nn.network import count_params

# Floating-point operations of a step per thread; with less work, synchronisation costs more than a thread gains
FLOPS_PER_THREAD = 100e6


def available_threads():
    """Return how many BLAS threads this process may use.

    It is the number of physical cores within the process's CPU affinity and cgroup limits, and at most the number that
    BLAS was given by OMP_NUM_THREADS, OPENBLAS_NUM_THREADS or threadpoolctl.
    """
    from joblib import cpu_count  # slow to import

    pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    # Where the physical cores cannot be counted, joblib warns, prints a traceback, and counts the logical ones
    with warnings.catch_warnings(action="ignore"), redirect_stderr(io.StringIO()):
        cores = cpu_count(only_physical_cores=True)
    return min(cores, max(pools, default=1))


def choose_threads(sizes, batch_size):
    """Return the number of BLAS threads for a network of the sizes ``[d_0, …, d_L]`` and this batch size.

    A step takes about 6 N P floating-point operations for N images and P parameters: two for each weight and image in
    the forward pass, and four in the backward pass.
    """
    flops = 6 * batch_size * count_params(sizes)
    return max(1, min(available_threads(), int(flops / FLOPS_PER_THREAD)))


def blas_threads(count):
    """Return a context manager that limits BLAS to `count` threads."""
    return threadpool_limits(count, "blas")
