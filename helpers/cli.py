"""Functions shared by the commands: parsers, messages, exit codes."""

import argparse
import importlib
import os
import sys


class Parser(argparse.ArgumentParser):
    """An argument parser that names the flag which an unknown one probably means."""

    def __init__(self, **options):
        self.flags = []
        super().__init__(**options)

    def add_argument(self, *names, **options):
        """Add an argument, and take note of its flags."""
        action = super().add_argument(*names, **options)
        self.flags += action.option_strings
        return action

    def parse_args(self, arguments=None, namespace=None):
        """Return the parsed arguments; for each unknown flag, name the one that was probably meant."""
        from helpers.experiment.values import SYNONYMS, unknown

        known, problems = [flag[2:] for flag in self.flags if flag.startswith("--")], []
        for word in sys.argv[1:] if arguments is None else arguments:
            flag = word.partition("=")[0]
            long, short = flag.startswith("--") and flag != "--", flag[:1] == "-" and flag[1:] in SYNONYMS
            if (long or short) and flag not in self.flags:
                problems.append(unknown("flag", flag, known, "--"))
        if problems:
            self.error("; ".join(problems))
        return self.parse_intermixed_args(arguments, namespace)  # flags may stand between files


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
    project = os.environ.get("WANDB_PROJECT") or "DA6401-assignment-1"
    parser.add_argument("-wp", "--wandb_project", metavar="NAME", default=project, help="W&B project")
    parser.add_argument(
        "-we", "--wandb_entity", metavar="NAME", help="W&B user or team (default: WANDB_ENTITY, else your own)"
    )


def error(reason):
    """Print an error to standard error and return exit code 1."""
    print(f"error: {reason}", file=sys.stderr)
    return 1


def run(main):
    """Call a command's `main` and exit with its exit code.

    Characters that the terminal cannot show are escaped. A closed pipe, as after ``| head``, ends the command with exit
    code 1 and without a message. A package that is missing is one sentence; a missing module of our own, or of Python,
    is a defect and keeps its traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # it may be None, or a notebook's
            stream.reconfigure(errors="backslashreplace")
    try:
        code = main()
        if sys.stdout:  # None if it was closed
            sys.stdout.flush()
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at exit
        code = 1
    except ModuleNotFoundError as missing:
        package = (missing.name or "helpers").partition(".")[0]
        if package in ("helpers", *sys.stdlib_module_names):
            raise
        remedy = "activate the project's virtual environment, or make it as the README describes"
        code = error(f"the package {package} is missing; {remedy}")
    sys.exit(code)


def run_module(name):
    """Import the command `name`, such as helpers.train, call its `main` and exit with its exit code."""
    if sys.version_info < (3, 11):  # noqa: UP036 (a user's Python may be older than ours)
        sys.exit(error(f"Python 3.11 or newer is required; this is {sys.version.split()[0]}"))
    run(lambda: importlib.import_module(name).main())
