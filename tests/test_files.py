"""Files that are complete or refused: atomic writes, locks, archives."""

import io
import json
import os
import subprocess

import numpy as np
import pytest

from helpers import files
from helpers.files import atomic_write, locked, read_archive, write_archive
from tests.support.environment import run_python, start_python
from tests.support.fuzzing import value_error_names

METADATA = {"name": "ö", "sizes": [3, 4], "value": 0.1 + 0.2, "none": None}
ARRAYS = {
    "W": np.arange(6, dtype=np.float32).reshape(3, 2), "b": np.array([1.5, np.nan]), "empty": np.zeros((0, 2), np.int8),
}  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.npz"


def test_atomic_write_replaces_file_at_end_of_block(path):
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
        with atomic_write(path) as second:  # has a temporary file of its own
            second.write(b"2")
        assert path.read_bytes() == b"2"
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_atomic_write_failure_keeps_old_file(error, path):
    def write():
        with atomic_write(path) as file:
            file.write(b"new")
            raise error

    path.write_bytes(b"old")
    with pytest.raises(error):
        write()
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == [path.name]


def test_atomic_write_folder_refused_and_link_followed(path):
    with pytest.raises(OSError), atomic_write(path.parent) as file:  # noqa: PT011 (its text depends on the system)
        file.write(b"new")
    assert os.listdir(path.parent) == []
    (path.parent / "link").symlink_to(path.name)
    with atomic_write(path.parent / "link") as file:
        file.write(b"new")
    assert (path.parent / "link").is_symlink()
    assert path.read_bytes() == b"new"


@pytest.mark.slow
def test_locked_two_processes_lose_no_change(path):
    """Each of two processes reads a number, adds one and writes it, 50 times."""
    code = (
        "import sys; from pathlib import Path; from helpers.files import atomic_write, locked\n"
        "path = Path(sys.argv[1])\n"
        "for _ in range(50):\n"
        "    with locked(path):\n"
        "        number = int(path.read_text())\n"
        "        with atomic_write(path) as file: file.write(str(number + 1).encode())\n"
    )
    path.write_text("0")
    processes = [start_python(code, path, stderr=subprocess.PIPE) for _ in range(2)]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=600)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
            process.wait(timeout=600)
    assert path.read_text() == "100"


@pytest.mark.slow
def test_lock_excludes_others_and_is_free_after_its_holder_is_killed(path):
    code = "import os, sys, signal; from helpers.files import locked\nwith locked(sys.argv[1]): "
    with locked(path), pytest.raises(TimeoutError), locked(path, timeout=0.05):
        pass
    assert run_python(code + "os._exit(9)", path).returncode == 9
    with locked(path, timeout=0):
        pass


def is_original(metadata, arrays):
    """Whether this is the content METADATA and ARRAYS."""
    return (
        metadata == METADATA
        and set(arrays) == set(ARRAYS)
        and all(arrays[name].dtype == a.dtype for name, a in ARRAYS.items())
        and all(np.array_equal(arrays[name], a, equal_nan=True) for name, a in ARRAYS.items())
    )


def read_or_refuse(path):
    """Return True if the archive has its original content, False if it is refused with its name; else fail."""
    content = None
    with value_error_names(str(path)):
        content = read_archive(path, "model")
    assert content is None or is_original(*content)
    return content is not None


def change(path, **header):
    """Rewrite the archive, with a valid CRC-32, so that these entries of its header are changed."""
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    changed = json.loads(arrays.pop("metadata").item()) | header
    np.savez(path, metadata=np.array(json.dumps(changed)), **arrays)


@pytest.mark.parametrize("convert", [str, lambda path: path])
def test_archive_round_trip(tmp_path, convert):
    """The name needs no suffix; NumPy must not append one. An existing file is replaced."""
    path = convert(tmp_path / "a.model")
    write_archive(path, "model", {}, {})
    assert read_archive(path, "model") == ({}, {})
    write_archive(path, "model", METADATA, ARRAYS)
    assert is_original(*read_archive(path, "model"))
    assert os.listdir(tmp_path) == ["a.model"]
    with np.load(path, allow_pickle=False) as file:  # opens without this package
        assert sorted(file) == ["W", "b", "empty", "metadata"]
        assert json.loads(file["metadata"].item())["content"] == METADATA


def test_damaged_archive_is_refused_or_harmless(path):
    """A flip in a time stamp, for example, changes no content; cuts and all other flips are refused."""
    write_archive(path, "model", METADATA, ARRAYS)
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_archive(path, "model", {"a": object()}, {})
    original = path.read_bytes()
    assert read_or_refuse(path)  # it is still the old file
    other, pickled = io.BytesIO(), io.BytesIO()
    np.savez(other, W=np.zeros(3))
    np.savez(pickled, metadata=np.array([{"kind": "model"}], object))
    cuts = [original[:length] for length in range(0, len(original), 13)]
    for content in (*cuts, b"text", b"PK\x03\x04text", other.getvalue(), pickled.getvalue()):
        path.write_bytes(content)
        assert not read_or_refuse(path)
    rng = np.random.default_rng(0)
    refused = 0
    for position, bit in rng.integers(0, (len(original), 8), (200, 2)).tolist():
        damaged = bytearray(original)
        damaged[position] ^= 1 << bit
        path.write_bytes(damaged)
        refused += not read_or_refuse(path)
    assert refused > 100


def test_flipped_bit_in_a_shape_is_refused(path):
    """NumPy reads only as much as the shape needs, and checks no CRC-32 of a member that is not read to its end."""
    write_archive(path, "model", {}, {"W": np.zeros((784, 2))})
    path.write_bytes(path.read_bytes().replace(b"'shape': (784, 2)", b"'shape': (384, 2)"))
    with np.load(path, allow_pickle=False) as file:
        assert file["W"].shape == (384, 2)
    with pytest.raises(ValueError, match=r"a\.npz is damaged, or not a model of this project \(BadZipFile\)"):
        read_archive(path, "model")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"kind": "checkpoint"}, r"a\.npz is a checkpoint, not a model$"),
        ({"version": 2}, r"written by another version of this project \(format 2; this one reads 3\): write it again"),
        ({"version": None}, "written by another version of this project"),
    ],
)
def test_other_kind_or_version_is_refused_in_one_sentence(path, header, message):
    write_archive(path, "model", METADATA, ARRAYS)
    change(path, **header)
    with pytest.raises(ValueError, match=message) as caught:
        read_archive(path, "model")
    assert "\n" not in str(caught.value)


def test_unreadable_or_too_large_file_is_named(path, monkeypatch):
    with pytest.raises(ValueError, match=r"a\.npz cannot be read: No such file"):
        read_archive(path, "model")
    with pytest.raises(ValueError, match="is damaged, or not a model"):
        read_archive(path.parent, "model")
    with pytest.raises(ValueError, match="a\0b cannot be read"):
        read_archive("a\0b", "model")
    write_archive(path, "model", METADATA, ARRAYS)
    monkeypatch.setattr(files, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match=r"a\.npz has 1,\d{3} bytes; a model of this project has at most 1,000"):
        read_archive(path, "model")
