"""How good the network is: predictions, loss and accuracy, precision and recall, the confusion matrix."""

import numpy as np

from helpers import checks
from helpers.augmentation import mirrored
from helpers.functions import LOSSES
from helpers.network import forward_propagation

CHUNK = 1000  # images that go through the network at once: enough for BLAS, little memory


def predict(params, X, *, activation, mirror=False):
    """Return Ŷ (N, C), the probability of each class for each row of X (N, d_0); with mirror=True, the mean of the
    image's and its mirror image's."""
    checks.matrix("X", X)
    if mirror:
        return (predict(params, X, activation=activation) + predict(params, mirrored(X), activation=activation)) / 2
    return np.concatenate(
        [forward_propagation(params, X[i : i + CHUNK], activation)[-1] for i in range(0, len(X), CHUNK)]
    )


def evaluate(params, X, Y, *, activation, loss, mirror=False):
    """Return (loss, accuracy) of predict over X (N, d_0), Y (N, C) one-hot. Dropout and weight decay play no part.

    Raises ValueError for an unknown name, shapes or dtypes that do not fit, NaN, or labels that are not one-hot.
    """
    checks.matrix("X", X, finite=True)
    checks.one_hot("Y", Y, rows=len(X), columns=params.layers[-1][1].size)
    value, _ = LOSSES[checks.choice("loss", loss, LOSSES)]
    Y_hat = predict(params, X, activation=activation, mirror=mirror)
    return value(Y_hat, Y), accuracy(Y_hat, Y)


def accuracy(Y_hat, Y):
    """The share of rows whose most probable class is the labelled one."""
    return float(np.mean(Y_hat.argmax(axis=1) == Y.argmax(axis=1)))


def confusion_matrix(Y_hat, Y):
    """Return counts (C, C): row i, column j holds the images of class i that were taken for class j."""
    from sklearn import metrics  # slow to import: only when asked for

    return metrics.confusion_matrix(Y.argmax(axis=1), Y_hat.argmax(axis=1), labels=range(Y.shape[1]))


def per_class(Y_hat, Y, class_names):
    """Return a data frame with precision, recall, F1 and the number of images, a row a class and one for their mean.

    precision = TP/(TP+FP): of what was called a coat, how much is one; recall = TP/(TP+FN): of the coats, how many
    were found; F1 is their harmonic mean. The last row, "macro mean", weighs every class the same.
    """
    import pandas as pd
    from sklearn import metrics

    truth, called = Y.argmax(axis=1), Y_hat.argmax(axis=1)
    scores = metrics.precision_recall_fscore_support(truth, called, labels=range(Y.shape[1]), zero_division=0)
    table = pd.DataFrame(dict(zip(("precision", "recall", "F1", "images"), scores)), index=list(class_names))
    table.loc["macro mean"] = [*table[["precision", "recall", "F1"]].mean(), table["images"].sum()]
    return table.astype({"images": int})


def confident_mistakes(Y_hat, Y, count):
    """Return the indices of the `count` wrong predictions with the highest probability, the surest first."""
    wrong = np.flatnonzero(Y_hat.argmax(axis=1) != Y.argmax(axis=1))
    return wrong[np.argsort(-Y_hat[wrong].max(axis=1), kind="stable")][:count]


def calibration(probability, hit, bins=15):
    """Return (table, ECE): is a network right as often as it is sure?

    probability (N,): of the class that it named; hit (N,): whether that is the right one. The table has a row a bin
    of equal width that holds any image: mean probability, accuracy, images. The expected calibration error is the
    mean of |accuracy − probability| over the bins, weighed by their images: Guo et al. 2017, equation 3.
    """
    import pandas as pd

    which = np.minimum((probability * bins).astype(int), bins - 1)
    rows = pd.DataFrame({"probability": probability.astype(float), "accuracy": hit, "images": 1})
    table = rows.groupby(which).agg({"probability": "mean", "accuracy": "mean", "images": "sum"})
    gap = (table["accuracy"] - table["probability"]).abs()
    return table.reset_index(drop=True), float((gap * table["images"]).sum() / len(rows))
