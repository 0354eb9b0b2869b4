"""Where the files come from, in which order, and that no damaged one is ever believed."""

import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers import files
from helpers.files import FILES, DamagedFile, find, make_sample

GOOD = files.SAMPLE_FOLDER / "fashion-mnist"
LOAD_WITH_KERAS = files._load_with_keras


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """An empty Keras cache, an empty system folder and no network; the sample's files pass for the full data."""
    monkeypatch.setattr(files, "FULL", files.SAMPLE)
    monkeypatch.setattr(files, "SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("DATASETS_DIR", raising=False)
    network(monkeypatch, None)
    return tmp_path


def network(monkeypatch, served):
    """Let Keras download by copying the folder `served`, or fail as it does without a network."""
    calls = []

    def load(dataset, home):
        calls.append(dataset)
        if served is None:
            raise ConnectionError("Exception: URL fetch failure on https://…: None -- Name or service not known")
        shutil.copytree(served, os.path.join(home, "datasets", "fashion-mnist"))

    monkeypatch.setattr(files, "_load_with_keras", load)
    return calls


def put(folder):
    shutil.copytree(GOOD, folder)
    return folder


def source(**arguments):
    return find("fashion_mnist", **({"allow_sample": False} | arguments))[1]


def test_the_sources_are_asked_in_order(places, monkeypatch):
    calls = network(monkeypatch, GOOD)
    assert source() == "a download by Keras"
    assert source() == "Keras's cache"
    shutil.rmtree(places / "keras")
    put(places / "system" / "fashion-mnist")
    assert source() == "the system's package"
    put(places / "keras" / "datasets" / "fashion-mnist")
    assert source() == "Keras's cache"
    put(places / "own folder é" / "fashion-mnist")
    monkeypatch.setenv("DATASETS_DIR", str(places / "own folder é"))
    assert source() == "the folder in DATASETS_DIR"
    assert len(calls) == 1


def test_the_arrays_are_those_of_the_files(places):
    put(places / "system" / "fashion-mnist")
    (x, y, x_test, y_test), _, sample = find("fashion_mnist", False)
    assert (x.shape, y.shape, x_test.shape, y_test.shape) == ((6000, 28, 28), (6000,), (1000, 28, 28), (1000,))
    assert x.dtype == np.uint8
    raw = gzip.decompress((GOOD / f"{FILES[0]}.gz").read_bytes())
    assert x.tobytes() == raw[16:]
    assert not sample


def test_files_may_be_unzipped(places, monkeypatch):
    folder = put(places / "own" / "fashion-mnist")
    for path in folder.iterdir():
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    monkeypatch.setenv("DATASETS_DIR", str(folder.parent))
    assert source() == "the folder in DATASETS_DIR"


def test_an_own_folder_without_this_data_set_is_passed_over(places, monkeypatch):
    put(places / "system" / "fashion-mnist")
    monkeypatch.setenv("DATASETS_DIR", str(places))
    assert source() == "the system's package"


def test_an_own_folder_that_does_not_exist_is_an_error(monkeypatch):
    monkeypatch.setenv("DATASETS_DIR", "nowhere")
    with pytest.raises(ValueError, match="DATASETS_DIR='nowhere' is not a folder"):
        source()


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def empty(path):
    path.write_bytes(b"")


def swap(path):
    """A whole file, but another one."""
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[::-1]))


def unreadable(path):
    """A folder: what a file without the right to read it is to anybody but root, who runs tests too."""
    path.unlink()
    path.mkdir()


def remove(path):
    path.unlink()


every_damage = pytest.mark.parametrize("damage", [truncate, flip, empty, swap, unreadable])
every_file = pytest.mark.parametrize("name", FILES)


@every_damage
@every_file
def test_a_damaged_file_in_the_cache_is_downloaded_anew(places, monkeypatch, damage, name):
    cache = put(places / "keras" / "datasets" / "fashion-mnist")
    damage(cache / f"{name}.gz")
    network(monkeypatch, GOOD)
    assert source() == "a fresh download by Keras"
    if damage is not unreadable:  # a folder cannot be replaced by a file
        assert source() == "Keras's cache"
    assert sorted(os.listdir(cache)) == sorted(f"{name}.gz" for name in FILES)


@every_damage
def test_without_a_network_a_damaged_file_is_named_and_stays(places, damage):
    cache = put(places / "keras" / "datasets" / "fashion-mnist")
    path = cache / f"{FILES[2]}.gz"
    damage(path)
    before = contents(cache)
    for allow_sample in (False, True):
        with pytest.raises(DamagedFile, match=f"{path.name}.*delete it.*URL fetch failure"):
            source(allow_sample=allow_sample)
    assert contents(cache) == before


