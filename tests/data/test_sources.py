"""The sources of the data files: their order, downloads, and damaged files."""

import gzip
import hashlib
import http.server
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from helpers.data import sources
from helpers.data.samples import make
from helpers.data.samples.make import make_sample
from helpers.data.sources import FILES, DamagedFile, load_raw
from tests.support.environment import run_python, start_python

INTACT = sources.SAMPLE_FOLDER / "fashion-mnist"
LOAD_WITH_KERAS = sources.load_with_keras


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """An empty Keras cache, no system folder, no network; the sample's files are accepted as the full data set."""
    monkeypatch.setattr(sources, "SHA256", sources.SAMPLE_SHA256)
    monkeypatch.setattr(sources, "SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("DATASETS_DIR", raising=False)
    network(monkeypatch, None)
    return tmp_path


def network(monkeypatch, served):
    """Replace the download by a copy of the folder `served`, or by the error of a missing network; return its calls."""
    calls = []

    def load(dataset, home):
        calls.append(dataset)
        if served is None:
            raise ConnectionError("Exception: URL fetch failure on https://…: None -- Name or service not known")
        shutil.copytree(served, os.path.join(home, "datasets", "fashion-mnist"))

    monkeypatch.setattr(sources, "load_with_keras", load)
    return calls


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


def test_load_raw_source_order(places, monkeypatch):
    calls = network(monkeypatch, INTACT)
    assert source() == "a download"
    assert source() == "Keras's cache"
    shutil.rmtree(places / "keras")
    put(places / "system" / "fashion-mnist")
    assert source() == "the system package"
    put(places / "keras" / "datasets" / "fashion-mnist")
    assert source() == "Keras's cache"
    put(places / "own folder é" / "fashion-mnist")
    monkeypatch.setenv("DATASETS_DIR", str(places / "own folder é"))
    assert source() == "the folder in DATASETS_DIR"
    assert len(calls) == 1


def test_load_raw_returns_arrays_of_files(places):
    put(places / "system" / "fashion-mnist")
    (x, y, x_test, y_test), _, sample = load_raw("fashion_mnist", False)
    assert (x.shape, y.shape, x_test.shape, y_test.shape) == ((6000, 28, 28), (6000,), (1000, 28, 28), (1000,))
    assert x.dtype == np.uint8
    raw = gzip.decompress((INTACT / f"{FILES[0]}.gz").read_bytes())
    assert x.tobytes() == raw[16:]
    assert not sample


def test_load_raw_accepts_uncompressed_files(places, monkeypatch):
    folder = put(places / "own" / "fashion-mnist")
    for path in folder.iterdir():
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    monkeypatch.setenv("DATASETS_DIR", str(folder.parent))
    assert source() == "the folder in DATASETS_DIR"


def test_load_raw_skips_datasets_dir_without_data_set(places, monkeypatch):
    put(places / "system" / "fashion-mnist")
    monkeypatch.setenv("DATASETS_DIR", str(places))
    assert source() == "the system package"


def test_load_raw_missing_datasets_dir_refused(monkeypatch):
    monkeypatch.setenv("DATASETS_DIR", "nowhere")
    with pytest.raises(ValueError, match="DATASETS_DIR='nowhere' is not a folder"):
        source()


def test_load_raw_skips_cache_without_permission(places, monkeypatch):
    """For another user's home, os.path.exists returns False, where Path.exists raises."""
    put(places / "system" / "fashion-mnist")
    monkeypatch.setattr(Path, "exists", lambda path: 1 / 0 if "keras" in str(path) else os.path.exists(path))
    assert source() == "the system package"


# ---- damaged files ----


@every_damage
@every_file
def test_load_raw_damaged_cache_uses_system_package_without_network(places, monkeypatch, damage, name):
    cache = put(places / "keras" / "datasets" / "fashion-mnist")
    damage(cache / f"{name}.gz")
    before = contents(cache)
    put(places / "system" / "fashion-mnist")
    calls = network(monkeypatch, None)
    arrays, where, sample = load_raw("fashion_mnist", False)
    assert (where, sample) == ("the system package", False)
    assert [len(a) for a in arrays] == [6000, 6000, 1000, 1000]
    assert not calls
    assert contents(cache) == before


def test_load_raw_damaged_cache_uses_system_package_with_network(places, monkeypatch):
    truncate(put(places / "keras" / "datasets" / "fashion-mnist") / f"{FILES[0]}.gz")
    put(places / "system" / "fashion-mnist")
    calls = network(monkeypatch, INTACT)
    assert source() == "the system package"
    assert not calls


@every_damage
@every_file
def test_load_raw_damaged_cache_downloaded_again(places, monkeypatch, damage, name):
    cache = put(places / "keras" / "datasets" / "fashion-mnist")
    damage(cache / f"{name}.gz")
    network(monkeypatch, INTACT)
    assert source() == "a download"
    if damage is not unreadable:  # a folder cannot be replaced by a file
        assert source() == "Keras's cache"
    assert sorted(os.listdir(cache)) == sorted(f"{name}.gz" for name in FILES)


@every_damage
def test_load_raw_damaged_cache_named_without_other_source(places, damage):
    """The sample does not replace a damaged file, and the file is not changed."""
    cache = put(places / "keras" / "datasets" / "fashion-mnist")
    path = cache / f"{FILES[2]}.gz"
    damage(path)
    before = contents(cache)
    for allow_sample in (False, True):
        with pytest.raises(DamagedFile, match=f"{path.name}.*delete it.*A new download failed: .*URL fetch failure"):
            source(allow_sample)
    assert contents(cache) == before


@pytest.mark.parametrize("damage", [truncate, flip_bit, empty, swap, unreadable, remove])
def test_load_raw_damaged_file_in_folder_named(places, monkeypatch, damage):
    """In the system package, and in DATASETS_DIR."""
    folder = put(places / "system" / "fashion-mnist")
    damage(folder / f"{FILES[1]}.gz")
    with pytest.raises(DamagedFile, match=FILES[1]):
        source()
    monkeypatch.setenv("DATASETS_DIR", str(folder.parent))
    with pytest.raises(DamagedFile, match=FILES[1]):
        source()


# ---- downloads ----


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ConnectionError("cut")])
def test_download_interrupted_keeps_cache(places, monkeypatch, failure):
    cache = put(places / "keras" / "datasets" / "fashion-mnist")
    truncate(cache / f"{FILES[0]}.gz")
    before = contents(cache)

    def load(dataset, home):
        partial = Path(home, "datasets", "fashion-mnist")
        partial.mkdir(parents=True)
        shutil.copy(INTACT / f"{FILES[0]}.gz", partial)
        raise failure

    monkeypatch.setattr(sources, "load_with_keras", load)
    with pytest.raises((KeyboardInterrupt, DamagedFile)):
        source()
    assert contents(cache) == before
    assert os.listdir(cache.parent) == ["fashion-mnist"]


