"""The sources of the data files: their order, downloads, and damaged files."""

import gzip
import hashlib
import http.server
import os
import shutil
import signal
import tempfile
import threading
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from helpers.data import sources
from helpers.data.sources import FILES, FOLDERS, DamagedFile, load_raw
from tests.support import samples
from tests.support.datasets import sample_arrays
from tests.support.environment import run_python
from tests.support.samples import make_sample, write_files

TEMPORARY = tempfile.TemporaryDirectory()
PUBLISHED = Path(TEMPORARY.name)  # small data sets, which the tests take for the published ones
SHA256 = {
    dataset: write_files([a[:n] for a, n in zip(sample_arrays(dataset)[0], (200, 200, 50, 50), strict=True)], folder)
    for dataset, folder in ((dataset, PUBLISHED / name) for dataset, name in FOLDERS.items())
}
INTACT = PUBLISHED / "fashion-mnist"


class Server(http.server.BaseHTTPRequestHandler):
    """Serves the files of the class attribute `files`: {name: (bytes, declared length)}."""

    files: ClassVar = {}

    def do_GET(self):
        name = self.path.rsplit("/", 1)[-1]
        if name not in self.files:
            self.send_error(404)
            return
        body, length = self.files[name]
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Print nothing."""


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """An empty Keras cache, no system folder, no Keras, no network; the published data sets are small."""
    monkeypatch.setattr(sources, "SHA256", SHA256)
    monkeypatch.setattr(sources, "SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("DATASETS_DIR", raising=False)
    monkeypatch.setattr(sources, "BASE_URL", "http://127.0.0.1:9/nobody")
    keras(monkeypatch, ImportError("no backend"))
    return tmp_path


@pytest.fixture
def server(places, monkeypatch):
    """A server of the files at the address of Keras's data sets; the dict of its files."""
    files = {path.name: (path.read_bytes(), path.stat().st_size) for path in INTACT.iterdir()}
    monkeypatch.setattr(Server, "files", files)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setattr(sources, "BASE_URL", f"http://127.0.0.1:{running.server_port}/data")
        yield files
        running.shutdown()


def keras(monkeypatch, error=None, damage=lambda path: None):
    """Let Keras put the files, one of which may be damaged, into its cache where it has none, and raise the error."""

    def load(dataset):
        folder = sources.keras_cache() / "fashion-mnist"
        if not (error or folder.exists()):
            damage(put(folder) / f"{FILES[1]}.gz")
        if error:
            raise error

    monkeypatch.setattr(sources, "load_with_keras", load)


def put(folder):
    shutil.copytree(INTACT, folder)
    return folder


def source(allow_sample=False):
    return load_raw("fashion_mnist", allow_sample)[1]


def contents(folder):
    """Return the contents of a folder: {name: bytes}, with None for a subfolder."""
    return {path.name: path.read_bytes() if path.is_file() else None for path in folder.iterdir()}


# ---- ways to damage a file ----


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip_bit(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def empty(path):
    path.write_bytes(b"")


def swap(path):
    """An intact file with other contents."""
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[::-1]))


def unreadable(path):
    """A folder: it cannot be read by any user. Missing permissions would not stop root, who also runs tests."""
    path.unlink()
    path.mkdir()


def remove(path):
    path.unlink()


every_damage = pytest.mark.parametrize("damage", [truncate, flip_bit, empty, swap, unreadable])
every_file = pytest.mark.parametrize("name", FILES)


# ---- the order of the sources ----


def test_load_raw_source_order(places, monkeypatch, server):
    assert source() == "a download"
    server.clear()
    assert source() == "Keras's cache"
    shutil.rmtree(places / "keras")
    put(places / "system" / "fashion-mnist")
    assert source() == "the system package"
    put(places / "keras" / "datasets" / "fashion-mnist")
    assert source() == "Keras's cache"
    put(places / "own folder é" / "fashion-mnist")
    monkeypatch.setenv("DATASETS_DIR", str(places / "own folder é"))
    assert source() == "the folder in DATASETS_DIR"


def test_load_raw_returns_arrays_of_files(places):
    put(places / "system" / "fashion-mnist")
    (x, y, x_test, y_test), _, variant = load_raw("fashion_mnist", False)
    assert (x.shape, y.shape, x_test.shape, y_test.shape) == ((200, 28, 28), (200,), (50, 28, 28), (50,))
    assert x.dtype == np.uint8
    raw = gzip.decompress((INTACT / f"{FILES[0]}.gz").read_bytes())
    assert x.tobytes() == raw[16:]
    assert variant == ""