def contents(folder):
    """What stands in a folder: {name: bytes}, a folder in it as None."""
    return {path.name: path.read_bytes() if path.is_file() else None for path in folder.iterdir()}


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ConnectionError("cut")])
def test_a_download_cut_half_way_leaves_the_cache_as_it_was(places, monkeypatch, failure):
    cache = put(places / "keras" / "datasets" / "fashion-mnist")
    truncate(cache / f"{FILES[0]}.gz")
    before = contents(cache)

    def load(dataset, home):
        half = Path(home, "datasets", "fashion-mnist")
        half.mkdir(parents=True)
        shutil.copy(GOOD / f"{FILES[0]}.gz", half)
        raise failure

    monkeypatch.setattr(files, "_load_with_keras", load)
    with pytest.raises((KeyboardInterrupt, DamagedFile)):
        source()
    assert contents(cache) == before
    assert os.listdir(cache.parent) == ["fashion-mnist"]


@pytest.mark.parametrize("damage", [truncate, flip, empty, swap, unreadable, remove])
def test_a_damaged_file_elsewhere_is_named(places, monkeypatch, damage):
    folder = put(places / "system" / "fashion-mnist")
    damage(folder / f"{FILES[1]}.gz")
    with pytest.raises(DamagedFile, match=FILES[1]):
        source()
    monkeypatch.setenv("DATASETS_DIR", str(folder.parent))
    with pytest.raises(DamagedFile, match=FILES[1]):
        source()


def test_a_download_that_arrives_damaged_is_not_believed(places, monkeypatch):
    served = put(places / "server")
    truncate(served / f"{FILES[0]}.gz")
    network(monkeypatch, served)
    with pytest.raises(FileNotFoundError, match=f"what arrived is not whole.*{FILES[0]}"):
        source()
    assert not (places / "keras").exists()


def test_an_incomplete_cache_is_completed_and_half_a_file_in_it_replaced(places, monkeypatch):
    """What a download that was killed leaves, if Keras did it by itself."""
    cache = put(places / "keras" / "datasets" / "fashion-mnist")
    (cache / f"{FILES[3]}.gz").unlink()
    truncate(cache / f"{FILES[2]}.gz")
    network(monkeypatch, GOOD)
    assert source() == "a download by Keras"
    assert source() == "Keras's cache"


def test_a_cache_that_cannot_be_written_costs_only_the_cache(places, monkeypatch):
    (places / "keras").write_text("a file where the folder should be")
    network(monkeypatch, GOOD)
    assert source() == "a download by Keras"
    assert source() == "a download by Keras"


def test_a_cache_that_may_not_be_entered_is_none(places, monkeypatch):
    """As another user's home: os.path.exists says no, where Path.exists raises."""
    put(places / "system" / "fashion-mnist")
    monkeypatch.setattr(Path, "exists", lambda path: 1 / 0 if "keras" in str(path) else os.path.exists(path))
    assert source() == "the system's package"


def test_without_room_for_a_download_the_sample_comes(monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.tempfile, "TemporaryDirectory", full)
    with pytest.warns(UserWarning, match="this is a sample"):
        assert find("fashion_mnist", True)[2]
    with pytest.raises(FileNotFoundError, match="No space left"):
        source()


def keras_of_its_own(places, body):
    """A package `keras` whose fashion_mnist.load_data() has this body; return the environment that finds it."""
    package = places / "packages" / "keras"
    package.mkdir(parents=True)
    code = f"import os, shutil, sys, time\nfrom pathlib import Path\nGOOD = Path({str(GOOD)!r})\ndef load_data():\n"
    code += "    target = Path(os.environ['KERAS_HOME'], 'datasets', 'fashion-mnist')\n    target.mkdir(parents=True)\n"
    (package / "__init__.py").write_text("from keras import datasets", "utf-8")
    (package / "datasets.py").write_text("from keras import fashion_mnist", "utf-8")
    (package / "fashion_mnist.py").write_text(code + "".join(f"    {line}\n" for line in body), "utf-8")
    return os.environ | {"PYTHONPATH": f"{package.parent}{os.pathsep}{os.getcwd()}", "PYTHONUNBUFFERED": "1"}


HASHES = (
    "import hashlib; from helpers import files; files.FULL = files.SAMPLE; files.SYSTEM_FOLDER = files.Path('nowhere');"
    "print(*[hashlib.sha256(a).hexdigest() for a in files.find('fashion_mnist', False)[0]])"
)


def test_processes_that_load_and_download_at_once_get_whole_files(places):
    """Three, on an empty cache, while each file takes its time to arrive."""
    surroundings = keras_of_its_own(
        places,
        [
            "for path in sorted(GOOD.iterdir()):",
            "    with open(target / path.name, 'wb') as file:",
            "        for piece in (path.read_bytes()[:1000], path.read_bytes()[1000:]):",
            "            file.write(piece); file.flush(); time.sleep(0.1)",
        ],
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", HASHES], env=surroundings, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    answers = {process.communicate(timeout=100)[0] for process in processes}
    arrays = files._read_folder(GOOD, files.SAMPLE["fashion_mnist"])
    assert answers == {" ".join(files.hashlib.sha256(a).hexdigest() for a in arrays) + "\n"}
    assert source() == "Keras's cache"
    assert len(os.listdir(places / "keras" / "datasets" / "fashion-mnist")) == 4


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("raise Exception('URL fetch failure on x')", "Exception: URL fetch failure on x"),
        ("os.kill(os.getpid(), 9)", "no word from Keras"),
        ("sys.exit(0)", "what arrived is not whole"),
        ("shutil.rmtree(target)", "Keras left no files"),
    ],
)
def test_a_download_that_ends_half_way_is_named_and_leaves_nothing(places, monkeypatch, end, words):
    half = ["for path in GOOD.iterdir():", "    (target / path.name).write_bytes(path.read_bytes()[:1000])", end]
    monkeypatch.setattr(os, "environ", keras_of_its_own(places, half))
    monkeypatch.setattr(files, "_load_with_keras", LOAD_WITH_KERAS)
    with pytest.raises(FileNotFoundError, match=words):
        source()
    assert not (places / "keras").exists()


