"""Functions shared by the commands: parsers, messages, exit codes."""

import argparse
import importlib
import os
import sys


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
    print(f"error: {printable(reason)}", file=sys.stderr)
    return 1


def run(main):
    """Call a command's `main` and exit with its exit code.

    Characters that the terminal cannot show are escaped. A closed pipe, as after ``| head``, ends the command with exit
    code 1 and without a message. A package that is missing is one sentence; a missing module of our own, or of Python,
    is a defect and keeps its traceback.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.reconfigure(errors="backslashreplace")
    try:
        code = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at exit
        code = 1
    except ModuleNotFoundError as missing:
        if (missing.name or "helpers").partition(".")[0] in ("helpers", *sys.stdlib_module_names):
            raise
        remedy = "activate the project's virtual environment, or make it as the README describes"
        code = error(f"the package {missing.name} is missing; {remedy}")
    sys.exit(code)


def run_module(name):
    """Import the command `name`, such as helpers.train, call its `main` and exit with its exit code."""
    if sys.version_info < (3, 11):  # noqa: UP036 (a user's Python may be older than ours)
        sys.exit(error(f"Python 3.11 or newer is required; this is {sys.version.split()[0]}"))
    run(lambda: importlib.import_module(name).main())