@pytest.mark.parametrize(
    ("place", "name", "packed"),
    [
        ("", "{}.gz", True),  # as downloaded
        ("fashion-mnist", "{}.gz", True),
        ("FashionMNIST/raw", "{}", False),  # torchvision
        ("Fashion-MNIST", "{}", False),
        ("kaggle/input/fashionmnist", "{}", False),
        ("", "{0}/{0}", False),  # a folder named like its file
        ("", "{}.gz", False),  # unpacked, but not renamed
        ("", "{}", True),  # renamed, but not unpacked
        ("Downloads", "{} (1).gz", True),  # a browser
        ("7zip", "7-Zip", False),
    ],
)
def test_datasets_dir_in_any_layout(place, name, packed, places, monkeypatch):
    """The contents identify the files; those of the other data set lie beside them."""
    for dataset in ("mnist", "fashion-mnist"):
        for path in (PUBLISHED / dataset).iterdir():
            file = path.with_suffix("").name
            file = file.replace("-idx", ".idx") if name == "7-Zip" else name.format(file)
            target = places / "own" / ("" if dataset == "fashion-mnist" else "other") / place / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes() if packed else gzip.decompress(path.read_bytes()))
    monkeypatch.setenv("HOME", str(places))
    monkeypatch.setenv("DATASETS_DIR", "~/own")
    for dataset in sources.TITLES:
        arrays, where, variant = load_raw(dataset, False)
        assert (where, variant) == ("the folder in DATASETS_DIR", "")
        expected = sources.read_folder(PUBLISHED / FOLDERS[dataset], SHA256[dataset])
        assert all(np.array_equal(a, b) for a, b in zip(arrays, expected, strict=True))


@pytest.mark.parametrize("unpacked", [False, True])
def test_datasets_dir_with_the_other_data_set_alone_is_passed(unpacked, places, monkeypatch):
    """Also where each file lies twice, packed and unpacked, as torchvision leaves them."""
    put(places / "own")
    for name in FILES * unpacked:
        (places / "own" / name).write_bytes(gzip.decompress((places / "own" / f"{name}.gz").read_bytes()))
    shutil.copytree(PUBLISHED / "mnist", places / "system" / "mnist")
    monkeypatch.setenv("DATASETS_DIR", str(places / "own"))
    assert load_raw("mnist", False)[1] == "the system package"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda own: None, "is not a folder; set it to one that has the data, or unset it"),
        (lambda own: own.mkdir(), r"has not all files of Fashion-MNIST: train-images.* missing\. It has: nothing"),
        (lambda own: [own.mkdir(), (own / "a.zip").touch()], r"missing\. It has: a\.zip"),
        (lambda own: shutil.copytree(PUBLISHED / "mnist", own / "fashion-mnist"), "is MNIST's"),
        (lambda own: [put(own), truncate(own / f"{FILES[0]}.gz")], f"{FILES[0]} missing.*cannot be read"),
        (lambda own: [put(own), swap(own / f"{FILES[0]}.gz")], f"{FILES[0]}.gz is damaged, or a different file"),
    ],
)
def test_datasets_dir_never_passes_without_effect(make, message, places, monkeypatch):
    put(places / "system" / "fashion-mnist")
    make(places / "own")
    monkeypatch.setenv("DATASETS_DIR", str(places / "own"))
    with pytest.raises(ValueError, match=message):
        source()


def write_csv(path, rows, header=True, change=lambda table: None):
    """Write a table as Kaggle's, with a few images again and again."""
    images, labels = (array[:100] for array in sources.read_folder(INTACT, SHA256["fashion_mnist"])[:2])
    table = np.column_stack([labels, images.reshape(100, -1)])[np.arange(rows) % 100].astype(object)
    change(table)
    lines = [",".join(map(str, row)) for row in table]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(["label," + ",".join(f"pixel{i}" for i in range(1, 785))] * header + lines), "utf-8")


