"""Stopping is a flag: the stop button, Ctrl-C, SIGTERM and SIGHUP set it, and training reads it between two steps.

So nothing is interrupted in the middle of a step, an import or a write. A second signal ends at once, with a
KeyboardInterrupt: also one that follows the first within `AGAIN` seconds in the next training of a loop.
"""

import signal
import threading
import time
from contextlib import contextmanager

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
AGAIN = 3.0  # seconds


def leave_to_parent():
    """Set no flag in a worker process. The signals that reach all processes of a terminal are ignored; SIGTERM ends it.

    Its parent ends the workers, and has a task of one that was ended from outside done again.
    """
    FLAG.watched = True
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


class Flag:
    """Whether a signal has asked the current work to stop.

    Attributes
    ----------
    number : int or None
        The first signal.
    again : bool
        Whether a second one has followed.
    """

    def __init__(self):
        self.number, self.time, self.again, self.watched, self.at_once = None, -AGAIN, False, False, False

    @property
    def requested(self):
        """Whether a signal has arrived."""
        return self.number is not None

    @property
    def exit_code(self):
        """0, or 128 plus the number of the signal: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + self.number if self.requested else 0

    def handle(self, number, frame):
        """Set the flag; end at once if it was set, or within `interrupting`."""
        self.again = self.requested or time.monotonic() < self.time + AGAIN
        self.number, self.time = self.number or number, time.monotonic()
        if self.again or self.at_once:
            raise KeyboardInterrupt

    @contextmanager
    def interrupting(self):
        """Let the first signal raise KeyboardInterrupt within the block, as in code that only waits."""
        self.at_once = True
        try:
            yield
        finally:
            self.at_once = False


FLAG = Flag()


@contextmanager
def watching():
    """Let the signals set the flag until the block ends, and yield the flag.

    A block inside another one shares its flag. In a thread that is not the main one, where handlers cannot be set, the
    flag is never set.
    """
    if FLAG.watched:
        yield FLAG
        return
    if threading.current_thread() is not threading.main_thread():
        yield Flag()
        return
    previous = {number: signal.getsignal(number) for number in SIGNALS}
    FLAG.number, FLAG.again, FLAG.watched = None, False, True
    for number, handler in previous.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, FLAG.handle)
    try:
        yield FLAG
    finally:
        FLAG.watched = False
        for number, handler in previous.items():
            signal.signal(number, handler)
