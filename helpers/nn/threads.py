"""The number of BLAS threads for training."""

import io
import threading
import warnings
from contextlib import contextmanager, redirect_stderr

from threadpoolctl import OpenBLASController, threadpool_info, threadpool_limits

from helpers.nn.network import count_params

# Floating-point operations of a step per thread; with less work, synchronisation costs more than a thread gains
FLOPS_PER_THREAD = 100e6
counting = threading.Lock()  # of the cores


def available_threads():
    """Return how many BLAS threads this process may use.

    It is the number of physical cores within the process's CPU affinity and cgroup limits, and at most the number that
    BLAS was given by OMP_NUM_THREADS, OPENBLAS_NUM_THREADS or threadpoolctl.
    """
    from joblib import cpu_count  # slow to import

    pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    # Where the physical cores cannot be counted, joblib warns, prints a traceback, and counts the logical ones
    with counting, warnings.catch_warnings(action="ignore"), redirect_stderr(io.StringIO()):
        cores = cpu_count(only_physical_cores=True)
    return min(cores, max(pools, default=1))


def choose_threads(sizes, batch_size):
    """Return the number of BLAS threads for a network of the sizes ``[d_0, …, d_L]`` and this batch size.

    A step takes about 6 N P floating-point operations for N images and P parameters: two for each weight and image in
    the forward pass, and four in the backward pass.
    """
    flops = 6 * batch_size * count_params(sizes)
    return max(1, min(available_threads(), int(flops / FLOPS_PER_THREAD)))


def take_control():
    """Let this thread set the limit, whichever thread has set it before; threadpoolctl keeps the others from it."""
    if hasattr(OpenBLASController, "clear_controlling_thread"):  # since threadpoolctl 3.8
        OpenBLASController.clear_controlling_thread(force=True)


class SharedLimit:
    """The limit of BLAS threads, which holds for the whole process, shared by the trainings in its threads."""

    def __init__(self):
        self.lock, self.users, self.count, self.limits = threading.Lock(), 0, None, None

    @contextmanager
    def __call__(self, count, required):
        """Limit BLAS to `count` threads until the last training ends, and yield the number in use.

        If another training has set another number, use that; if `required`, raise ValueError.
        """
        with self.lock:
            if self.users == 0:
                take_control()
                self.count, self.limits = count, threadpool_limits(count, "blas")
            elif required and count != self.count:
                raise ValueError(
                    f"threads={count}: another training in this process uses {self.count} BLAS threads, and all must "
                    f"use the same number: pass threads={self.count}, or wait for its end"
                )
            self.users += 1
            used = self.count
        try:
            yield used
        finally:
            with self.lock:
                self.users -= 1
                if self.users == 0:
                    take_control()
                    self.limits.restore_original_limits()
                    take_control()


blas_threads = SharedLimit()
