"""Archives: round trip, plain NumPy format, and files that are refused."""

import io
import json
import os
import shutil
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.storage import archive, read_archive, write_archive
from tests.support.fuzzing import value_error_names

METADATA = {"name": "ö", "sizes": [3, 4], "value": 0.1 + 0.2, "none": None}
ARRAYS = {
    "W": np.arange(6, dtype=np.float32).reshape(3, 2), "b": np.array([1.5, np.nan]), "empty": np.zeros((0, 2), np.int8),
}  # fmt: skip


def write(path, kind="model", metadata=METADATA, arrays=ARRAYS):
    write_archive(path, kind, metadata, arrays)
    return path


def is_original(metadata, arrays):
    """Whether this is the content that `write` writes by default."""
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


def change_header(path, **changes):
    """Rewrite the archive, with a valid CRC-32, so that these entries of its header are changed."""
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    header = json.loads(arrays.pop("metadata").item()) | changes
    np.savez(path, metadata=np.array(json.dumps(header)), **arrays)


def remove_member(path, name):
    """Rewrite the archive, with a valid CRC-32, without one of its members."""
    with zipfile.ZipFile(path) as file:
        members = {each: file.read(each) for each in file.namelist() if each != name}
    with zipfile.ZipFile(path, "w") as file:
        for each, content in members.items():
            file.writestr(each, content)


def test_archive_round_trip(tmp_path):
    assert is_original(*read_archive(write(tmp_path / "a.npz"), "model"))
    assert os.listdir(tmp_path) == ["a.npz"]


@pytest.mark.parametrize("convert", [str, os.fsencode, lambda path: path])
def test_archive_accepts_any_kind_of_path(tmp_path, convert):
    """The name needs no suffix; NumPy must not append one."""
    path = tmp_path / "a.model"
    if convert is not os.fsencode:
        write(convert(path))
    else:
        write(path)
    assert is_original(*read_archive(convert(path), "model"))
    assert os.listdir(tmp_path) == ["a.model"]


def test_archive_replaces_existing_file(tmp_path):
    path = write(tmp_path / "a.npz", arrays={"other": np.zeros(3)})
    assert is_original(*read_archive(write(path), "model"))


def test_archive_without_arrays(tmp_path):
    assert read_archive(write(tmp_path / "a.npz", arrays={}), "model") == (METADATA, {})


def test_archive_opens_with_numpy_without_pickle(tmp_path):
    path = write(tmp_path / "a.npz")
    with np.load(path, allow_pickle=False) as file:
        assert sorted(file) == ["W", "b", "empty", "metadata"]
        assert all(file[name].dtype != object for name in file)
        np.testing.assert_array_equal(file["W"], ARRAYS["W"])
        assert json.loads(file["metadata"].item())["content"] == METADATA
    with zipfile.ZipFile(path) as file:
        assert all(name.endswith(".npy") for name in file.namelist())


def test_write_archive_object_array_refused(tmp_path):
    path = write(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="allow_pickle=False"):
        write(path, arrays={"a": np.array([object()])})
    assert read_or_refuse(path)


def test_write_archive_metadata_beyond_json_refused(tmp_path):
    path = write(tmp_path / "a.npz")
    with pytest.raises(TypeError, match="not JSON serializable"):
        write(path, metadata={"a": object()})
    assert read_or_refuse(path)
    assert os.listdir(tmp_path) == ["a.npz"]


def test_write_archive_failure_keeps_old_file(tmp_path, monkeypatch):
    path = write(tmp_path / "a.npz")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(path, metadata={})
    assert read_or_refuse(path)
    assert os.listdir(tmp_path) == ["a.npz"]


def test_read_archive_flipped_bit_refused_or_harmless(tmp_path):
    """A flip in a time stamp, for example, changes no content; all others are refused."""
    path = write(tmp_path / "a.npz")
    original = path.read_bytes()
    rng = np.random.default_rng(0)
    positions, bits = rng.integers(0, len(original), 300), rng.integers(0, 8, 300)
    refused = 0
    for position, bit in zip(positions.tolist(), bits.tolist(), strict=True):
        damaged = bytearray(original)
        damaged[position] ^= 1 << bit
        path.write_bytes(damaged)
        refused += not read_or_refuse(path)
    assert refused > 200


def test_read_archive_flipped_bit_in_shape_refused(tmp_path):
    """NumPy reads only as much as the shape needs; the CRC-32 of a member that is not read to its end is unverified."""
    path = write(tmp_path / "a.npz", arrays={"W": np.zeros((784, 2))})
    damaged = path.read_bytes().replace(b"'shape': (784, 2)", b"'shape': (384, 2)")
    path.write_bytes(damaged)
    with np.load(path, allow_pickle=False) as file:
        assert file["W"].shape == (384, 2)
    with pytest.raises(ValueError, match=r"a\.npz is damaged, or not a model of this project \(BadZipFile\)"):
        read_archive(path, "model")


