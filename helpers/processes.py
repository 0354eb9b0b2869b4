"""Work shared among processes of this machine."""

import os
import threading
from collections import deque
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait


def share(function, calls, workers, after):
    """Run function(*call) for each of the calls in one of so many processes, and after(its result) here.

    An error of either ends the processes at once and is raised; ChildProcessError for one that cannot be handed over.
    Returns the calls whose process was killed.
    """
    context, calls = get_context("spawn"), deque(calls)
    processes, idle, busy, killed = [], [], {}, []  # idle: [(connection, process)]; busy: {connection: (process, call)}
    try:
        while calls or busy:
            while calls and len(busy) < workers:
                if not idle:
                    connection, theirs = context.Pipe()
                    processes.append(context.Process(target=_work, args=(function, theirs), daemon=True))
                    processes[-1].start()
                    theirs.close()  # the process has its own: this side notices when that one is gone
                    idle.append((connection, processes[-1]))
                connection, process = idle.pop()
                busy[connection] = process, calls.popleft()
                with suppress(ConnectionError):  # killed while idle: seen below
                    connection.send(busy[connection][1])
            for connection in wait([*busy]):
                process, call = busy.pop(connection)
                try:
                    result, error = connection.recv()
                except (EOFError, OSError):
                    process.join()
                    if process.exitcode > 0:  # below 0 it is a signal's number
                        raise ChildProcessError(f"a process ended with exit code {process.exitcode}") from None
                    killed.append(call)
                    continue
                if error:
                    raise error
                idle.append((connection, process))
                after(result)
        for connection, process in idle:
            connection.close()
            process.join(timeout=5)
    except KeyboardInterrupt:  # Ctrl-C reaches the processes too: a moment to note where they were
        for process in processes:
            process.join(timeout=5)
        raise
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
    return killed


def _work(function, connection):
    """What each process does: answer every call with (result, error), until the first error.

    One that is of no expected kind ends the process, with its traceback.
    """

    def end_with_parent():  # when it is killed there is nobody to work for
        parent_process().join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    with suppress(KeyboardInterrupt, EOFError):  # Ctrl-C while idle; nothing more to do
        while True:
            call = connection.recv()
            try:
                answer = function(*call), None
            except (KeyboardInterrupt, OSError, ValueError, ArithmeticError) as error:
                return connection.send((None, error))
            connection.send(answer)
