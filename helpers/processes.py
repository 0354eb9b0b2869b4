"""Work shared among processes of this machine."""

import os
import threading
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from itertools import islice
from multiprocessing import active_children, get_context, parent_process


def share(function, calls, workers, after):
    """Run function(*call) for each of the calls, so many at a time, and after(its result) here as each one ends.

    An error of either ends the processes and is raised, as is BrokenProcessPool if one of them was killed.
    """
    calls, others = iter(calls), active_children()
    with ProcessPoolExecutor(workers, get_context("spawn"), _end_with_the_parent) as pool:
        running = {pool.submit(function, *call) for call in islice(calls, workers)}
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for one in done:
                    after(one.result())
                running |= {pool.submit(function, *call) for call in islice(calls, len(done))}
        except BaseException:
            for process in set(active_children()) - set(others):
                process.terminate()
            raise


def _end_with_the_parent():
    """Let this process end when the one that started it is killed; it would wait for work for ever."""

    def watch():
        parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
