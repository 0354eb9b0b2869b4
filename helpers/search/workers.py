"""Run a function in several processes on this machine; if a process is killed, only its current task is lost."""

import os
import threading
from collections import deque
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait

from threadpoolctl import threadpool_limits

from helpers.nn.threads import available_threads

POLL_INTERVAL = 0.5  # seconds


def run_in_processes(function, tasks, workers, on_result, poll=None):
    """Run ``function(*task)`` for each task in `workers` processes, and ``on_result(result)`` in this process.

    Parameters
    ----------
    function : callable
        A function that can be pickled.
    tasks : iterable of tuple
        The arguments of each call.
    workers : int
        Number of processes.
    on_result : callable
        Called with each result, in the order of completion.
    poll : callable, optional
        Called without arguments every half second while waiting.

    Returns
    -------
    list of tuple
        The tasks whose process was killed.

    Raises
    ------
    ChildProcessError
        If a process ended with an exit code above 0.
    Exception
        Any exception of the function or a callback; the other processes are then terminated.
    """
    context, tasks, threads = get_context("spawn"), deque(tasks), max(1, available_threads() // workers)
    processes, idle, busy, killed = [], [], {}, []  # idle: [(connection, process)]; busy: {connection: (process, task)}
    try:
        while tasks or busy:
            while tasks and len(busy) < workers:
                if not idle:
                    connection, child_connection = context.Pipe()
                    arguments = function, child_connection, threads
                    processes.append(context.Process(target=serve, args=arguments, daemon=True))
                    processes[-1].start()
                    child_connection.close()  # the child has the only other end: the pipe closes when it ends
                    idle.append((connection, processes[-1]))
                connection, process = idle.pop()
                busy[connection] = process, tasks.popleft()
                with suppress(ConnectionError):  # the process was killed while idle, which is noticed below
                    connection.send(busy[connection][1])
            for connection in wait([*busy], POLL_INTERVAL):  # without a time limit, Windows delivers no Ctrl-C
                process, task = busy.pop(connection)
                try:
                    result, error = connection.recv()
                except (EOFError, OSError):
                    process.join()
                    if process.exitcode > 0:  # a negative exit code is the number of a signal
                        raise ChildProcessError(f"a process ended with exit code {process.exitcode}") from None
                    killed.append(task)
                    continue
                if error:
                    raise error
                idle.append((connection, process))
                on_result(result)
            if poll:
                poll()
        for connection, process in idle:
            connection.close()
            process.join(timeout=5)
    except KeyboardInterrupt:  # Ctrl-C reaches the processes too; give them time to record it
        for process in processes:
            if process.pid:
                process.join(timeout=5)
        raise
    finally:
        processes = [process for process in processes if process.pid]  # the others have not been started
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
    return killed


def serve(function, connection, threads):
    """Answer each task with ``(result, error)`` until the first error; an unexpected one ends with its traceback."""

    def exit_with_parent():
        parent_process().join()
        os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()
    threadpool_limits(threads, "blas")
    with suppress(KeyboardInterrupt, EOFError):  # Ctrl-C while idle; the parent is finished
        while True:
            task = connection.recv()
            try:
                answer = function(*task), None
            except (KeyboardInterrupt, OSError, ValueError, ArithmeticError) as error:
                return connection.send((None, error))
            connection.send(answer)