def test_download_damaged_refused(places, monkeypatch):
    served = put(places / "server")
    truncate(served / f"{FILES[0]}.gz")
    network(monkeypatch, served)
    with pytest.raises(FileNotFoundError, match=f"the downloaded file is damaged.*{FILES[0]}"):
        source()
    assert not (places / "keras").exists()


def test_download_completes_incomplete_cache(places, monkeypatch):
    """A killed download by Keras itself leaves such a cache: a file is missing, another one truncated."""
    cache = put(places / "keras" / "datasets" / "fashion-mnist")
    (cache / f"{FILES[3]}.gz").unlink()
    truncate(cache / f"{FILES[2]}.gz")
    network(monkeypatch, INTACT)
    assert source() == "a download"
    assert source() == "Keras's cache"


def test_download_with_read_only_cache(places, monkeypatch):
    (places / "keras").write_text("a file in place of the folder")
    network(monkeypatch, INTACT)
    assert source() == "a download"
    assert source() == "a download"


def test_download_on_full_disk_falls_back_to_sample(monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sources.tempfile, "TemporaryDirectory", full)
    with pytest.warns(UserWarning, match="this is a sample"):
        assert load_raw("fashion_mnist", True)[2]
    with pytest.raises(FileNotFoundError, match="No space left"):
        source()


# ---- without a backend for Keras ----


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


