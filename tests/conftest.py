"""What the tests share. None of them needs a network, an account, the full data, or a clock but for one ratio."""

import os

os.environ["CI"] = "true"  # no progress bars
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import matplotlib
import numpy as np
import pytest

from helpers import files
from helpers.data import Dataset, load_data, one_hot
from helpers.training import progress_bar

matplotlib.use("agg")  # not through the environment, which the notebook's kernel would inherit


# No network, whatever the machine has: a proxy that is a closed port, but for servers of the tests' own.
NO_NETWORK = dict.fromkeys(("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"), "http://127.0.0.1:9")
NO_NETWORK |= dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    for name, value in NO_NETWORK.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def sample():
    """The shipped sample of Fashion-MNIST: 5,400 + 600 + 1,000 images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("helpers.data.find", lambda dataset, allow: (*sample_arrays(dataset), True))
        return load_data("fashion_mnist")


def sample_arrays(dataset):
    folder = files.SAMPLE_FOLDER / files.FOLDERS[dataset]
    return files._read_folder(folder, files.SAMPLE[dataset]), "the sample in helpers/samples"


def blobs(N=200, inputs=20, classes=10, seed=0, dtype=np.float64, validation=True):
    """A small data set that can be learned: a noisy pattern for each class."""
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
    return Dataset(x_train, y_train, x_val, y_val, x_test, y_test, names, "made up", "blobs", False)


@pytest.fixture
def data():
    return blobs()


def batches(learner, epochs=1):
    """The indices of each step of so many epochs, with no work done."""
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learner, "update", lambda index: seen.append(index) or (learner.data.y_train[index],) * 2)
        for epoch in range(1, epochs + 1):
            learner.train_epoch(epoch, progress_bar(False, "batch"))
    return seen
