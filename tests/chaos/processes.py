"""Start a command, hurt it, and tell what is left of it."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path

# Linux only: /proc tells the environment of each process
MARK = "CHAOS_PROCESS"  # an environment variable, by which descendants are found


def handles(number, received):
    """Return whether the process with this number has a handler for a signal; False if it has ended."""
    try:
        status = Path(f"/proc/{number}/status").read_text("utf-8")
    except OSError:
        return False
    return bool(int(status.split("SigCgt:")[1].split()[0], 16) >> (received - 1) & 1)


class Command:
    """A command that runs in a folder, with its output in temporary files.

    `environment` are changes of the environment; `worker` is a part of the command line of each of its workers.
    """

    def __init__(self, arguments, folder, environment, worker):
        self.mark, self.worker = uuid.uuid4().hex, worker
        self.out, self.err = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115 (`close` closes them)
        self.process = subprocess.Popen(
            [sys.executable, *arguments], cwd=folder, stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.err,
            env=os.environ | {MARK: self.mark, "CI": "true", "PYTHONUNBUFFERED": "1"} | environment,
            start_new_session=True,
        )  # fmt: skip

    def text(self, stream):
        """Return what the command has written to "out" or "err" so far."""
        file = getattr(self, stream)
        file.seek(0)
        return file.read().decode("utf-8", "replace")

    def family(self):
        """Return the ids of the processes of the command that are alive, the first one included."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended, or belongs to somebody else
                if f"{MARK}={self.mark}".encode() in (path / "environ").read_bytes().split(b"\0"):
                    state = (path / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0]
                    found += [int(path.name)] if state != "Z" else []
        return found

    def workers(self):
        """Return the ids of the worker processes."""
        found = []
        for number in self.family():
            with suppress(OSError):
                found += [number] if self.worker in Path(f"/proc/{number}/cmdline").read_bytes() else []
        return found

    def send(self, name, target="parent"):
        """Send the signal to the parent, to one worker or to all; return whether there was somebody to receive it."""
        workers = self.workers() if target != "parent" else []
        receivers = {"parent": [self.process.pid], "worker": workers[:1], "all": self.family()}[target]
        sent = False
        for number in receivers:
            with suppress(ProcessLookupError):
                os.kill(number, getattr(signal, name))
                sent = True
        return sent

    def wait_for_handlers(self, seconds=60):
        """Return when the command or a worker handles SIGTERM, the command has ended, or has run for this long.

        While Python starts, nothing can handle a signal. W&B's agent never handles SIGTERM; the trainings that it
        starts do.
        """
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            if any(handles(number, signal.SIGTERM) for number in [self.process.pid, *self.workers()]):
                return
            time.sleep(0.02)

    def wait(self, seconds):
        """Return the exit code; None if the command is still running after this time."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def left_over(self, seconds=15):
        """Return the processes that are still alive this many seconds after the command has ended."""
        deadline = time.monotonic() + seconds
        while self.family() and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.family()

    def close(self):
        """Kill what is left."""
        for number in self.family():
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        self.process.wait(30)
        self.out.close()
        self.err.close()
