"""Functions shared by the commands: parsers, output, signals and exit codes."""

import argparse
import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from types import SimpleNamespace


def parser(module, description):
    """Return an argument parser for ``python -m module`` that prints `description` with its line breaks."""
    return argparse.ArgumentParser(
        prog=f"python -m {module}", description=description, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip


def add_allow_sample(parser):
    """Add the flag --allow_sample."""
    text = "use the small sample that ships with the package if the full data set is not available"
    parser.add_argument("--allow_sample", action="store_true", help=text)


def error(reason):
    """Print an error to standard error and return exit code 1."""
    with suppress(OSError, AttributeError, ValueError):  # standard error may be closed
        print(f"error: {reason}", file=sys.stderr)
    return 1


@contextmanager
def signals():
    """Turn the first SIGTERM or SIGINT into a KeyboardInterrupt; later ones, and all after `ignore`, raise nothing.

    Yields
    ------
    SimpleNamespace
        ``exit_code``: 0, or 128 plus the number of the first signal (130 for Ctrl-C, 143 for SIGTERM);
        ``ignore()``: from now on signals only set the exit code.
    """
    state = SimpleNamespace(exit_code=0, raising=True)

    def ignore():
        state.raising = False

    def handle(number, frame):
        first = state.exit_code == 0
        state.exit_code = state.exit_code or 128 + number
        if first and state.raising:
            raise KeyboardInterrupt

    state.ignore = ignore
    main_thread = threading.current_thread() is threading.main_thread()  # handlers can be set only there
    handled = (signal.SIGINT, signal.SIGTERM) if main_thread else ()
    previous = {
        number: signal.signal(number, handle) for number in handled if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield state
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def run(main):
    """Call a command's `main` and exit with its exit code.

    Characters that the terminal cannot show are escaped. If the output pipe is closed, as after ``| head``, the exit
    code is 1, without a traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream:  # None if it is closed
            stream.reconfigure(errors="backslashreplace")
    try:
        code = main()
        print(end="", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # avoids a second report at exit
        code = 1
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
