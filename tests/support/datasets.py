"""Data for the tests."""

import numpy as np

from helpers.data import Dataset, one_hot, sources


def sample_arrays(dataset):
    """Return the arrays of the sample that ships with the package, and their source in words."""
    return sources.read_folder(sources.SAMPLE_FOLDER / sources.FOLDERS[dataset]), "the sample in helpers/data/samples"


def blobs(N=200, inputs=20, classes=10, seed=0, dtype=np.float64, validation=True):
    """Return a small data set that a network can learn: one noisy pattern per class."""
    rng = np.random.default_rng(seed)
    patterns = rng.random((classes, inputs))

    def part(n):
        labels = np.arange(n) % classes
        x = np.clip(patterns[labels] + rng.normal(0, 0.1, (n, inputs)), 0, 1)
        return x.astype(dtype), one_hot(labels, classes).astype(dtype)

    x_train, y_train = part(N)
    x_val, y_val = part(N // 2) if validation else (None, None)
    x_test, y_test = part(N // 2)
    names = tuple(str(c) for c in range(classes))
    return Dataset(x_train, y_train, x_val, y_val, x_test, y_test, names, "synthetic", "blobs", True)
