"""Predictions and their evaluation: loss, accuracy, per-class scores, the confusion matrix."""

import numpy as np

from helpers.experiment.augmentation import NEIGHBOURS, horizontal_flip, shift
from helpers.experiment.checks import check_matrix, check_one_hot
from helpers.nn.functions import ACTIVATIONS, LOSSES, relu
from helpers.nn.network import NUMPY, backward_propagation, forward_propagation

CHUNK = 1000  # images in one forward pass: enough for BLAS, little memory


def predict(params, X, *, activation, flip_tta=False, shift_tta=False, engine=NUMPY):
    """Return the predicted probabilities of each class.

    Parameters
    ----------
    params : Params
        A trained network.
    X : ndarray, shape (N, d_0)
        One image per row, of the parameters' dtype.
    activation : str
        The activation that the network was trained with.
    flip_tta : bool, default=False
        Test-time augmentation: average the predictions for each image and its horizontal flip.
    shift_tta : bool, default=False
        Average the predictions for each image and its shifts by one pixel up, down, left and right; with `flip_tta`
        also those of the flipped images.
    engine : Engine, optional
        Computes the array operations.

    Returns
    -------
    ndarray, shape (N, C)
        Ŷ, one row of probabilities per image.

    Raises
    ------
    ValueError
        If X does not fit the network, or the activation is unknown.
    """
    check_matrix("X", X, columns=params.layers[0][0].shape[0])
    if X.dtype != params.theta.dtype:
        raise ValueError(f"X is {X.dtype}; the parameters are {params.theta.dtype}: convert one of them with astype")
    moves = NEIGHBOURS if shift_tta else NEIGHBOURS[:1]
    ways = [(move, flip) for flip in ((False, True) if flip_tta else (False,)) for move in moves]

    def view(chunk, move, flip):
        shifted = shift(chunk, *move) if any(move) else chunk
        return horizontal_flip(shifted) if flip else shifted

    def probabilities(images):
        engine.new_step()
        return forward_propagation(params, images, activation, engine=engine)[-1]

    chunks = [X[i : i + CHUNK] for i in range(0, len(X), CHUNK)]
    return np.concatenate([sum(probabilities(view(chunk, *way)) for way in ways) / len(ways) for chunk in chunks])


def evaluate(params, X, Y, *, activation, loss, flip_tta=False, shift_tta=False):
    """Return ``(loss, accuracy)`` of the predictions for X (N, d_0) with the one-hot labels Y (N, C).

    The loss is the mean over the images, without dropout and without the L2 penalty. `activation`, `flip_tta` and
    `shift_tta` are those of `predict`; `loss` is a key of ``LOSSES``. Raises ValueError for an unknown name, for shapes
    or dtypes that do not fit, for NaN or infinity in X, and for labels that are not one-hot.
    """
    check_matrix("X", X, finite=True)
    check_one_hot("Y", Y, rows=len(X), columns=params.layers[-1][1].size)
    loss_function, _ = LOSSES[loss]
    Y_hat = predict(params, X, activation=activation, flip_tta=flip_tta, shift_tta=shift_tta)
    return loss_function(Y_hat, Y), accuracy(Y_hat, Y)


def accuracy(Y_hat, Y):
    """Return the fraction of rows whose most probable class in Ŷ (N, C) is the label in Y (N, C)."""
    return float(np.mean(Y_hat.argmax(axis=1) == Y.argmax(axis=1)))


def confusion_matrix(Y_hat, Y):
    """Return counts (C, C): row i, column j holds the images of class i that were predicted as class j."""
    from sklearn import metrics  # imported here because it is slow to import

    return metrics.confusion_matrix(Y.argmax(axis=1), Y_hat.argmax(axis=1), labels=range(Y.shape[1]))


def per_class_scores(Y_hat, Y, class_names):
    """Return precision, recall, F1 score and number of images of each class, and their macro average.

    precision = TP/(TP+FP), recall = TP/(TP+FN), F1 is their harmonic mean. The macro average weights each class
    equally.

    Parameters
    ----------
    Y_hat, Y : ndarray, shape (N, C)
        Predicted probabilities and one-hot labels.
    class_names : sequence of str
        The C names.

    Returns
    -------
    pandas.DataFrame
        Columns ``precision``, ``recall``, ``f1-score``, ``support``; one row per class and the row ``macro avg``.
    """
    import pandas as pd
    from sklearn import metrics

    report = metrics.classification_report(
        Y.argmax(axis=1), Y_hat.argmax(axis=1), labels=range(Y.shape[1]), target_names=list(class_names),
        output_dict=True, zero_division=0,
    )  # fmt: skip
    rows = [*class_names, "macro avg"]
    return pd.DataFrame({name: report[name] for name in rows}).T.astype({"support": int})


def confident_errors(Y_hat, Y, count):
    """Return the indices of the `count` wrong predictions with the highest probability, in descending order of it."""
    wrong = np.flatnonzero(Y_hat.argmax(axis=1) != Y.argmax(axis=1))
    return wrong[np.argsort(-Y_hat[wrong].max(axis=1), kind="stable")][:count]


def layer_diagnostics(params, X, Y, config):
    """Return the norm of each layer's gradient, and the share of dead units of each hidden layer.

    Parameters
    ----------
    params : Params
        The parameters of the network.
    X, Y : ndarray, shape (N, d_0) and (N, C)
        Images and one-hot labels; the gradient is that of their mean loss, without dropout.
    config : Config
        Its activation, loss and weight_decay are used.

    Returns
    -------
    dict of float
        ``gradient_norm/W1`` …: the Euclidean norm of ∂loss/∂W_k. For ReLU also ``dead_units/layer1`` …: the fraction of
        units that are 0 for every image in X.
    """
    H = forward_propagation(params, X, config.activation)
    gradient = backward_propagation(params, H, Y, config.activation, config.loss, weight_decay=config.weight_decay)
    values = {f"gradient_norm/W{k}": float(np.linalg.norm(dW)) for k, (dW, _) in enumerate(gradient.layers, 1)}
    if ACTIVATIONS[config.activation][0] is relu:
        values |= {f"dead_units/layer{k}": float((h <= 0).all(axis=0).mean()) for k, h in enumerate(H[1:-1], 1)}
    return values