@pytest.mark.parametrize("header", [True, False])
def test_csv_files_of_kaggle_are_a_data_set_of_their_own(header, places, monkeypatch):
    monkeypatch.setattr(sources, "CSV_ROWS", {"train": 300, "test": 200})
    for part, rows in sources.CSV_ROWS.items():
        write_csv(places / "own" / f"fashion-mnist_{part}.csv", rows, header)
    monkeypatch.setenv("DATASETS_DIR", str(places / "own"))
    (x, y, x_test, y_test), where, variant = load_raw("fashion_mnist", False)
    assert (where, variant) == ("the folder in DATASETS_DIR", "Kaggle's CSV")
    assert (x.shape, y.shape, x_test.shape, y_test.shape) == ((300, 28, 28), (300,), (200, 28, 28), (200,))
    expected, labels, *_ = sources.read_folder(INTACT, SHA256["fashion_mnist"])
    np.testing.assert_array_equal(x[:100], expected[:100])
    np.testing.assert_array_equal(y[100:200], labels[:100])
    shutil.copytree(PUBLISHED / "mnist", places / "system" / "mnist")
    assert load_raw("mnist", False)[1] == "the system package"  # the folder has Fashion-MNIST alone
    put(places / "own" / "idx")
    assert load_raw("fashion_mnist", False)[2] == ""  # the published files come first


def set_cell(row, column, value):
    def change(table):
        table[row, column] = value

    return change


@pytest.mark.parametrize(
    ("rows", "change", "message"),
    [
        (300, set_cell(7, 9, "x"), "could not convert string to float: 'x'"),
        (300, set_cell(7, 9, ""), "nan in row 8, column 10"),
        (300, set_cell(7, 9, 256), "784 pixels 0 … 255 in each row: 256 in row 8, column 10"),
        (300, set_cell(7, 9, -1), "-1 in row 8, column 10"),
        (300, set_cell(7, 9, 1.5), "1.5 in row 8, column 10"),
        (300, set_cell(7, 9, 10**20), r"1e\+20 in row 8, column 10"),
        (300, set_cell(7, 0, 10), "all ten labels"),
        (300, set_cell(7, 9, "1,2"), "Expected 785 fields"),
        (300, set_cell(slice(None), 0, 3), "all ten labels; it has 300 × 785"),
        (299, lambda table: None, "it needs 300 × 785 .* it has 299"),
        (500, lambda table: None, "it needs 300 × 785 .* it has 301"),
    ],
)
def test_csv_file_that_is_no_table_of_images(rows, change, message, places, monkeypatch):
    monkeypatch.setattr(sources, "CSV_ROWS", {"train": 300, "test": 200})
    write_csv(places / "own" / "fashion-mnist_train.csv", rows, change=change)
    write_csv(places / "own" / "fashion-mnist_test.csv", 200)
    monkeypatch.setenv("DATASETS_DIR", str(places / "own"))
    with pytest.raises(ValueError, match=rf"fashion-mnist_train\.csv cannot be read as Kaggle's table .*{message}"):
        source()


def test_load_raw_skips_cache_without_permission(places, monkeypatch):
    """For another user's home, os.path.exists returns False, where Path.exists raises."""
    put(places / "system" / "fashion-mnist")
    monkeypatch.setattr(Path, "exists", lambda path: 1 / 0 if "keras" in str(path) else os.path.exists(path))
    assert source() == "the system package"


# ---- damaged files ----


@every_damage
@every_file
def test_load_raw_damaged_cache_uses_system_package(places, server, damage, name):
    """Also where they could be downloaded."""
    cache = put(places / "keras" / "datasets" / "fashion-mnist")
    damage(cache / f"{name}.gz")
    before = contents(cache)
    put(places / "system" / "fashion-mnist")
    arrays, where, variant = load_raw("fashion_mnist", False)
    assert (where, variant) == ("the system package", "")
    assert [len(a) for a in arrays] == [200, 200, 50, 50]
    assert contents(cache) == before


@every_damage
@every_file
def test_load_raw_damaged_cache_downloaded_again(places, server, damage, name):
    cache = put(places / "keras" / "datasets" / "fashion-mnist")
    damage(cache / f"{name}.gz")
    assert source() == "a download"
    if damage is not unreadable:  # a folder cannot be replaced by a file
        assert source() == "Keras's cache"
    assert sorted(os.listdir(cache)) == sorted(f"{name}.gz" for name in FILES)


@every_damage
def test_load_raw_damaged_cache_named_without_other_source(places, damage):
    """Also where the sample takes its place; the file is not changed."""
    cache = put(places / "keras" / "datasets" / "fashion-mnist")
    path = cache / f"{FILES[2]}.gz"
    damage(path)
    before = contents(cache)
    message = f"{path.name}.*delete it.*could not be downloaded .*urlopen error"
    with pytest.raises(FileNotFoundError, match=message):
        source()
    with pytest.warns(UserWarning, match=message):
        assert source(allow_sample=True) == "the sample in helpers/data/samples"
    assert contents(cache) == before


