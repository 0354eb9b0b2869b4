"""Trainings side by side: each in a process of its own, which uses one core."""

import functools
import os
import threading
import time
from concurrent.futures import BrokenExecutor

from helpers.experiment.stopping import leave_to_parent
from helpers.nn.functions import ACTIVATIONS, LOSSES
from helpers.nn.initialization import WEIGHT_INITS
from helpers.nn.optimizers import OPTIMIZERS, SCHEDULES

REGISTRIES = (ACTIVATIONS, LOSSES, WEIGHT_INITS, OPTIMIZERS, SCHEDULES)
ATTEMPTS = 3  # before processes that are killed, perhaps for want of memory, are an error


def side_by_side(function, tasks, workers, stop):
    """Call `function` for each tuple of arguments in `tasks`, in several processes.

    The processes share large arrays through memory-mapped files, and know what was added to ``OPTIMIZERS`` and the
    other registries. A task whose process was killed is done again.

    Parameters
    ----------
    function : callable
        Trains, and returns the result. A signal ends it early if it runs in this process, with a single worker.
    tasks : list of tuple
        The arguments of each call.
    workers : int
        Number of processes; 1: everything runs in this one.
    stop : Flag
        Once a signal has arrived, no further results are awaited; the processes are ended.

    Yields
    ------
    (int, object)
        The position of a task, and its result, in the order in which they finish.

    Raises
    ------
    BrokenExecutor
        If processes are killed three times, and no task is finished in between.
    KeyboardInterrupt
        If a second signal follows the first.
    """
    if workers == 1 or len(tasks) <= 1:
        for i, task in enumerate(tasks):
            if stop.requested:
                return
            yield i, function(*task)
        return
    from joblib import Parallel, delayed, parallel_config  # slow to import

    left, added = dict(enumerate(tasks)), [dict(registry) for registry in REGISTRIES]
    killed = 0
    while True:
        with parallel_config("loky", inner_max_num_threads=1):
            processes = max(2, min(workers, len(left)))  # with 1, joblib would work in this process
            parallel = Parallel(processes, batch_size=1, return_as="generator_unordered")
        try:
            results = parallel([delayed(work)(added, i, function, task) for i, task in left.items()])
            while True:
                with stop.interrupting():  # waits for other processes: there is nothing that could be left half done
                    if stop.requested:  # while the processes were started, or the last result was handled
                        results.throw(KeyboardInterrupt)
                    item = next(results, None)
                if item is None:
                    return
                killed = 0
                del left[item[0]]
                yield item
        except BrokenExecutor:
            killed += 1
            if killed == ATTEMPTS:
                raise
        except KeyboardInterrupt:
            if stop.again:
                raise
            return


def work(added, i, function, task):
    """Call the function in a worker process; signals are left to the process that waits for the result."""
    leave_to_parent()
    end_with_parent()
    for registry, entries in zip(REGISTRIES, added, strict=True):
        registry.update(entries)
    return i, function(*task)


@functools.cache
def end_with_parent():
    """End this worker process soon after its parent was killed, as its result is not needed. Not on Windows."""

    def watch(parent):
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, args=[os.getppid()], daemon=True).start()
