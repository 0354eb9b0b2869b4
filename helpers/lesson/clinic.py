"""The bug clinic: backward passes with one mistake each, the loss curves that they cause, and their gradient checks."""

import itertools

import numpy as np
import pandas as pd

from helpers.lesson.exercises import check, numerical_gradient, same_name
from helpers.nn import functions
from helpers.nn.initialization import intial_weights
from helpers.nn.network import apply_mask, forward_propagation

CAUSES = {
    "no 1/N": "the gradient is not divided by the number of samples",
    "no transpose": "dH = dA W instead of dA Wᵀ, in the layer whose W is square",
    "no derivative": "dA = dH, without the derivative of ReLU",
    "mean for db": "db is the mean over the samples instead of the sum",
    "no penalty": "dW is without the term λW of the L2 penalty",
    "no mask": "dH is not multiplied by the dropout mask",
}
PATIENTS = {
    "A": "no derivative", "B": "no penalty", "C": "no 1/N", "D": "no mask", "E": "mean for db", "F": "no transpose",
}  # fmt: skip
IMAGES, WEIGHT_DECAY, DROPOUT = 5000, 0.01, 0.3


def backward(params, H, Y, masks, cause=None):
    """Return the gradients ``[(dW_1, db_1), …]`` for ReLU and cross-entropy, with a mistake if a cause is named."""
    gradients, dA = [], (H[-1] - Y) / (1 if cause == "no 1/N" else len(Y))
    for k in reversed(range(len(params.layers))):
        W, _ = params.layers[k]
        dW = apply_mask(H[k], masks, k).T @ dA
        dW += 0 if cause == "no penalty" else WEIGHT_DECAY * W
        gradients.insert(0, (dW, dA.mean(axis=0) if cause == "mean for db" else dA.sum(axis=0)))
        if k > 0:
            dH = dA @ (W if cause == "no transpose" and W.shape[0] == W.shape[1] else W.T)
            dH = dH if cause == "no mask" else apply_mask(dH, masks, k)
            dA = dH if cause == "no derivative" else dH * (H[k] > 0)
    return gradients


def draw_masks(rng, N, widths, dtype):
    """Return the masks of a batch: none for the images, one (N, width) for each hidden layer."""
    draw = [(rng.random((N, width)) >= DROPOUT) / (1 - DROPOUT) for width in widths]
    return [None, *(mask.astype(dtype) for mask in draw)]


def train(data, patient=None, epochs=3, batch_size=50, learning_rate=0.1):
    """Train the network 784-64-64-10 with SGD, with the backward pass of a patient, or with the right one.

    Returns the mean cross-entropy of each 20 batches, a Series over the steps. It ends where it is no longer finite.
    """
    params, rng, losses = intial_weights(2, 64, "He"), np.random.default_rng(0), []
    orders = [rng.permutation(min(IMAGES, len(data.x_train))) for _ in range(epochs)]
    with np.errstate(all="ignore"):  # one of them diverges
        for order, start in itertools.product(orders, range(0, len(orders[0]), batch_size)):
            X, Y = (array[order[start : start + batch_size]] for array in (data.x_train, data.y_train))
            masks = draw_masks(rng, len(X), (64, 64), X.dtype)
            H = forward_propagation(params, X, "ReLU", masks=masks)
            losses.append(functions.cross_entropy(H[-1], Y))
            gradients = backward(params, H, Y, masks, PATIENTS.get(patient))
            for (W, b), (dW, db) in zip(params.layers, gradients, strict=True):
                W -= learning_rate * dW
                b -= learning_rate * db
    curve = pd.Series(losses, range(1, len(losses) + 1), dtype=float)
    return curve.groupby((curve.index - 1) // 20 * 20 + 20).mean().where(np.isfinite).dropna()


def gradient_errors(patient=None, dropout=True):
    """Return the relative error of each gradient of a small network, ``{"dW_1": …}``, by central differences."""
    rng = np.random.default_rng(0)
    params = intial_weights(2, 6, "He", inputs=8, classes=4, dtype=np.float64)
    params.theta[:] += rng.normal(0, 0.1, params.theta.size)
    X, Y = rng.normal(size=(5, 8)), np.eye(4)[[0, 1, 2, 3, 1]]
    masks = draw_masks(rng, 5, (6, 6), np.float64) if dropout else None

    def loss():
        penalty = sum((W**2).sum() for W, _ in params.layers)
        Y_hat = forward_propagation(params, X, "ReLU", masks=masks)[-1]
        return functions.cross_entropy(Y_hat, Y) + WEIGHT_DECAY / 2 * penalty

    H, errors = forward_propagation(params, X, "ReLU", masks=masks), {}
    gradients = backward(params, H, Y, masks, PATIENTS.get(patient))
    for k, (pair, arrays) in enumerate(zip(gradients, params.layers, strict=True), 1):
        for name, value, array in zip((f"dW_{k}", f"db_{k}"), pair, arrays, strict=True):
            expected = numerical_gradient(loss, array)
            scale = np.linalg.norm(value) + np.linalg.norm(expected)
            errors[name] = float(np.linalg.norm(value - expected) / scale)
    return errors


@check
def check_diagnosis(diagnosis):
    """Check a diagnosis, the key of `CAUSES` for each of the six patients."""
    found = {str(patient).upper(): cause for patient, cause in diagnosis.items()}
    left = [patient for patient in PATIENTS if found.get(patient, ...) is ...]
    if len(left) == len(PATIENTS):
        raise NotImplementedError
    if left:
        return f"{', '.join(left)} is still open." if len(left) == 1 else f"{', '.join(left)} are still open."
    unknown = sorted({repr(cause) for cause in found.values() if not any(same_name(cause, own) for own in CAUSES)})
    if unknown:
        return f"unknown: {', '.join(unknown)}. The causes are: {', '.join(map(repr, CAUSES))}."
    wrong = [patient for patient, cause in PATIENTS.items() if not same_name(found[patient], cause)]
    hint = "Which of the gradients are wrong, from the last layer backwards, and what do they have in common?"
    return f"not correct: {', '.join(wrong)}. {hint}" if wrong else None
