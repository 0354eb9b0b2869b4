"""Activations and losses, each beside its derivative.

Every function works on a batch, one row a sample, and writes its result into `out` where one is given (which may
be its own input). N is the number of rows, C the number of classes, Y (N, C) one-hot, Ŷ (N, C) the predicted
probabilities.
"""

import numpy as np

# ---- activations: H = f(A). A derivative is written in terms of the output H, so A need not be kept ----


def identity(A, out=None):
    """f(a) = a"""
    return np.positive(A, out=out)


def d_identity(H, out=None):
    """f′ = 1"""
    out = np.empty_like(H) if out is None else out
    out.fill(1)
    return out


def sigmoid(A, out=None):
    """σ(a) = 1 / (1 + e^(−a)) = (1 + tanh(a/2)) / 2. The second form cannot overflow."""
    out = np.multiply(A, 0.5, out=out)
    np.tanh(out, out=out)
    out += 1
    out *= 0.5
    return out


def d_sigmoid(H, out=None):
    """σ′ = σ(1 − σ)"""
    if out is None or out is H:
        return np.multiply(H, 1 - H, out=out)
    np.subtract(1, H, out=out)
    return np.multiply(H, out, out=out)


def tanh(A, out=None):
    """tanh(a) = (e^a − e^(−a)) / (e^a + e^(−a))"""
    return np.tanh(A, out=out)


def d_tanh(H, out=None):
    """tanh′ = 1 − tanh²"""
    out = np.square(H, out=out)
    return np.subtract(1, out, out=out)


def relu(A, out=None):
    """ReLU(a) = max(a, 0)"""
    return np.maximum(A, 0, out=out)


def d_relu(H, out=None):
    """ReLU′ = 1 where the unit is on (h > 0), else 0; at the kink, 0."""
    out = np.empty_like(H) if out is None else out
    return np.greater(H, 0, out=out)


def softmax(A, out=None):
    """ŷ_j = e^(a_j) / Σ_k e^(a_k), row by row. Subtracting the row's maximum changes nothing and cannot overflow."""
    out = np.subtract(A, A.max(axis=1, keepdims=True), out=out)
    np.exp(out, out=out)
    out /= out.sum(axis=1, keepdims=True)
    return out


# ---- losses: the mean over the batch, and its derivative by the logits A_L, with Ŷ = softmax(A_L) ----


def cross_entropy(Y_hat, Y):
    """L = −(1/N) Σ_n Σ_j y_nj log ŷ_nj. A ŷ of 0 counts as the smallest normal number, so L is always finite."""
    log = np.maximum(Y_hat, np.finfo(Y_hat.dtype).tiny)
    np.log(log, out=log)
    return -float(np.vdot(Y, log)) / len(Y)


def d_cross_entropy(Y_hat, Y, out=None):
    """dA_L = (Ŷ − Y) / N: softmax and logarithm cancel."""
    out = np.subtract(Y_hat, Y, out=out)
    out /= len(Y)
    return out


def mean_squared_error(Y_hat, Y):
    """L = (1/NC) Σ_n Σ_j (ŷ_nj − y_nj)²: the mean over batch and classes, as in Keras and scikit-learn."""
    difference = Y_hat - Y
    return float(np.vdot(difference, difference)) / Y.size


def d_mean_squared_error(Y_hat, Y, out=None):
    """dA_L = Ŷ ∘ (G − Σ_j g_j ŷ_j) with G = 2(Ŷ − Y)/NC: through softmax's full Jacobian ŷ_i(δ_ij − ŷ_j)."""
    G = (Y_hat - Y) * (2 / Y.size)
    G -= (G * Y_hat).sum(axis=1, keepdims=True)
    return np.multiply(Y_hat, G, out=out)


ACTIVATIONS = {
    "identity": (identity, d_identity),
    "sigmoid": (sigmoid, d_sigmoid),
    "tanh": (tanh, d_tanh),
    "ReLU": (relu, d_relu),
}
LOSSES = {
    "cross_entropy": (cross_entropy, d_cross_entropy),
    "mean_squared_error": (mean_squared_error, d_mean_squared_error),
}