@pytest.mark.parametrize("damage", [truncate, flip_bit, empty, swap, unreadable, remove])
def test_load_raw_damaged_file_of_the_system_package_named(places, damage):
    damage(put(places / "system" / "fashion-mnist") / f"{FILES[1]}.gz")
    with pytest.raises(DamagedFile, match=FILES[1]):
        source()


# ---- downloads ----


def test_keras_downloads_into_its_cache(places, monkeypatch):
    keras(monkeypatch)
    assert source() == "a download"
    keras(monkeypatch, ImportError())
    assert source() == "Keras's cache"


@pytest.mark.parametrize("damage", [truncate, remove])
def test_what_keras_leaves_incomplete_is_downloaded_again(places, monkeypatch, server, damage):
    """As a download that was killed, or one that another process has begun."""
    keras(monkeypatch, damage=damage)
    assert source() == "a download"
    assert contents(places / "keras" / "datasets" / "fashion-mnist") == contents(INTACT)


def test_download_without_keras_fills_its_cache(places, server):
    assert source() == "a download"
    assert contents(places / "keras" / "datasets" / "fashion-mnist") == contents(INTACT)
    server.clear()
    assert source() == "Keras's cache"


def test_interrupted_download_keeps_cache(places, monkeypatch, server):
    cache = put(places / "keras" / "datasets" / "fashion-mnist")
    truncate(cache / f"{FILES[0]}.gz")
    before = contents(cache)
    monkeypatch.setattr(sources, "read_keras_cache", lambda *_: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        sources.download("fashion_mnist", cache.parent)
    assert contents(cache) == before
    assert os.listdir(cache.parent) == ["fashion-mnist"]


def test_download_with_read_only_cache(places, server):
    (places / "keras").write_text("a file in place of the folder")
    assert source() == "a download"
    assert source() == "a download"


def test_download_on_full_disk_falls_back_to_sample(monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sources.tempfile, "TemporaryDirectory", full)
    with pytest.warns(UserWarning, match="this is a sample"):
        assert load_raw("fashion_mnist", True)[2] == "sample"
    with pytest.raises(FileNotFoundError, match="No space left"):
        source()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda body, length: (body[:-100], length), "the downloaded file is damaged"),
        (lambda body, length: (body[:-100], length - 100), "the downloaded file is damaged"),
        (lambda body, length: (body[:500] + b"?" + body[501:], length), "the downloaded file is damaged"),
        (lambda body, length: (b"<html>log in</html>", 19), "the downloaded file is damaged"),
    ],
    ids=["cut", "short", "flipped", "portal"],
)
def test_damaged_download_is_refused(places, server, change, message):
    server[f"{FILES[0]}.gz"] = change(*server[f"{FILES[0]}.gz"])
    with pytest.raises(FileNotFoundError, match=message):
        source()
    assert not (places / "keras").exists()


def test_download_of_a_missing_file_names_the_address(places, server):
    del server[f"{FILES[3]}.gz"]
    with pytest.raises(FileNotFoundError, match=rf"http://127\.0\.0\.1:\d+/data/{FILES[3]}\.gz: HTTP Error 404"):
        source()


def test_mnist_is_downloaded_as_one_file():
    with pytest.raises(FileNotFoundError, match=r"nobody/mnist\.npz: <urlopen error"):
        load_raw("mnist", False)


@pytest.mark.slow
def test_real_keras(places):
    """It reads what is in its cache as we do, downloads with a time limit, and needs no network otherwise."""
    put(places / "keras" / "datasets" / "fashion-mnist")
    code = (
        "import socket; from helpers.data import sources; import keras, numpy as np\n"
        f"sources.SHA256 = {SHA256}; arrays = sources.load_raw('fashion_mnist', False)[0]\n"
        "theirs = [a for part in keras.datasets.fashion_mnist.load_data() for a in part]\n"
        "assert all(np.array_equal(a, b) for a, b in zip(arrays, theirs, strict=True))\n"
        "keras.utils.get_file = lambda *_, **__: print(socket.getdefaulttimeout()) or 1 / 0\n"
        "import keras.src.datasets.mnist as mnist; mnist.get_file = keras.utils.get_file\n"
        "try: sources.load_with_keras('mnist')\n"
        "except ZeroDivisionError: print(socket.getdefaulttimeout())"
    )
    result = run_python(code, env=os.environ | {"KERAS_BACKEND": "jax"})
    assert result.stdout.split()[-2:] == ["30.0", "None"], result.stderr