@pytest.fixture
def server(monkeypatch):
    """A server of the sample's files at the address of Keras's data sets; the dict of its files."""
    files = {path.name: (path.read_bytes(), path.stat().st_size) for path in INTACT.iterdir()}
    monkeypatch.setattr(Server, "files", files)
    monkeypatch.setattr(sources, "keras_backend", lambda: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setattr(sources, "BASE_URL", f"http://127.0.0.1:{running.server_port}/data")
        yield files
        running.shutdown()


def test_download_without_keras_fills_its_cache(places, server):
    assert source() == "a download"
    assert contents(places / "keras" / "datasets" / "fashion-mnist") == contents(INTACT)
    server.clear()
    assert source() == "Keras's cache"


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
def test_damaged_download_without_keras_is_refused(places, server, change, message):
    server[f"{FILES[0]}.gz"] = change(*server[f"{FILES[0]}.gz"])
    with pytest.raises(FileNotFoundError, match=message):
        source()
    assert not (places / "keras").exists()


def test_download_of_a_missing_file_names_the_address(places, server):
    del server[f"{FILES[3]}.gz"]
    with pytest.raises(FileNotFoundError, match=rf"http://127\.0\.0\.1:\d+/data/{FILES[3]}\.gz: HTTP Error 404"):
        source()


def test_download_without_keras_and_without_network(places, monkeypatch):
    monkeypatch.setattr(sources, "keras_backend", lambda: None)
    with pytest.raises(FileNotFoundError, match=r"mnist\.npz: .*could|mnist\.npz: <urlopen error"):
        load_raw("mnist", False)


def test_backend_of_keras(monkeypatch):
    installed = {"keras", "torch"}
    monkeypatch.setattr(sources, "find_spec", lambda name: name in installed or None)
    assert sources.keras_backend() == "torch"
    installed.remove("torch")
    assert sources.keras_backend() is None
    installed.symmetric_difference_update({"keras", "jax"})
    assert sources.keras_backend() is None


def fake_keras(places, body):
    """Make a package `keras` with this body of fashion_mnist.load_data(); return the environment that finds it."""
    package = places / "packages" / "keras"
    package.mkdir(parents=True)
    code = f"import os, shutil, sys, time\nfrom pathlib import Path\nINTACT = Path({str(INTACT)!r})\ndef load_data():\n"
    code += "    target = Path(os.environ['KERAS_HOME'], 'datasets', 'fashion-mnist')\n    target.mkdir(parents=True)\n"
    (package / "__init__.py").write_text("from keras import datasets", "utf-8")
    (package / "datasets.py").write_text("from keras import fashion_mnist", "utf-8")
    (package / "fashion_mnist.py").write_text(code + "".join(f"    {line}\n" for line in body), "utf-8")
    return os.environ | {"PYTHONPATH": f"{package.parent}{os.pathsep}{os.getcwd()}", "PYTHONUNBUFFERED": "1"}


@pytest.mark.slow
def test_download_by_concurrent_processes_complete(places):
    """Three processes with an empty cache, while each file arrives slowly."""
    environment = fake_keras(
        places,
        [
            "for path in sorted(INTACT.iterdir()):",
            "    with open(target / path.name, 'wb') as file:",
            "        for piece in (path.read_bytes()[:1000], path.read_bytes()[1000:]):",
            "            file.write(piece); file.flush(); time.sleep(0.1)",
        ],
    )
    code = (
        "import hashlib; from helpers.data import sources\n"
        "sources.SHA256 = sources.SAMPLE_SHA256; sources.SYSTEM_FOLDER = sources.Path('nowhere')\n"
        "print(*[hashlib.sha256(a).hexdigest() for a in sources.load_raw('fashion_mnist', False)[0]])"
    )
    processes = [start_python(code, env=environment, stdout=subprocess.PIPE) for _ in range(3)]
    try:
        outputs = {process.communicate(timeout=600)[0] for process in processes}
    finally:
        for process in processes:
            process.kill()
            process.wait(timeout=600)
    arrays = sources.read_folder(INTACT, sources.SAMPLE_SHA256["fashion_mnist"])
    assert outputs == {" ".join(hashlib.sha256(a).hexdigest() for a in arrays) + "\n"}
    assert source() == "Keras's cache"
    assert len(os.listdir(places / "keras" / "datasets" / "fashion-mnist")) == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "message"),
    [
        ("raise Exception('URL fetch failure on x')", "Exception: URL fetch failure on x"),
        ("os.kill(os.getpid(), 9)", "Keras ended without a message"),
        ("sys.exit(0)", "the downloaded file is damaged"),
        ("shutil.rmtree(target)", "Keras wrote no files"),
    ],
)
def test_download_process_that_ends_early_named(places, monkeypatch, end, message):
    body = ["for path in INTACT.iterdir():", "    (target / path.name).write_bytes(path.read_bytes()[:1000])", end]
    monkeypatch.setattr(os, "environ", fake_keras(places, body))
    monkeypatch.setattr(sources, "load_with_keras", LOAD_WITH_KERAS)
    with pytest.raises(FileNotFoundError, match=message):
        source()
    assert not (places / "keras").exists()


