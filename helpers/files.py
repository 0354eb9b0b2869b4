"""The data sets' files: where they are found, and whether they are whole.

A data set is four files in IDX form (magic number, sizes, bytes), gzipped or not. Every file is checked against the
SHA-256 of its contents before it is believed.
"""

import contextlib
import gzip
import hashlib
import os
import subprocess
import sys
import tempfile
import warnings
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from helpers.atomic import replacing

FOLDERS = {"fashion_mnist": "fashion-mnist", "mnist": "mnist"}
TITLES = {"fashion_mnist": "Fashion-MNIST", "mnist": "MNIST"}

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
# SHA-256 of the four files' raw (gunzipped) contents, in the order of FILES.
FULL = {
    "fashion_mnist": (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    "mnist": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
}
SAMPLE = {
    "fashion_mnist": (
        "7fd37eee0a40dcaeae3995bc86b1d4b8e642c86890aa91f876520269a2c74d4f",
        "93a774fdf01d7bfcbfae4a15e8ae68c7dca73a1d043c918b933ffc23d4e539e0",
        "93bfad912f5b939fac0d0f613badf9a181b7aab9cfcaa9f3f1b24ffb7993ca84",
        "ccc14ce46527530275bf8082822710a4c08b28fb2c23462047ea19bf27289778",
    ),
    "mnist": (
        "c1802217b4e17bd5ad8eafc4be8d0b758e66ee7953f4af2262bbc4b0102dcce8",
        "ffdf5ce12232175a28b2855c151a17d0986ad3ad6013b3a8aeec20e71bc30ab4",
        "0d9430b0d03b6981a4c681af87e8a900e202384f8d9fbb6984f480cfb63d6428",
        "5fa0d3e0ef22fd3c59d8137829b785ceba96d0d77064ab18f33265bd872c77fa",
    ),
}
# Keras keeps MNIST in one archive, under this SHA-256 of the file itself.
KERAS_MNIST = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"

SYSTEM_FOLDER = Path("/usr/share/datasets")  # where Debian's and Ubuntu's package dataset-fashion-mnist puts it
SAMPLE_FOLDER = Path(__file__).parent / "samples"

REPAIR = "delete it, or put a good one in its place"


class DamagedFile(ValueError):
    """A file of a data set is truncated, unreadable, or not the file that was published."""


def find(dataset, allow_sample):
    """Return the four arrays, the source in words, and whether they are only the sample."""
    folder, digests = FOLDERS[dataset], FULL[dataset]
    own = os.environ.get("DATASETS_DIR")
    if own:
        if not Path(own).is_dir():
            raise ValueError(f"DATASETS_DIR={own!r} is not a folder; set it to one that holds {folder}/, or unset it")
        if (Path(own) / folder).is_dir():
            return _read_folder(Path(own) / folder, digests), "the folder in DATASETS_DIR", False
    cache = _keras_cache()
    try:
        cached = _read_keras_cache(dataset, cache)
    except DamagedFile as damage:
        try:
            return _download(dataset, cache), "a fresh download by Keras", False
        except ConnectionError as failure:
            raise DamagedFile(f"{damage}. A fresh download failed: {failure}") from None
    if cached:
        return cached, "Keras's cache", False
    if (SYSTEM_FOLDER / folder).is_dir():
        return _read_folder(SYSTEM_FOLDER / folder, digests), "the system's package", False
    try:
        return _download(dataset, cache), "a download by Keras", False
    except ConnectionError as failure:
        if not allow_sample:
            raise FileNotFoundError(_advice(dataset, failure)) from None
    message = (
        f"the full {TITLES[dataset]} is not at hand: this is a sample of 6,000 + 1,000 images, and every number made "
        f"from it is a sample's. {_advice(dataset)}"
    )
    warnings.warn_explicit(message, UserWarning, "helpers/files.py", 1)  # with no path of this machine
    return _read_folder(SAMPLE_FOLDER / folder, SAMPLE[dataset]), "the sample in helpers/samples", True


def _advice(dataset, failure=None):
    found = f"{TITLES[dataset]} was not found, and could not be downloaded ({failure}). " if failure else ""
    package = "install Debian's package dataset-fashion-mnist, or " if dataset == "fashion_mnist" else ""
    return (
        f"{found}To get it: connect to the network, or {package}"
        f"put the four files ({FILES[0]}.gz, …) into a folder {FOLDERS[dataset]}/ and name its parent in DATASETS_DIR."
    )


def _read_folder(folder, digests):
    """Read and verify the four files of a folder, gzipped or not."""
    return [_read(folder / name, digest) for name, digest in zip(FILES, digests)]


def _read(path, digest):
    """Read one file in IDX form (magic number, sizes, bytes) as an array of uint8; DamagedFile if it is not whole."""
    packed = path.with_name(path.name + ".gz")
    if not packed.exists() and not path.exists():
        raise DamagedFile(f"{packed} is missing; a data set needs its four files: {', '.join(FILES)}")
    path = packed if packed.exists() else path
    try:
        raw = gzip.decompress(path.read_bytes()) if path is packed else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DamagedFile(f"{path} cannot be read ({type(error).__name__}: {error}); {REPAIR}") from None
    if hashlib.sha256(raw).hexdigest() != digest:
        raise DamagedFile(f"{path} is damaged or another file (its SHA-256 is not {digest}); {REPAIR}")
    dimensions = raw[3]
    shape = np.frombuffer(raw, ">i4", count=dimensions, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _keras_cache():
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets"


def _read_keras_cache(dataset, cache):
    """Return the four arrays in Keras's cache, or None if they are not all there; DamagedFile if one is not whole."""
    if dataset == "fashion_mnist":
        folder = cache / "fashion-mnist"
        complete = all(os.path.exists(folder / f"{name}.gz") for name in FILES)  # False where one may not look
        return _read_folder(folder, FULL[dataset]) if complete else None
    path = cache / "mnist.npz"
    if not os.path.exists(path):
        return None
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DamagedFile(f"{path} cannot be read ({type(error).__name__}: {error}); {REPAIR}") from None
    if digest != KERAS_MNIST:
        raise DamagedFile(f"{path} is damaged or another file (its SHA-256 is not {KERAS_MNIST}); {REPAIR}")
    with np.load(path, allow_pickle=False) as arrays:
        return [arrays[name] for name in ("x_train", "y_train", "x_test", "y_test")]


def _download(dataset, cache):
    """Let Keras download a data set aside, verify it, and move it into the cache; ConnectionError if that fails.

    So the cache never holds half a file, whatever is killed or cut, and two processes may download at once. A cache
    that cannot be written stays as it is.
    """
    try:
        with tempfile.TemporaryDirectory() as home:
            _load_with_keras(dataset, home)
            downloaded = Path(home) / "datasets"
            arrays = _read_keras_cache(dataset, downloaded)
            with contextlib.suppress(OSError):
                for path in filter(Path.is_file, downloaded.rglob("*")) if arrays else ():
                    target = cache / path.relative_to(downloaded)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with replacing(target) as file:
                        file.write(path.read_bytes())
    except DamagedFile as damage:
        raise ConnectionError(f"what arrived is not whole: {damage}") from None
    except ConnectionError:
        raise
    except OSError as error:  # no folder for it, no room
        raise ConnectionError(str(error)) from None
    if arrays is None:
        raise ConnectionError("Keras left no files")
    return arrays


def _load_with_keras(dataset, home):
    """Have Keras load the data set with `home` as its folder; ConnectionError for whatever goes wrong.

    In a process of its own: Keras reads its configuration (which may name a backend that is not there) when it is
    imported, and once. It imports only with a backend, and TensorFlow is but its default: the first installed is named.
    """
    backend = next((name for name in ("openvino", "jax", "torch", "tensorflow") if find_spec(name)), "")
    code = f"import socket; socket.setdefaulttimeout(30); import keras; keras.datasets.{dataset}.load_data()"
    environment = os.environ | {"KERAS_HOME": home, "KERAS_BACKEND": backend}
    answer = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, errors="replace", check=False
    )
    if answer.returncode:
        raise ConnectionError((answer.stderr.strip().splitlines() or ["no word from Keras"])[-1])


# ---- the sample ----


def make_sample(dataset, folder=SAMPLE_FOLDER):
    """Write the stratified sample of 6,000 + 1,000 images of a full data set into `folder`, in the same four files.

    Returns the SHA-256 of the files' raw contents, for the table SAMPLE. The same data give the same bytes.
    """
    from sklearn.model_selection import train_test_split

    x, labels, x_test, test_labels = find(dataset, allow_sample=False)[0]
    kept = [
        train_test_split(np.arange(len(y)), train_size=size, stratify=y, random_state=0)[0]
        for y, size in ((labels, 6000), (test_labels, 1000))
    ]
    arrays = [x[kept[0]], labels[kept[0]], x_test[kept[1]], test_labels[kept[1]]]
    folder = Path(folder) / FOLDERS[dataset]
    folder.mkdir(parents=True, exist_ok=True)
    digests = []
    for name, array in zip(FILES, arrays):
        raw = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()
        (folder / f"{name}.gz").write_bytes(gzip.compress(raw, mtime=0))
        digests.append(hashlib.sha256(raw).hexdigest())
    return tuple(digests)