@pytest.mark.slow
def test_load_data_imports_keras_only_for_download(places):
    put(places / "keras" / "datasets" / "fashion-mnist")
    code = (
        f"import sys; from helpers.data import load_data, sources; sources.SHA256 = {SHA256}\n"
        "import helpers.nn; load_data(); print('keras' in sys.modules)"
    )
    result = run_python(code)
    assert result.stdout.strip().endswith("False"), result.stderr


# ---- no source, and the sample ----


@pytest.mark.parametrize("debian", [True, False])
def test_load_raw_without_source_advises(debian, monkeypatch):
    """The package, where there are such packages."""
    monkeypatch.setattr(Path, "exists", lambda path: debian if "debian" in str(path) else os.path.exists(path))
    with pytest.raises(FileNotFoundError, match=r"urlopen error.*connect to the network.*DATASETS_DIR") as caught:
        source()
    assert ("dataset-fashion-mnist" in str(caught.value)) == debian


def test_load_raw_advises_about_certificates(monkeypatch):
    def refuse(*_, **__):
        raise OSError("<urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed>")

    monkeypatch.setattr(sources.urllib.request, "urlopen", refuse)
    with pytest.warns(UserWarning, match=r"CERTIFICATE_VERIFY_FAILED.* set SSL_CERT_FILE to the file with your"):
        load_raw("fashion_mnist", True)


def test_load_raw_sample_only_if_allowed_and_with_warning():
    with pytest.warns(UserWarning, match=r"sample of 6,000 \+ 1,000 images") as warned:
        _, where, variant = load_raw("fashion_mnist", True)
    assert variant == "sample"
    assert where == "the sample in helpers/data/samples"
    assert not any(os.path.isabs(warning.filename) for warning in warned)  # no path of this machine


@pytest.mark.parametrize("dataset", FOLDERS)
def test_samples_intact(dataset):
    arrays, _ = sample_arrays(dataset)
    assert [len(a) for a in arrays] == [6000, 6000, 1000, 1000]
    assert np.bincount(arrays[1]).min() > 500


def test_make_sample_stratified_and_reproducible(places, monkeypatch):
    n_train, n_test = np.arange(12000), np.arange(2000)
    full = [np.zeros((12000, 2, 2), np.uint8), n_train % 10, np.zeros((2000, 2, 2), np.uint8), n_test % 10]
    full = [a.astype(np.uint8) for a in full]
    monkeypatch.setattr(samples, "load_raw", lambda dataset, allow_sample: (full, "", False))
    digests = make_sample("mnist", places / "a")
    assert digests == make_sample("mnist", places / "b")
    for name in FILES:
        path = places / "a" / "mnist" / f"{name}.gz"
        assert path.read_bytes() == (places / "b" / "mnist" / path.name).read_bytes()
    arrays = sources.read_folder(places / "a" / "mnist", digests)
    np.testing.assert_array_equal(np.bincount(arrays[1]), [600] * 10)
    np.testing.assert_array_equal(np.bincount(arrays[3]), [100] * 10)


# ---- MNIST, which Keras stores in one file ----


def keras_mnist(places, **arrays):
    cache = places / "keras" / "datasets"
    cache.mkdir(parents=True)
    np.savez(cache / "mnist.npz", **arrays)
    return cache / "mnist.npz"


def test_load_raw_mnist_damaged_cache_named(places):
    path = keras_mnist(places, x_train=np.zeros((1, 28, 28)))
    with pytest.raises(FileNotFoundError, match=r"mnist\.npz is damaged"):
        load_raw("mnist", False)
    assert os.listdir(path.parent) == ["mnist.npz"]


def test_load_raw_mnist_damaged_cache_uses_system_package(places):
    keras_mnist(places, x_train=np.zeros((1, 28, 28)))
    shutil.copytree(PUBLISHED / "mnist", places / "system" / "mnist")
    assert load_raw("mnist", False)[1] == "the system package"


def test_load_raw_mnist_cache(places, monkeypatch):
    names = ("x_train", "y_train", "x_test", "y_test")
    path = keras_mnist(places, **{name: np.full(3, i, np.uint8) for i, name in enumerate(names)})
    monkeypatch.setattr(sources, "KERAS_MNIST", hashlib.sha256(path.read_bytes()).hexdigest())
    arrays, where, _ = load_raw("mnist", False)
    assert where == "Keras's cache"
    assert [a[0] for a in arrays] == [0, 1, 2, 3]
