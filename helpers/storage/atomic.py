"""Atomic replacement of a file, and a lock for files that several processes change."""

import errno
import glob
import os
import secrets
import time
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK_TIMEOUT = 60  # seconds
REPLACE_TIMEOUT = 2  # seconds
ABANDONED_AFTER = 600  # seconds without a change of a temporary file


@contextmanager
def atomic_write(path):
    """Open a temporary binary file that replaces `path` when the block ends.

    The file is flushed to the disk and then renamed, so that a crash, a full disk or a kill leaves either the old
    file or the new one, complete. If the block fails, the temporary file is removed. Only a killed process leaves one
    behind (``*.new``); the next write to the same path removes it, once it is ten minutes old. Several processes may
    write the same path. A symbolic link is followed.

    Parameters
    ----------
    path : str or path-like
        The file to write.

    Yields
    ------
    file object
        The temporary file, open for writing bytes.

    Raises
    ------
    OSError
        If the file cannot be written, or if `path` is a directory or a device.
    """
    path = Path(path).resolve()
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    try:
        with open(temporary, "xb") as file:
            remove_abandoned(path, os.fstat(file.fileno()).st_mtime)
            yield file
            file.flush()
            os.fsync(file.fileno())
        replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def remove_abandoned(path, now):
    """Remove the temporary files of killed processes: those of `path` that have not changed for ten minutes.

    `now` is the modification time of a new file: the clock of this process may differ from that of the file system.
    """
    token = "[0-9a-f]" * 8
    with suppress(OSError):
        for temporary in path.parent.glob(f"{glob.escape(path.name)}.{token}.new"):
            if now - temporary.stat().st_mtime > ABANDONED_AFTER:
                temporary.unlink()


def replace(temporary, path):
    """Rename the file; where that is not possible while another process has `path` open (Windows), wait for it."""
    deadline = time.monotonic() + REPLACE_TIMEOUT
    while True:
        try:
            return os.replace(temporary, path)
        except PermissionError:
            if os.name != "nt" or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def locked(path):
    """Return a context manager that holds an exclusive lock, shared by all processes, for changes to `path`.

    The lock is the file ``<path>.lock``. It is released when the block ends, and by the system when the process ends.
    Entering raises TimeoutError if another process keeps the lock for `LOCK_TIMEOUT` seconds.
    """
    from filelock import FileLock

    return FileLock(f"{path}.lock", timeout=LOCK_TIMEOUT)
