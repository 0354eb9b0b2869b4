"""The data sets: load, split, scale, one-hot.

Fashion-MNIST (Xiao et al. 2017) and MNIST (LeCun et al. 1998) share one form: 60,000 + 10,000 grey images of
28 × 28 pixels in ten classes.
"""

from dataclasses import dataclass

import numpy as np

from helpers import checks
from helpers.files import FOLDERS, TITLES, find

CLASS_NAMES = {
    "fashion_mnist": (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    "mnist": tuple("0123456789"),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images as rows of 784 floats in [0, 1], labels as one-hot rows, in three parts that share no image."""

    x_train: np.ndarray  # (54000, 784) float32
    y_train: np.ndarray  # (54000, 10) float32
    x_val: np.ndarray | None  # (6000, 784); None if nothing is held out
    y_val: np.ndarray | None  # (6000, 10)
    x_test: np.ndarray  # (10000, 784)
    y_test: np.ndarray  # (10000, 10)
    class_names: tuple  # ten words
    source: str  # where the files came from
    name: str  # "Fashion-MNIST", or "Fashion-MNIST (sample)": what figures and tables are headed with
    sample: bool  # True if this is only the small sample that ships with the package


def load_data(dataset="fashion_mnist", *, validation_split=0.1, seed=0, allow_sample=False):
    """Load a data set, hold out a stratified validation set, scale the pixels to [0, 1], one-hot the labels.

    dataset: "fashion_mnist" or "mnist". The files are taken from the first of: the folder fashion-mnist/ or mnist/
    inside $DATASETS_DIR; Keras's cache; the system package; a download by Keras (into its cache); and, only with
    allow_sample=True, the sample of 6,000 + 1,000 images in helpers/samples, with a warning.
    validation_split: the share of the training images held out; 0 holds out none (x_val and y_val are None).
    Returns a Dataset and prints its source. Raises ValueError for a bad argument or a damaged file, and
    FileNotFoundError, with what to do, where no source has the files.
    """
    dataset = checks.choice("dataset", dataset, FOLDERS)
    validation_split = checks.number("validation_split", validation_split, least=0, below=1)
    seed = checks.whole("seed", seed, least=0)
    (x, labels, x_test, test_labels), source, sample = find(dataset, allow_sample)
    train, val = _split(labels, validation_split, seed)
    name = TITLES[dataset] + (" (sample)" if sample else "")
    print(f"{name} from {source}: {len(train):,} training, {len(val):,} validation, {len(x_test):,} test images")
    return Dataset(
        x_train=scale(x[train]),
        y_train=one_hot(labels[train]),
        x_val=scale(x[val]) if len(val) else None,
        y_val=one_hot(labels[val]) if len(val) else None,
        x_test=scale(x_test),
        y_test=one_hot(test_labels),
        class_names=CLASS_NAMES[dataset],
        source=source,
        name=name,
        sample=sample,
    )


def scale(images):
    """Flatten images (N, 28, 28) of whole numbers 0 … 255 into rows (N, 784) of float32 in [0, 1]."""
    return np.divide(images.reshape(len(images), -1), np.float32(255), dtype=np.float32)


def one_hot(labels, classes=10):
    """Turn labels (N,) of whole numbers 0 … classes−1 into rows (N, classes) that are 1 at the label, else 0."""
    return np.eye(classes, dtype=np.float32)[labels]


def _split(labels, validation_split, seed):
    """Return the indices of the training and of the validation images, each class in the same proportion."""
    held_out = round(len(labels) * validation_split)
    if validation_split == 0:
        return np.arange(len(labels)), np.arange(0)
    if not 10 <= held_out <= len(labels) - 10:
        raise ValueError(
            f"validation_split={validation_split!r} leaves {held_out} of {len(labels)} images for validation; "
            "both parts need at least one image of each of the ten classes"
        )
    from sklearn.model_selection import train_test_split  # slow to import: only when data is loaded

    return train_test_split(np.arange(len(labels)), test_size=held_out, stratify=labels, random_state=seed)
