"""Write and read files, such that a crash never leaves an incomplete one. Independent of the other packages."""

from helpers.storage.archive import read_archive, write_archive
from helpers.storage.atomic import atomic_write, locked

__all__ = ["atomic_write", "locked", "read_archive", "write_archive"]
