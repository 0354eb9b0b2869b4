"""Check, when `helpers` is imported, that Python and the required packages are recent enough.

This module must also compile with an old Python, and work where no package is installed.
"""

import re
import sys
from pathlib import Path

FILE = Path(__file__).parents[1] / "requirements.txt"
PYTHON = (3, 11)
NOT_IMPORTED = ("numba", "keras", "jupyter")  # optional, or only started


def numbers(version):
    """Return the numbers of a version as a tuple: (2, 0) for 2.0 and for 2.0rc1."""
    return tuple(int(number) for number in re.match(r"[\d.]+\d|\d", version).group().split("."))


def problem():
    """Return one sentence that names what is missing or too old, and the command that mends it; None if nothing is."""
    if sys.version_info < PYTHON:
        found, needed = (".".join(map(str, version[:3])) for version in (sys.version_info, PYTHON))
        return f"this is Python {found}, but {needed} or newer is required: install it from https://www.python.org"
    from importlib import metadata

    command = f'"{sys.executable}" -m pip install -r "{FILE}"'
    lines = FILE.read_text("utf-8").splitlines() if FILE.exists() else []
    for name, floor in (match.groups() for match in (re.match(r"([\w-]+)>=([\d.]+)", line) for line in lines) if match):
        if name in NOT_IMPORTED:
            continue
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            return f"the package {name} is missing; install the requirements: {command}"
        if numbers(version) < numbers(floor):
            return f"{name} {version} is installed, but {floor} or newer is required: {command}"
    return None


def check():
    """End a command with one sentence, and raise ImportError elsewhere, if something is missing or too old."""
    reason = problem()
    if reason and sys.argv[:1] == ["-m"]:  # Python is about to run a module: python -m helpers.train
        sys.exit(f"error: {reason}")
    if reason:
        raise ImportError(reason)
