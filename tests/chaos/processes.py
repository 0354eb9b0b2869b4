"""Start a command, hurt it, and tell what is left of it."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

MARK = "CHAOS_PROCESS"  # an environment variable, by which descendants are found
# Linux only: /proc tells the environment and the parent of each process
MOUNTS = "CHAOS_MOUNTS"  # an environment variable, which is set in a mount namespace
DISK = "40m"  # size of a disk
COMPILER = shutil.which("cc")  # without one, no clock jumps


def enter_namespace(module):
    """Start the module again in a mount namespace of its own, where that is allowed (as root)."""
    if MOUNTS not in os.environ and shutil.which("unshare"):
        command = ["unshare", "--mount", "--propagation", "private"]
        if subprocess.run([*command, "true"], check=False, capture_output=True).returncode == 0:
            arguments = [*command, sys.executable, "-m", module, *sys.argv[1:]]
            os.execvpe(command[0], arguments, os.environ | {MOUNTS: "1"})


@contextmanager
def new_folder():
    """Make a folder for a round, and remove it; in a mount namespace it is a small disk of its own."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        if MOUNTS not in os.environ:
            yield Path(folder)
            return
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def fill(path):
    """Write a file until the disk is full."""
    with suppress(OSError), open(path, "wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 14))


def jumping_clock(folder):
    """Return the changes of the environment with which the seconds in the file `clock` are added to the time of day."""
    source, library, clock = Path(__file__).with_name("clock.c"), folder / "clock.so", folder / "clock"
    clock.write_text("0", "utf-8")
    subprocess.run([COMPILER, "-shared", "-fPIC", "-O2", "-o", library, source], check=True)
    return {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(clock)}


def handles(number, received):
    """Return whether the process with this number has a handler for a signal; False if it has ended."""
    try:
        status = Path(f"/proc/{number}/status").read_text("utf-8")
    except OSError:
        return False
    return bool(int(status.split("SigCgt:")[1].split()[0], 16) >> (received - 1) & 1)


class Command:
    """A command that runs in a folder, with its output in temporary files.

    Parameters
    ----------
    arguments : list of str
        The arguments after the Python interpreter.
    folder : Path
        The working directory.
    environment : dict, optional
        Changes of the environment.
    file_limit : int, optional
        The largest size of a file in bytes: as on a full disk, what goes beyond is an error.
    output : {"file", "full", "closed"}, default="file"
        Where standard output goes: to a file, to a full disk, or to a pipe that nobody reads.
    worker : bytes
        A part of the command line of each of its workers.
    """

    def __init__(
        self, arguments, folder, environment=None, *, file_limit=None, output="file", worker=b"spawn_main"
    ):  # fmt: skip
        self.mark, self.worker = uuid.uuid4().hex, worker
        self.out, self.err = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115 (`close` closes them)
        environment = os.environ | {MARK: self.mark, "CI": "true", "PYTHONUNBUFFERED": "1"} | (environment or {})

        def limit():
            if file_limit:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))

        target, closed = self.out, None
        if output == "full":
            target = open("/dev/full", "wb")  # noqa: SIM115
        elif output == "closed":
            closed, target = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, *arguments], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=target,
            stderr=self.err, start_new_session=True, preexec_fn=limit,
        )  # fmt: skip
        if output == "full":
            target.close()
        elif output == "closed":
            os.close(target)
            os.close(closed)

    def text(self, stream):
        """Return what the command has written to "out" or "err" so far."""
        file = getattr(self, stream)
        file.seek(0)
        return file.read().decode("utf-8", "replace")

    def family(self):
        """Return the ids of the processes of the command that are alive, the first one included."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if f"{MARK}={self.mark}".encode() in (path / "environ").read_bytes().split(b"\0"):
                    state = (path / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0]
                    found += [int(path.name)] if state != "Z" else []
            except OSError:  # it has ended, or belongs to somebody else
                continue
        return found

    def workers(self):
        """Return the ids of the worker processes."""
        found = []
        for number in self.family():
            try:
                command = Path(f"/proc/{number}/cmdline").read_bytes()
            except OSError:
                continue
            if self.worker in command:
                found.append(number)
        return found

    def send(self, name, target="parent"):
        """Send the signal to the parent, to one worker or to all; return whether there was somebody to receive it."""
        workers = self.workers() if target != "parent" else []
        receivers = {"parent": [self.process.pid], "worker": workers[:1], "all": self.family()}[target]
        sent = False
        for number in receivers:
            try:
                os.kill(number, getattr(signal, name))
                sent = True
            except ProcessLookupError:
                continue
        return sent

    def wait_for_handlers(self, seconds=20):
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
            try:
                os.kill(number, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(30)
        self.out.close()
        self.err.close()
