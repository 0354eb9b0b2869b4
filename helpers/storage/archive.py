"""Arrays and JSON metadata in one NumPy ``.npz`` file."""

import json
import math
import os
import zipfile

import numpy as np

from helpers.storage.atomic import atomic_write

VERSION = 2
MAX_BYTES = 8 * 2**30  # of a file; the largest checkpoint, six vectors of 50 million float64 numbers, has 2.4 GB
OLD_FORMAT = b"DA6401 "  # how files of version 1 begin


def write_archive(path, kind, metadata, arrays):
    """Write named arrays and metadata to an uncompressed ``.npz`` file, atomically.

    ``numpy.load(path, allow_pickle=False)`` opens the file without this package. The metadata are stored as a JSON
    string in the array named ``metadata``, together with the kind, the format version and the names of the arrays.

    Parameters
    ----------
    path : str or path-like
        The file to write.
    kind : str
        What the file holds, such as ``"model"``.
    metadata : dict
        Anything that JSON can represent.
    arrays : dict of str to ndarray
        The arrays by name.

    Raises
    ------
    OSError
        If the file cannot be written; an existing file is then unchanged.
    TypeError
        If JSON cannot represent the metadata.
    ValueError
        If an array holds Python objects, which only pickle could store.
    """
    objects = [name for name, array in arrays.items() if array.dtype.hasobject]
    if objects:
        raise ValueError(f"{', '.join(objects)} holds Python objects, which are not stored (allow_pickle=False)")
    header = {"kind": kind, "version": VERSION, "arrays": sorted(arrays), "content": metadata}
    header = np.array(json.dumps(header))
    with atomic_write(path) as file:
        np.savez(file, metadata=header, **arrays)


def is_as_large_as_it_claims(archive, member):
    """Return whether the member is uncompressed and holds the bytes that its header claims; np.load allocates these."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    possible = version == (1, 0) and dtype.itemsize > 0 and min(shape, default=0) >= 0
    uncompressed = member.compress_type == zipfile.ZIP_STORED and member.file_size == member.compress_size
    return possible and uncompressed and math.prod(shape) * dtype.itemsize < member.file_size


def read_archive(path, kind):
    """Return ``(metadata, arrays)`` of a file that `write_archive` wrote.

    Raises
    ------
    ValueError
        If the file cannot be read, is damaged, or is of another kind or version. The message names the file.
    """
    try:
        with open(path, "rb") as file:
            old, size = file.read(len(OLD_FORMAT)) == OLD_FORMAT, os.fstat(file.fileno()).st_size
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:  # a null byte in the name
        raise ValueError(f"{str(path)!r} is not the name of a file") from None
    if old:
        raise ValueError(f"{path} has the format of an older version of this project, which is no longer supported")
    if size > MAX_BYTES:
        raise ValueError(f"{path} has {size:,} bytes; a {kind} of this project has at most {MAX_BYTES:,}")
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            if not all(is_as_large_as_it_claims(archive.zip, member) for member in archive.zip.infolist()):
                raise zipfile.BadZipFile  # a small file cannot become large in memory
            if archive.zip.testzip() is not None:  # np.load skips the CRC-32 if a damaged shape is too small
                raise zipfile.BadZipFile
            arrays = dict(archive)
        header = json.loads(arrays.pop("metadata").item())
        found, version, names = header["kind"], header["version"], header["arrays"]
    except Exception as error:  # zipfile, NumPy and json raise about ten different types for damaged files
        raise ValueError(f"{path} is damaged, or not a {kind} of this project ({type(error).__name__})") from None
    if found != kind:
        raise ValueError(f"{path} is a {found}, not a {kind}")
    if version != VERSION:
        raise ValueError(f"{path} has format version {version!r}; this code reads version {VERSION}")
    if sorted(arrays) != names:
        raise ValueError(f"{path} is damaged: it has the arrays {sorted(arrays)}, but should have {names}")
    return header["content"], arrays
