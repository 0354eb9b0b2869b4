"""How files are written and read, so that a crash never leaves half of one. Knows nothing of networks."""

from helpers.storage.archive import read_archive, write_archive
from helpers.storage.atomic import atomic_write, locked

__all__ = ["atomic_write", "locked", "read_archive", "write_archive"]
