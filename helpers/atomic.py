"""Writing a file so that a crash, a full disk or a kill leaves the old one or the new one, whole."""

import errno
import os
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path):
    """Yield a binary file to write to, beside `path`; at the end it is flushed to the disk and renamed to `path`.

    If anything fails, the file beside it is gone and `path` is as it was; only a kill leaves one, a *.new. Several may
    write at once. A link stays a link. Raises OSError, also for what is no file, such as a folder or a device.
    """
    path = Path(path).resolve()
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    try:
        with open(aside, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        with suppress(OSError):
            aside.unlink()
        raise