@pytest.mark.slow
@pytest.mark.parametrize("dataset", sources.TITLES)
def test_download_by_real_keras_without_network_named(places, monkeypatch, dataset):
    """Also with a configuration that names a backend that is not installed."""
    (places / "keras").mkdir()
    (places / "keras" / "keras.json").write_text('{"backend": "tensorflow"}')
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    monkeypatch.setattr(sources, "load_with_keras", LOAD_WITH_KERAS)
    with pytest.raises(FileNotFoundError, match="URL fetch failure"):
        load_raw(dataset, False)


@pytest.mark.slow
def test_cache_contents_match_real_keras(places):
    put(places / "keras" / "datasets" / "fashion-mnist")
    code = (
        "from helpers.data import sources; import keras, numpy as np\n"
        "sources.SHA256 = sources.SAMPLE_SHA256; arrays = sources.load_raw('fashion_mnist', False)[0]\n"
        "theirs = [a for part in keras.datasets.fashion_mnist.load_data() for a in part]\n"
        "assert all(np.array_equal(a, b) for a, b in zip(arrays, theirs, strict=True)); print('same')"
    )
    result = run_python(code, env=os.environ | {"KERAS_BACKEND": "jax"})
    assert result.stdout.strip().endswith("same"), result.stderr


@pytest.mark.slow
def test_load_data_imports_keras_only_for_download(places):
    put(places / "keras" / "datasets" / "fashion-mnist")
    code = (
        "import sys; from helpers.data import load_data, sources; sources.SHA256 = sources.SAMPLE_SHA256\n"
        "import helpers.nn; load_data(); print('keras' in sys.modules)"
    )
    result = run_python(code)
    assert result.stdout.strip().endswith("False"), result.stderr


# ---- no source, and the sample ----


def test_load_raw_without_source_advises():
    with pytest.raises(FileNotFoundError, match=r"URL fetch failure.*dataset-fashion-mnist.*DATASETS_DIR"):
        source()


def test_load_raw_sample_only_if_allowed_and_with_warning():
    with pytest.warns(UserWarning, match=r"sample of 6,000 \+ 1,000 images") as warned:
        _, where, sample = load_raw("fashion_mnist", True)
    assert sample
    assert where == "the sample in helpers/data/samples"
    assert not any(os.path.isabs(warning.filename) for warning in warned)  # no path of this machine


@pytest.mark.parametrize("dataset", sources.SAMPLE_SHA256)
def test_samples_intact(dataset):
    arrays = sources.read_folder(sources.SAMPLE_FOLDER / sources.FOLDERS[dataset], sources.SAMPLE_SHA256[dataset])
    assert [len(a) for a in arrays] == [6000, 6000, 1000, 1000]
    assert np.bincount(arrays[1]).min() > 500


def test_make_sample_stratified_and_reproducible(places, monkeypatch):
    n_train, n_test = np.arange(12000), np.arange(2000)
    full = [np.zeros((12000, 2, 2), np.uint8), n_train % 10, np.zeros((2000, 2, 2), np.uint8), n_test % 10]
    full = [a.astype(np.uint8) for a in full]
    monkeypatch.setattr(make, "load_raw", lambda dataset, allow_sample: (full, "", False))
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
    with pytest.raises(DamagedFile, match=r"mnist\.npz is damaged"):
        load_raw("mnist", True)
    assert os.listdir(path.parent) == ["mnist.npz"]


def test_load_raw_mnist_damaged_cache_uses_system_package(places):
    keras_mnist(places, x_train=np.zeros((1, 28, 28)))
    shutil.copytree(sources.SAMPLE_FOLDER / "mnist", places / "system" / "mnist")
    assert load_raw("mnist", False)[1] == "the system package"


def test_load_raw_mnist_cache(places, monkeypatch):
    names = ("x_train", "y_train", "x_test", "y_test")
    path = keras_mnist(places, **{name: np.full(3, i, np.uint8) for i, name in enumerate(names)})
    monkeypatch.setattr(sources, "KERAS_MNIST", hashlib.sha256(path.read_bytes()).hexdigest())
    arrays, where, _ = load_raw("mnist", False)
    assert where == "Keras's cache"
    assert [a[0] for a in arrays] == [0, 1, 2, 3]
