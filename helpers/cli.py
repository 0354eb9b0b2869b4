"""Functions shared by the commands: parsers, output, signals and exit codes."""

import _thread
import argparse
import importlib
import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from types import SimpleNamespace

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # what Ctrl-C, a cluster and a closed terminal send
POLL_INTERVAL = 0.1  # seconds between checks whether what cannot be interrupted has ended


def printable(text):
    """Return the text with every character escaped that could control a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in str(text))


class Parser(argparse.ArgumentParser):
    """An argument parser whose messages, which quote arguments and files, cannot control the terminal."""

    def error(self, message):
        """Print the usage and the message, and exit with code 2."""
        super().error(printable(message))


def parser(module, description):
    """Return an argument parser for ``python -m module`` that prints `description` with its line breaks."""
    return Parser(
        prog=f"python -m {module}", description=description, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip


def add_allow_sample(parser):
    """Add the flag --allow_sample."""
    text = "use the small sample that ships with the package if the full data set is not available"
    parser.add_argument("--allow_sample", action="store_true", help=text)


def add_wandb_project(parser):
    """Add the flags that name the W&B project, with the course's short forms."""
    parser.add_argument("-wp", "--wandb_project", metavar="NAME", default="DA6401-assignment-1", help="W&B project")
    parser.add_argument("-we", "--wandb_entity", metavar="NAME", help="W&B user or team (default: set in the account)")


def error(reason):
    """Print an error to standard error and return exit code 1."""
    with suppress(OSError, AttributeError, ValueError):  # standard error may be closed
        print(f"error: {printable(reason)}", file=sys.stderr)
    return 1


def uninterruptible(frame):
    """Return whether, in this frame or one of its callers, a module is imported, Numba compiles or a process starts."""
    while frame:
        module = str(frame.f_globals.get("__name__"))
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>" or module == "multiprocessing.context":
            return True
        if module.partition(".")[0] in ("numba", "llvmlite"):
            return True
        frame = frame.f_back
    return False


def signal_main_thread(number):
    """Send the signal to the main thread, so that it also ends a blocking call, where the system allows that."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident, number)
    else:  # Windows
        _thread.interrupt_main(number)


@contextmanager
def signals():
    """Turn the first SIGTERM, SIGINT or SIGHUP into a KeyboardInterrupt.

    While a module is imported, Numba compiles or a process starts, the KeyboardInterrupt waits for the end: a library
    may catch it, or turn it into another error, and a process would be half started. Later signals raise nothing, nor
    do signals after `ignore`.

    Yields
    ------
    SimpleNamespace
        ``exit_code``: 0, or 128 plus the number of the first signal (130 for Ctrl-C, 143 for SIGTERM,
        129 for SIGHUP, which a closed terminal sends);
        ``ignore()``: from now on signals only set the exit code.
    """
    state, waiting = SimpleNamespace(exit_code=0, raising=True), []

    def ignore():
        state.raising = False

    def handle(number, frame):
        state.exit_code = state.exit_code or 128 + number
        if state.raising and uninterruptible(frame):
            waiting.append(threading.Timer(POLL_INTERVAL, signal_main_thread, (number,)))
            waiting[-1].daemon = True
            waiting[-1].start()
        elif state.raising:
            state.raising = False
            raise KeyboardInterrupt

    state.ignore = ignore
    main_thread = threading.current_thread() is threading.main_thread()  # handlers can be set only there
    names = SIGNALS if main_thread else ()
    handled = [getattr(signal, name) for name in names if hasattr(signal, name)]  # Windows has no SIGHUP
    previous = {
        number: signal.signal(number, handle) for number in handled if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield state
    finally:
        state.raising = False
        for timer in waiting:
            timer.cancel()
            timer.join()  # it may be sending its signal, which must not meet the previous handler
        for number, handler in previous.items():
            signal.signal(number, handler)


class Output:
    """A stream that loses what cannot be written instead of raising an error: the disk is full, the pipe is closed.

    Attributes
    ----------
    error : OSError or None
        The first error.
    """

    def __init__(self, stream):
        self.stream, self.error = stream, None

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def write(self, text):
        """Write the text, or lose it."""
        self.attempt(self.stream.write, text)
        return len(text)

    def flush(self):
        """Flush the stream."""
        self.attempt(self.stream.flush)

    def attempt(self, action, *arguments):
        """Call `action`; after an error everything goes to the null device, also what is still in the buffer."""
        try:
            action(*arguments)
        except OSError as error:
            self.error = self.error or error
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.stream.fileno())
            os.close(null)


def run(main):
    """Call a command's `main` and exit with its exit code.

    Characters that the terminal cannot show are escaped. If the output cannot be written, the command continues
    without, and the exit code is 1 at least; a closed pipe, as after ``| head``, is not reported. A package that is
    missing is one sentence; a missing module of our own, or of Python, is a defect and keeps its traceback.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or open(os.devnull, "w")  # noqa: SIM115 (it is None if the stream is closed)
        stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, Output(stream))
    try:
        code = main()
    except KeyboardInterrupt:
        code = 130
    except ModuleNotFoundError as missing:
        if (missing.name or "helpers").partition(".")[0] in ("helpers", *sys.stdlib_module_names):
            raise
        remedy = "activate the project's virtual environment, or make it as the README describes"
        code = error(f"the package {missing.name} is missing; {remedy}")
    for name in SIGNALS:  # the exit code is decided
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    sys.stdout.flush()
    lost = sys.stdout.error
    if lost:
        code = code or 1
        if not isinstance(lost, BrokenPipeError):
            error(f"the output could not be written: {lost}")
    sys.exit(code)


def run_module(name):
    """Import the command `name`, such as helpers.train, call its `main` and exit with its exit code."""
    if sys.version_info < (3, 11):  # noqa: UP036 (a user's Python may be older than ours)
        sys.exit(error(f"Python 3.11 or newer is required; this is {sys.version.split()[0]}"))
    run(lambda: importlib.import_module(name).main())