def test_the_real_keras_says_why_it_cannot_download_whatever_its_configuration_names(places, monkeypatch):
    """The backends that are named are not there."""
    (places / "keras").mkdir()
    (places / "keras" / "keras.json").write_text('{"backend": "tensorflow"}')
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    monkeypatch.setattr(files, "_load_with_keras", LOAD_WITH_KERAS)
    for dataset in files.TITLES:
        with pytest.raises(FileNotFoundError, match="URL fetch failure"):
            find(dataset, False)


def test_with_nothing_at_hand_the_error_says_what_to_do():
    with pytest.raises(FileNotFoundError, match=r"URL fetch failure.*dataset-fashion-mnist.*DATASETS_DIR"):
        source()


def test_the_sample_comes_only_when_allowed_and_with_a_warning():
    with pytest.warns(UserWarning, match=r"sample of 6,000 \+ 1,000 images"):
        _, where, sample = find("fashion_mnist", True)
    assert sample
    assert "sample" in where


def test_mnist_in_keras_s_archive_is_checked_too(places):
    cache = places / "keras" / "datasets"
    cache.mkdir(parents=True)
    np.savez(cache / "mnist.npz", x_train=np.zeros((1, 28, 28)))
    with pytest.raises(DamagedFile, match=r"mnist\.npz is damaged"):
        find("mnist", True)
    assert os.listdir(cache) == ["mnist.npz"]


def test_mnist_in_keras_s_archive_is_read(places, monkeypatch):
    cache = places / "keras" / "datasets"
    cache.mkdir(parents=True)
    names = ("x_train", "y_train", "x_test", "y_test")
    np.savez(cache / "mnist.npz", **{name: np.full(3, i, np.uint8) for i, name in enumerate(names)})
    digest = files.hashlib.sha256((cache / "mnist.npz").read_bytes()).hexdigest()
    monkeypatch.setattr(files, "KERAS_MNIST", digest)
    arrays, where, _ = find("mnist", False)
    assert where == "Keras's cache"
    assert [a[0] for a in arrays] == [0, 1, 2, 3]


@pytest.mark.parametrize("dataset", files.SAMPLE)
def test_the_shipped_samples_are_whole(dataset):
    arrays = files._read_folder(files.SAMPLE_FOLDER / files.FOLDERS[dataset], files.SAMPLE[dataset])
    assert [len(a) for a in arrays] == [6000, 6000, 1000, 1000]
    assert np.bincount(arrays[1]).min() > 500


def test_a_sample_is_stratified_and_always_the_same(places, monkeypatch):
    n_train, n_test = np.arange(12000), np.arange(2000)
    full = [np.zeros((12000, 2, 2), np.uint8), n_train % 10, np.zeros((2000, 2, 2), np.uint8), n_test % 10]
    full = [a.astype(np.uint8) for a in full]
    monkeypatch.setattr(files, "find", lambda dataset, allow_sample: (full, "", False))
    digests = make_sample("mnist", places / "a")
    assert digests == make_sample("mnist", places / "b")
    for name in FILES:
        path = places / "a" / "mnist" / f"{name}.gz"
        assert path.read_bytes() == (places / "b" / "mnist" / path.name).read_bytes()
    arrays = files._read_folder(places / "a" / "mnist", digests)
    np.testing.assert_array_equal(np.bincount(arrays[1]), [600] * 10)
    np.testing.assert_array_equal(np.bincount(arrays[3]), [100] * 10)


def test_the_real_keras_reads_the_cache_as_this_project_does(places):
    put(places / "keras" / "datasets" / "fashion-mnist")
    code = (
        "from helpers import files; import keras, numpy as np;"
        "files.FULL = files.SAMPLE; ours = files.find('fashion_mnist', False)[0];"
        "theirs = [a for part in keras.datasets.fashion_mnist.load_data() for a in part];"
        "assert all(np.array_equal(a, b) for a, b in zip(ours, theirs)); print('same')"
    )
    surroundings = os.environ | {"KERAS_BACKEND": "openvino"}
    answer = subprocess.run([sys.executable, "-c", code], env=surroundings, capture_output=True, text=True, check=False)
    assert answer.stdout.strip().endswith("same"), answer.stderr


def test_keras_is_not_imported_before_something_must_be_downloaded(places):
    put(places / "keras" / "datasets" / "fashion-mnist")
    code = (
        "import sys; from helpers import files; files.FULL = files.SAMPLE; from helpers.data import load_data;"
        "import helpers.training; load_data(); print('keras' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip().endswith("False")