def test_read_archive_cut_file_refused(tmp_path):
    path = write(tmp_path / "a.npz")
    original = path.read_bytes()
    for length in range(len(original)):
        path.write_bytes(original[:length])
        assert not read_or_refuse(path)


def test_read_archive_missing_array_refused(tmp_path):
    path = write(tmp_path / "a.npz")
    remove_member(path, "b.npy")
    with pytest.raises(
        ValueError, match=r"a\.npz is damaged: it has the arrays \['W', 'empty'\].*\['W', 'b', 'empty'\]"
    ):
        read_archive(path, "model")


def test_read_archive_missing_metadata_refused(tmp_path):
    path = write(tmp_path / "a.npz")
    remove_member(path, "metadata.npy")
    with pytest.raises(ValueError, match=r"a\.npz is damaged, or not a model of this project"):
        read_archive(path, "model")


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(lambda tail: b"PK\x03\x04" + tail)))
@settings(deadline=None)
def test_read_archive_random_bytes_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "random.npz"
    path.write_bytes(content)
    assert not read_or_refuse(path)


def single_array():
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def pickled_array():
    buffer = io.BytesIO()
    np.savez(buffer, metadata=np.array([{"kind": "model"}], object))
    return buffer.getvalue()


@pytest.mark.parametrize("content", [b"", b"text", single_array(), pickled_array()])
def test_read_archive_other_formats_refused(tmp_path, content):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz is damaged, or not a model of this project"):
        read_archive(path, "model")


def test_read_archive_other_kind_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.npz is a model, not a checkpoint$"):
        read_archive(write(tmp_path / "a.npz"), "checkpoint")


def test_read_archive_other_version_refused(tmp_path):
    path = write(tmp_path / "a.npz")
    change_header(path, version=9)
    with pytest.raises(ValueError, match=r"a\.npz has format version 9; this code reads version 2$"):
        read_archive(path, "model")


@pytest.mark.parametrize(
    "changes", [{"kind": None}, {"kind": ["model"]}, {"arrays": None}, {"arrays": [1]}, {"version": None}]
)
def test_read_archive_invalid_header_refused(tmp_path, changes):
    path = write(tmp_path / "a.npz")
    change_header(path, **changes)
    with pytest.raises(ValueError, match=r"a\.npz"):
        read_archive(path, "model")


@pytest.mark.parametrize("rest", [b"model 1 0123\nPK", b"checkpoint 1 ", b""])
def test_read_archive_old_format_refused_in_one_sentence(tmp_path, rest):
    path = tmp_path / "a.model"
    path.write_bytes(b"DA6401 " + rest)
    message = r"a\.model has the format of an older version of this project, which is no longer supported$"
    with pytest.raises(ValueError, match=message) as caught:
        read_archive(path, "model")
    assert "\n" not in str(caught.value)


def test_read_archive_unreadable_path_named(tmp_path):
    with pytest.raises(ValueError, match=r"nothing\.npz cannot be read: No such file"):
        read_archive(tmp_path / "nothing.npz", "model")
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        read_archive(tmp_path, "model")
    with pytest.raises(ValueError, match=r"'a\\x00b' is not the name of a file"):
        read_archive("a\0b", "model")


def test_read_archive_closes_file(tmp_path):
    """A damaged file is closed, too: an open file could not be deleted on Windows."""
    path = tmp_path / "a.npz"
    path.write_bytes(b"PK\x03\x04 damaged")
    with pytest.raises(ValueError, match=r"a\.npz"):
        read_archive(path, "model")
    if os.path.isdir("/proc/self/fd"):
        links = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
        assert str(path) not in links
    shutil.rmtree(tmp_path)


def test_file_that_is_too_large_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = write(tmp_path / "a.npz")
    monkeypatch.setattr(archive, "MAX_BYTES", 1000)
    monkeypatch.delattr(np, "load")
    with pytest.raises(ValueError, match=r"a\.npz has 1,\d{3} bytes; a model of this project has at most 1,000"):
        read_archive(path, "model")


@pytest.mark.parametrize(
    ("dtype", "shape", "claimed"),
    [("<f4", (10**12,), None), ("<U0", (10**9,), None), ("<f4", (-2, 2**63 - 10**8), None), ("<f4", (10**8,), 10**9)],
)
def test_array_that_claims_a_huge_shape_is_refused_without_memory(tmp_path, dtype, shape, claimed):
    """The last one claims it in the directory of the archive, too."""
    path = tmp_path / "a.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("W.npy", header.getvalue() + bytes(16))
        file.filelist[0].file_size = claimed or file.filelist[0].file_size
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"a\.npz is damaged"):
            read_archive(path, "model")
        assert tracemalloc.get_traced_memory()[1] < 10**8
    finally:
        tracemalloc.stop()
