"""Load the data sets: split, scale and one-hot encode.

Fashion-MNIST (Xiao et al. 2017) and MNIST (LeCun et al. 1998) have the same form: 60,000 training and 10,000 test
images, greyscale, 28 × 28 pixels, in ten classes.
"""

from dataclasses import dataclass

import numpy as np

from helpers.data.sources import FOLDERS, TITLES, load_raw
from helpers.experiment.checks import check_choice, check_float, check_int

__all__ = ["CLASS_NAMES", "Dataset", "load_data", "one_hot", "scale"]

CLASS_NAMES = {
    "fashion_mnist": (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    "mnist": tuple("0123456789"),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels in three disjoint parts: training, validation, test.

    Attributes
    ----------
    x_train, x_val, x_test : ndarray of float32, shape (N, 784)
        One image per row, pixels in [0, 1]. (54000, 784), (6000, 784) and (10000, 784) by default; `x_val` is None if
        nothing is held out.
    y_train, y_val, y_test : ndarray of float32, shape (N, 10)
        The labels, one-hot.
    class_names : tuple of str
        The names of the ten classes.
    source : str
        The place that the files came from.
    name : str
        "Fashion-MNIST" or "Fashion-MNIST (sample)": the name for figures and tables.
    sample : bool
        True if this is only the small sample that ships with the package.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray | None
    y_val: np.ndarray | None
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple
    source: str
    name: str
    sample: bool


def load_data(dataset="fashion_mnist", *, validation_split=0.1, seed=0, allow_sample=False):
    """Load a data set, hold out a stratified validation set, scale the pixels and one-hot encode the labels.

    Parameters
    ----------
    dataset : {"fashion_mnist", "mnist"}, default="fashion_mnist"
        The data set. Its files are taken from the first of: the folder ``fashion-mnist/`` or ``mnist/`` in
        ``$DATASETS_DIR``; Keras's cache; the system package; a download.
    validation_split : float, default=0.1
        Fraction of the training images that is held out; 0 for none.
    seed : int, default=0
        Seed of the split.
    allow_sample : bool, default=False
        If no source has the files, load the sample of 6,000 + 1,000 images that ships with the package, with a
        warning.

    Returns
    -------
    Dataset
        The data. Its name, source and sizes are printed.

    Raises
    ------
    ValueError
        If an argument is not valid or a file is damaged.
    FileNotFoundError
        If no source has the files; the message explains how to get them.
    """
    dataset = check_choice("dataset", dataset, FOLDERS)
    validation_split = check_float("validation_split", validation_split, ge=0, lt=1)
    seed = check_int("seed", seed, ge=0, le=2**32 - 1)  # the range of scikit-learn
    (x, labels, x_test, test_labels), source, sample = load_raw(dataset, allow_sample)
    train, val = split(labels, validation_split, seed)
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
    """Flatten images (N, 28, 28) of integers 0 … 255 into rows (N, 784) of float32 in [0, 1]."""
    return np.divide(images.reshape(len(images), -1), np.float32(255), dtype=np.float32)


def one_hot(labels, classes=10):
    """Return labels (N,) of integers 0 … classes − 1 as rows (N, classes) that are 1 at the label and 0 elsewhere."""
    return np.eye(classes, dtype=np.float32)[labels]


def split(labels, validation_split, seed):
    """Return the indices of the training and validation images, stratified by class."""
    held_out = round(len(labels) * validation_split)
    if validation_split == 0:
        return np.arange(len(labels)), np.arange(0)
    if not 10 <= held_out <= len(labels) - 10:
        raise ValueError(
            f"validation_split={validation_split!r} leaves {held_out} of {len(labels)} images for validation; "
            "both parts need at least one image of each of the ten classes"
        )
    from sklearn.model_selection import train_test_split  # imported here because it is slow to import

    return train_test_split(np.arange(len(labels)), test_size=held_out, stratify=labels, random_state=seed)
