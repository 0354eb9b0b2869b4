"""Make the samples in helpers/data/samples from the full data sets.

Run it with: python -m tests.support.samples
"""

import gzip
import hashlib
from pathlib import Path

import numpy as np

from helpers.data.sources import FILES, FOLDERS, SAMPLE_FOLDER, load_raw


def make_sample(dataset, folder=SAMPLE_FOLDER):
    """Write a stratified sample of 6,000 + 1,000 images of a full data set, as the same four files.

    The same data give the same bytes. Returns the SHA-256 of the raw contents of each file.
    """
    from sklearn.model_selection import train_test_split

    x, labels, x_test, test_labels = load_raw(dataset, allow_sample=False)[0]
    train, test = (
        train_test_split(np.arange(len(y)), train_size=size, stratify=y, random_state=0)[0]
        for y, size in ((labels, 6000), (test_labels, 1000))
    )
    return write_files((x[train], labels[train], x_test[test], test_labels[test]), Path(folder) / FOLDERS[dataset])


def write_files(arrays, folder):
    """Write the four arrays of bytes as the files of a data set; return the SHA-256 of the raw contents of each."""
    folder.mkdir(parents=True, exist_ok=True)
    digests = []
    for name, array in zip(FILES, arrays, strict=True):
        raw = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()
        (folder / f"{name}.gz").write_bytes(gzip.compress(raw, mtime=0))
        digests.append(hashlib.sha256(raw).hexdigest())
    return tuple(digests)


if __name__ == "__main__":
    for name in FOLDERS:
        print(name, *make_sample(name), sep="\n")
