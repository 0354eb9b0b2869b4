"""Work shared among processes of this machine."""

import os
import threading
from collections import deque
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait


def share(function, calls, workers, after):
    """Run function(*call) for each of the calls in one of so many processes, and after(its result) here.

    An error of either ends the processes at once and is raised. Returns the calls whose process was killed.
    """
    context, calls = get_context("spawn"), deque(calls)
    processes, idle, busy, lost = [], [], {}, []  # busy: {connection: call}
    try:
        while calls or busy:
            while calls and len(busy) < workers:
                if not idle:
                    connection, theirs = context.Pipe()
                    processes.append(context.Process(target=_work, args=(function, theirs), daemon=True))
                    processes[-1].start()
                    theirs.close()  # the process has its own: this side notices when that one is gone
                    idle.append(connection)
                connection = idle.pop()
                busy[connection] = calls.popleft()
                with suppress(BrokenPipeError):  # killed while idle: seen below
                    connection.send(busy[connection])
            for connection in wait([*busy]):
                call = busy.pop(connection)
                try:
                    result, error = connection.recv()
                except (EOFError, ConnectionError):
                    lost.append(call)
                    continue
                if error:
                    raise error
                idle.append(connection)
                after(result)
    except KeyboardInterrupt:  # Ctrl-C reaches the processes too: a moment to note where they were
        for process in processes:
            process.join(timeout=5)
        raise
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
    return lost


def _work(function, connection):
    """What each process does: answer every call with (result, error), until the first error."""

    def end_with_parent():  # when it is killed there is nobody to work for
        parent_process().join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    with suppress(KeyboardInterrupt):  # Ctrl-C while idle
        while True:
            call = connection.recv()
            try:
                answer = function(*call), None
            except BaseException as error:
                return connection.send((None, error))
            connection.send(answer)
