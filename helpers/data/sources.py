"""The sources of the data files, and the verification of their contents.

A data set is four files in the IDX format (magic number, sizes, bytes), gzipped or not. The SHA-256 of the contents of
each file is verified before the file is used.
"""

import contextlib
import gzip
import hashlib
import http.client
import importlib
import os
import re
import shutil
import socket
import tempfile
import urllib.request
import warnings
import zlib
from pathlib import Path

import numpy as np

from helpers.experiment.values import plain
from helpers.files import atomic_write

FOLDERS = {"fashion_mnist": "fashion-mnist", "mnist": "mnist"}
TITLES = {"fashion_mnist": "Fashion-MNIST", "mnist": "MNIST"}

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
# SHA-256 of the raw (gunzipped) contents of the four files, in the order of FILES
SHA256 = {
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
# SHA-256 of mnist.npz, the one file in which Keras keeps MNIST
KERAS_MNIST = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"

BASE_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets"  # where Keras downloads both data sets
KERAS_FILES = {"fashion_mnist": [f"fashion-mnist/{name}.gz" for name in FILES], "mnist": ["mnist.npz"]}
TIMEOUT = 30  # seconds
SYSTEM_FOLDER = Path("/usr/share/datasets")  # of the package dataset-fashion-mnist of Debian and Ubuntu
SAMPLE_FOLDER = Path(__file__).parent / "samples"

REPAIR = "delete it, or replace it with an intact copy"
IDX_NAME = re.compile(r"(train|t10k).*(images|labels)", re.IGNORECASE)
CSV_ROWS = {"train": 60_000, "test": 10_000}
CSV_NAME = re.compile(r"mnist.*(train|test).*\.csv$", re.IGNORECASE)


class DamagedFile(ValueError):
    """A file of a data set is truncated, unreadable, or differs from the published one."""


def load_raw(dataset, allow_sample):
    """Return ``(arrays, source, variant)``: the four arrays of bytes, their source in words, and which files they are.

    The variant is "" for the published files, "Kaggle's CSV" or "sample". Raises ValueError for a damaged file or a
    wrong DATASETS_DIR, and FileNotFoundError if no source has the files.
    """
    folder, digests = FOLDERS[dataset], SHA256[dataset]
    if os.environ.get("DATASETS_DIR"):
        arrays, variant = read_user_folder(Path(os.environ["DATASETS_DIR"]).expanduser(), dataset)
        if arrays:
            return arrays, "the folder in DATASETS_DIR", variant
    cache, damage = keras_cache(), ""
    try:
        cached = read_keras_cache(dataset, cache)
    except DamagedFile as error:
        cached, damage = None, f"{error}. "
    if cached:
        return cached, "Keras's cache", ""
    if (SYSTEM_FOLDER / folder).is_dir():
        return read_folder(SYSTEM_FOLDER / folder, digests), "the system package", ""
    try:
        return download(dataset, cache), "a download", ""
    except ConnectionError as error:
        reason = f"{damage}{TITLES[dataset]} could not be downloaded ({error}). {advice(dataset, str(error))}"
    if not allow_sample:
        raise FileNotFoundError(reason)
    message = f"this is a sample of 6,000 + 1,000 images, and all results refer to the sample. {reason}"
    warnings.warn_explicit(message, UserWarning, "helpers.data", 1)  # not a path of this machine
    return read_folder(SAMPLE_FOLDER / folder), "the sample in helpers/data/samples", "sample"


def advice(dataset, reason):
    """Return how to get the full data set, after a download that failed for this reason."""
    package = dataset == "fashion_mnist" and Path("/etc/debian_version").exists()
    certificate = "CERTIFICATE_VERIFY_FAILED" in reason
    ways = [
        "set SSL_CERT_FILE to the file with your network's certificates" if certificate else "connect to the network",
        *(["install Debian's package dataset-fashion-mnist"] if package else []),
        f"set DATASETS_DIR to a folder with the four files ({FILES[0]}.gz, …)",
    ]
    return f"To get it: {', or '.join(ways)}."


def read_user_folder(folder, dataset):
    """Return ``(arrays, variant)`` of the data set in or below a folder; ``(None, "")`` if it has only the other one.

    The contents identify each file, whatever its name and place: those of torchvision, of 7-Zip, of a browser, gzipped
    or not. Where there are none, Kaggle's two CSV files are read. Raises ValueError, with what was found, otherwise.
    """
    if not folder.is_dir():
        raise ValueError(f"DATASETS_DIR={str(folder)!r} is not a folder; set it to one that has the data, or unset it")
    owners = {digest: (name, i) for name, digests in SHA256.items() for i, digest in enumerate(digests)}
    found, others, remarks, of_others, misplaced = {}, set(), [], [], False
    for path in files_below(folder, IDX_NAME):
        try:
            raw = read_contents(path)
        except DamagedFile as error:
            remarks.append(str(error))
            continue
        owner, i = owners.get(hashlib.sha256(raw).hexdigest(), (None, None))
        if owner == dataset:
            found[i] = raw
        elif owner:
            others.add(i)
            of_others.append(f"{path} is {TITLES[owner]}'s")
            misplaced |= plain(FOLDERS[dataset]) in map(plain, path.parent.parts)
        else:
            remarks.append(f"{path} is damaged, or a different file")
        if len(found) == len(FILES):
            return [as_array(found[i]) for i in range(len(FILES))], ""
    csv_files, fashion = list(files_below(folder, CSV_NAME)), dataset == "fashion_mnist"
    tables = [path for path in csv_files if ("fashion" in path.name.lower()) == fashion]
    parts = {part: [path for path in tables if part in path.name.lower()] for part in ("train", "test")}
    if parts["train"] and parts["test"]:
        arrays = [array for part, rows in CSV_ROWS.items() for array in read_csv(parts[part][0], rows)]
        return arrays, "Kaggle's CSV"
    other_alone = len(others) == len(FILES) and not (remarks or misplaced)
    remarks += of_others
    if not (found or tables) and (other_alone or (csv_files and not remarks)):
        return None, ""
    missing = ", ".join(name for i, name in enumerate(FILES) if i not in found)
    present = "; ".join(remarks) or ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"
    raise DamagedFile(
        f"DATASETS_DIR={str(folder)!r} has not all files of {TITLES[dataset]}: {missing} missing. It has: {present}"
    )


def files_below(folder, pattern):
    """Yield the files in the folder, and up to four levels below, whose names match."""
    for depth in range(5):
        yield from (p for p in sorted(folder.glob("*/" * depth + "*")) if pattern.search(p.name) and p.is_file())


def read_csv(path, rows):
    """Return images (N, 28, 28) and labels (N,) of a CSV file of Kaggle: a label and 784 pixels in each row."""
    import pandas as pd  # slow to import

    try:
        with open(path, encoding="utf-8") as file:
            header = 0 if "label" in file.readline().lower() else None
        numbers = pd.read_csv(path, header=header, nrows=rows + 1, dtype=np.float32).to_numpy()
        with np.errstate(invalid="ignore"):
            table = numbers.astype(np.uint8)
        wrong = np.argwhere(table != numbers)  # older versions of pandas take 256 for 0, if they read bytes
        if len(wrong):
            row, column = wrong[0]
            raise ValueError(f"{numbers[row, column]:g} in row {row + 1}, column {column + 1}")
        if table.shape != (rows, 785) or not np.array_equal(np.unique(table[:, 0]), range(10)):
            found = f"{len(table):,} × {table.shape[1]}"
            raise ValueError(f"it needs {rows:,} × 785 numbers, and all ten labels; it has {found}")
    except (OSError, ValueError) as error:  # also those of pandas
        form = "a label 0 … 9 and 784 pixels 0 … 255 in each row"
        raise DamagedFile(f"{path} cannot be read as Kaggle's table of images, {form}: {error}") from None
    return table[:, 1:].reshape(-1, 28, 28), table[:, 0]


def read_folder(folder, digests=(None, None, None, None)):
    """Read the four files of a folder, gzipped or not, and verify their SHA-256 if it is given."""
    return [read_idx(folder / name, digest) for name, digest in zip(FILES, digests, strict=True)]


def read_idx(path, digest):
    """Read one IDX file as an array of uint8; DamagedFile if its contents do not have this SHA-256, if there is one."""
    gz_path = path.with_name(path.name + ".gz")
    if not gz_path.exists() and not path.exists():
        raise DamagedFile(f"{gz_path} is missing; a data set needs its four files: {', '.join(FILES)}")
    path = gz_path if gz_path.exists() else path
    raw = read_contents(path)
    if digest and hashlib.sha256(raw).hexdigest() != digest:
        raise DamagedFile(f"{path} is damaged, or a different file (its SHA-256 is not {digest}); {REPAIR}")
    return as_array(raw)


def read_contents(path):
    """Return the bytes of a file, decompressed if they are gzipped; DamagedFile if that is not possible."""
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise DamagedFile(f"{path} cannot be read ({type(error).__name__}: {error}); {REPAIR}") from None


def as_array(raw):
    """Return the contents of an IDX file as an array of uint8."""
    dimensions = raw[3]
    shape = np.frombuffer(raw, ">i4", count=dimensions, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def keras_cache():
    """Return the folder in which Keras caches data sets."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets"


def read_keras_cache(dataset, cache):
    """Return the four arrays in Keras's cache, or None if a file is missing; DamagedFile if one is damaged."""
    if dataset == "fashion_mnist":
        folder = cache / "fashion-mnist"
        complete = all(os.path.exists(folder / f"{name}.gz") for name in FILES)  # False if the folder is unreadable
        return read_folder(folder, SHA256[dataset]) if complete else None
    path = cache / "mnist.npz"
    if not os.path.exists(path):
        return None
    if hashlib.sha256(read_contents(path)).hexdigest() != KERAS_MNIST:
        raise DamagedFile(f"{path} is damaged, or a different file (its SHA-256 is not {KERAS_MNIST}); {REPAIR}")
    with np.load(path, allow_pickle=False) as arrays:
        return [arrays[name] for name in ("x_train", "y_train", "x_test", "y_test")]


def download(dataset, cache):
    """Download a data set into Keras's cache, and return its arrays.

    `keras.datasets` does that where Keras works. Elsewhere, and where what it left is damaged, the same files come from
    the same address to a temporary folder, are verified there, and replace those in the cache. A cache that cannot be
    written stays as it is. Raises ConnectionError if the download fails or is damaged.
    """
    with contextlib.suppress(Exception):  # there is no Keras, no backend for it, no connection
        load_with_keras(dataset)
        if arrays := read_keras_cache(dataset, cache):
            return arrays
    url = BASE_URL
    try:
        with tempfile.TemporaryDirectory() as folder:
            downloaded = Path(folder)
            for name in KERAS_FILES[dataset]:
                target = downloaded / name
                target.parent.mkdir(exist_ok=True)
                url = f"{BASE_URL}/{target.name}"
                with urllib.request.urlopen(url, timeout=TIMEOUT) as response, open(target, "wb") as file:
                    shutil.copyfileobj(response, file)
            arrays = read_keras_cache(dataset, downloaded)
            with contextlib.suppress(OSError):
                for name in KERAS_FILES[dataset]:
                    (cache / name).parent.mkdir(parents=True, exist_ok=True)
                    with atomic_write(cache / name) as file:
                        file.write((downloaded / name).read_bytes())
    except DamagedFile as damage:
        raise ConnectionError(f"the downloaded file is damaged: {damage}") from None
    except (OSError, http.client.HTTPException) as error:  # no connection; the temporary folder cannot be written
        raise ConnectionError(f"{url}: {error}") from None
    return arrays


def load_with_keras(dataset):
    """Let Keras download the data set into its cache."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        importlib.import_module(f"keras.datasets.{dataset}").load_data()
    finally:
        socket.setdefaulttimeout(before)
