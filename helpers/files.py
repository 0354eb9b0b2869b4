"""Write and read files, such that a crash never leaves an incomplete one."""

import json
import os
import secrets
import time
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

VERSION = 3
MAX_BYTES = 8 * 2**30  # of an archive; the largest checkpoint, six vectors of 50 million float64 numbers, has 2.4 GB
LOCK_TIMEOUT = 60  # seconds
REPLACE_TIMEOUT = 2  # seconds


@contextmanager
def atomic_write(path):
    """Open a temporary binary file that replaces `path` when the block ends.

    The file is flushed to the disk and then renamed, so that a crash, a full disk or a kill leaves either the old file
    or the new one, complete. If the block fails, the temporary file is removed. Several processes may write the same
    path. A symbolic link is followed. Raises OSError if the file cannot be written.
    """
    path = Path(path).resolve()
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


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


def locked(path, timeout=LOCK_TIMEOUT):
    """Return a context manager that holds an exclusive lock, the file ``<path>.lock``, for changes to `path`.

    The lock is shared by all processes, and released by the system when a process ends. Entering raises TimeoutError
    if another process keeps the lock for `timeout` seconds.
    """
    from filelock import FileLock

    return FileLock(f"{path}.lock", timeout=timeout)


def write_archive(path, kind, metadata, arrays):
    """Write named arrays and metadata to an uncompressed ``.npz`` file, atomically.

    ``numpy.load(path, allow_pickle=False)`` opens the file without this package. The metadata, anything that JSON can
    represent, are stored as a string in the array ``metadata``, with the kind, such as "model", and the version of the
    format. Raises OSError if the file cannot be written; an existing file is then unchanged.
    """
    header = np.array(json.dumps({"kind": kind, "version": VERSION, "content": metadata}))
    with atomic_write(path) as file:
        np.savez(file, metadata=header, **arrays)


def read_archive(path, kind):
    """Return ``(metadata, arrays)`` of a file that `write_archive` wrote.

    Raises ValueError, with the name of the file, if it cannot be read, is damaged, or is of another kind or version.
    """
    try:
        size = os.path.getsize(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if size > MAX_BYTES:
        raise ValueError(f"{path} has {size:,} bytes; a {kind} of this project has at most {MAX_BYTES:,}")
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            if archive.zip.testzip() is not None:  # np.load does not check every CRC-32
                raise zipfile.BadZipFile
            arrays = dict(archive)
        header = json.loads(arrays.pop("metadata").item())
        found, version, content = header["kind"], header["version"], header["content"]
    except Exception as error:  # zipfile, NumPy and json raise about ten different types for damaged files
        raise ValueError(f"{path} is damaged, or not a {kind} of this project ({type(error).__name__})") from None
    if found != kind:
        raise ValueError(f"{path} is a {found}, not a {kind}")
    if version != VERSION:
        raise ValueError(
            f"{path} was written by another version of this project (format {version}; this one reads {VERSION}): "
            f"write it again, or name another file"
        )
    return content, arrays
