"""Load the data sets: split, scale and one-hot encode.

Fashion-MNIST (Xiao et al. 2017) and MNIST (LeCun et al. 1998) have the same form: 60,000 training and 10,000 test
images, greyscale, 28 × 28 pixels, in ten classes.
"""

from dataclasses import dataclass

import numpy as np

from helpers.data.sources import FOLDERS, TITLES, load_raw
from helpers.experiment.checks import check_choice, check_float, check_int, image_width
from helpers.experiment.values import Problems, read_choice

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
        "Fashion-MNIST", or "Fashion-MNIST (sample)": the name for figures and tables.
    published : bool
        True if these are the published files, to which the text of the notebook and the stored results refer: not the
        small sample, another release or other data.
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
    published: bool

    @classmethod
    def from_arrays(
        cls, x_train, y_train, x_test, y_test, *, class_names=None, name="own data", validation_split=0.1, seed=0
    ):
        """Return the data set of your own images.

        Parameters
        ----------
        x_train, x_test : array_like, shape (N, d, d) or (N, d²)
            Greyscale images with values 0 … 255 or 0 … 1, as lists, arrays or data frames.
        y_train, y_test : array_like, shape (N,)
            Their labels, integers 0 … C − 1; texts such as "7" are read as integers.
        class_names : sequence of str, optional
            The names of the C classes; by default their numbers.
        name : str
            The name for figures and tables.
        validation_split, seed : float, int
            As in `load_data`.

        Returns
        -------
        Dataset

        Raises
        ------
        ValueError
            If the arrays do not fit together, or have other values.
        """
        problems, images, labels = Problems(), {}, {}
        with problems.noted():
            validation_split = check_float("validation_split", validation_split, ge=0, lt=1)
        with problems.noted():
            seed = check_int("seed", seed, ge=0, le=2**32 - 1)
        for part, X, y in (("train", x_train, y_train), ("test", x_test, y_test)):
            with problems.noted():
                images[part] = as_images(f"x_{part}", X)
            with problems.noted():
                labels[part] = as_labels(f"y_{part}", y)
            if part in images and part in labels and len(images[part]) != len(labels[part]):
                problems.append(f"x_{part} has {len(images[part])} images, and y_{part} {len(labels[part])} labels")
        problems.report()
        classes = 1 + int(max(y.max() for y in labels.values()))
        names = tuple(map(str, range(classes))) if class_names is None else tuple(map(str, class_names))
        if len(names) < max(classes, 2) or images["train"].shape[1] != images["test"].shape[1]:
            widths = [X.shape[1] for X in images.values()]
            raise ValueError(f"there are {classes} labels, {len(names)} class names (at least 2), and {widths} pixels")
        arrays = [*images.values(), *(one_hot(y, len(names)) for y in labels.values())]
        return divided(
            *arrays, labels["train"], validation_split, seed, class_names=names, source="arrays", name=name,
            convert=np.asarray,
        )  # fmt: skip


def load_data(dataset="fashion_mnist", *, validation_split=0.1, seed=0, allow_sample=False):
    """Load a data set, hold out a stratified validation set, scale the pixels and one-hot encode the labels.

    Parameters
    ----------
    dataset : {"fashion_mnist", "mnist"}, default="fashion_mnist"
        The data set. Its files are taken from the first of: the folder ``$DATASETS_DIR``; Keras's cache; the system
        package; a download.
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
    dataset = check_choice("dataset", read_choice("dataset", dataset, FOLDERS), FOLDERS)
    validation_split = check_float("validation_split", validation_split, ge=0, lt=1)
    seed = check_int("seed", seed, ge=0, le=2**32 - 1)  # the range of scikit-learn
    (x, labels, x_test, test_labels), source, variant = load_raw(dataset, allow_sample)
    name = TITLES[dataset] + (f" ({variant})" if variant else "")
    arrays = x, x_test, one_hot(labels), one_hot(test_labels)
    return divided(
        *arrays, labels, validation_split, seed, class_names=CLASS_NAMES[dataset], source=source, name=name,
        published=not variant,
    )  # fmt: skip


def scale(images):
    """Flatten images (N, 28, 28) of integers 0 … 255 into rows (N, 784) of float32 in [0, 1]."""
    return np.divide(images.reshape(len(images), -1), np.float32(255), dtype=np.float32)


def one_hot(labels, classes=10):
    """Return labels (N,) of integers 0 … classes − 1 as rows (N, classes) that are 1 at the label and 0 elsewhere."""
    return np.eye(classes, dtype=np.float32)[labels]


def divided(X, X_test, Y, Y_test, labels, validation_split, seed, *, published=False, convert=scale, **description):
    """Return the Dataset of these arrays, with a part of the training images held out; print its sizes."""
    train, val = split(labels, validation_split, seed)
    name, source = description["name"], description["source"]
    print(f"{name} from {source}: {len(train):,} training, {len(val):,} validation, {len(X_test):,} test images")
    return Dataset(
        x_train=convert(X[train]), y_train=Y[train], x_val=convert(X[val]) if len(val) else None,
        y_val=Y[val] if len(val) else None, x_test=convert(X_test), y_test=Y_test, published=published, **description,
    )  # fmt: skip


def as_images(name, X):
    """Return images as rows (N, d²) of float32 in [0, 1]; ValueError for other shapes or values."""
    X = np.asarray(X)
    if X.dtype.kind not in "iufb" or X.ndim not in (2, 3) or not X.size or (X.ndim == 3 and X.shape[1] != X.shape[2]):
        raise ValueError(f"{name} is {X.dtype} of shape {X.shape}; it must be numbers of shape (N, d, d) or (N, d²)")
    X = X.reshape(len(X), -1)
    image_width(name, X.shape[1])
    low, high = float(X.min()), float(X.max())
    if not (low >= 0 and high <= 255):
        raise ValueError(f"{name} has values from {low:g} to {high:g}; they must be in 0 … 255, or in 0 … 1")
    if 1 < high < 2:
        raise ValueError(f"{name} has values up to {high:.9g}, a little above 1: limit them with np.clip({name}, 0, 1)")
    return np.divide(X, 255 if high > 1 else 1, dtype=np.float32)


def as_labels(name, y):
    """Return labels as an array of integers (N,); ValueError if a label is not an integer from 0."""
    try:
        labels = np.asarray(y).astype(np.float64)
    except (TypeError, ValueError):
        labels = np.array(np.nan)
    if labels.ndim != 1 or not len(labels) or not ((labels >= 0) & (labels < 1000) & (labels % 1 == 0)).all():
        raise ValueError(f"{name} must be integers 0 … C − 1, one for each image, such as [3, 0, 9]")
    return labels.astype(int)


def split(labels, validation_split, seed):
    """Return the indices of the training and validation images, stratified by class."""
    held_out = round(len(labels) * validation_split)
    if validation_split == 0:
        return np.arange(len(labels)), np.arange(0)
    classes = len(np.unique(labels))
    if not classes <= held_out <= len(labels) - classes:
        raise ValueError(
            f"validation_split={validation_split!r} leaves {held_out} of {len(labels)} images for validation; "
            f"both parts need at least one image of each of the {classes} classes"
        )
    from sklearn.model_selection import train_test_split  # imported here because it is slow to import

    return train_test_split(np.arange(len(labels)), test_size=held_out, stratify=labels, random_state=seed)
