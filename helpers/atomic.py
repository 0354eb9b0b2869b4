"""Writing a file so that a crash, a full disk or a kill leaves the old one or the new one, whole."""

import os
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path):
    """Yield a binary file to write to, beside `path`; at the end it is flushed to the disk and renamed to `path`.

    If anything fails, the file beside it is gone and `path` is as it was. Two processes may do so at once.
    """
    path = Path(path)
    aside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with open(aside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        with suppress(OSError):
            aside.unlink()
        raise
