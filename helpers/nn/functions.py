"""Activation functions and losses, each next to its derivative.

Each function works on a batch of N samples, one per row: A are the pre-activations of a layer, H = f(A) its outputs,
A_L the logits (last layer), Y (N, C) the one-hot labels, Ŷ (N, C) the probabilities of the C classes; ℒ is the loss.
"""

import numpy as np


def check_choice(argument, value, allowed):
    """Return `value` in the spelling of `allowed`, whatever its upper and lower case; ValueError if it has none."""
    same = [choice for choice in allowed if isinstance(value, str) and value.lower() == choice.lower()]
    if same:
        return value if value in same else same[0]
    raise ValueError(f"{argument}={value!r} is unknown; choose one of: {', '.join(allowed)}")


class Registry(dict):
    """Functions by name. Lookup ignores case, and an unknown name raises a ValueError that lists the known ones."""

    def __init__(self, argument, **entries):
        super().__init__(entries)
        self.argument = argument

    def __getitem__(self, name):
        entry = isinstance(name, str) and self.get(name)
        return entry or self[check_choice(self.argument, name, self)]

    def __contains__(self, name):
        return isinstance(name, str) and name.lower() in map(str.lower, self)


# Activations, H = f(A). The derivative is written in terms of the output H, so that A need not be stored.
def identity(A):
    """f(a) = a"""
    return A.copy()


def d_identity(H):
    """f′ = 1"""
    return np.ones_like(H)


def sigmoid(A):
    """σ(a) = 1 / (1 + e^(−a)) = (1 + tanh(a/2)) / 2

    The second form cannot overflow. In float32 its relative error is 2.6 % at a = −15.
    """
    return 0.5 * (1 + np.tanh(0.5 * A))


def d_sigmoid(H):
    """σ′ = σ(1 − σ)"""
    return H * (1 - H)


def tanh(A):
    """tanh(a) = (e^a − e^(−a)) / (e^a + e^(−a))"""
    return np.tanh(A)


def d_tanh(H):
    """tanh′ = 1 − tanh²"""
    return 1 - H**2


def relu(A):
    """ReLU(a) = max(a, 0)"""
    return np.maximum(A, 0)


def d_relu(H):
    """ReLU′ = 1 where the unit is active (h > 0), else 0. At a = 0 the derivative is taken to be 0."""
    return (H > 0).astype(H.dtype)


def softmax(A):
    """ŷ_j = e^(a_j) / Σ_k e^(a_k), row by row. Subtracting the row's maximum cancels, and prevents overflow."""
    E = np.exp(A - A.max(axis=1, keepdims=True))
    return E / E.sum(axis=1, keepdims=True)


# Losses, the mean over the batch, and the gradient with respect to the logits A_L, where Ŷ = softmax(A_L).
def cross_entropy(Y_hat, Y):
    """ℒ = −(1/N) Σ_n Σ_j y_nj log ŷ_nj"""
    log = np.log(np.maximum(Y_hat, np.finfo(Y_hat.dtype).tiny))  # finite also for ŷ = 0
    return -float(np.vdot(Y, log)) / len(Y)


def d_cross_entropy(Y_hat, Y):
    """dA_L = (Ŷ − Y) / N: the derivatives of softmax and logarithm cancel."""
    return (Y_hat - Y) / len(Y)


def mean_squared_error(Y_hat, Y):
    """ℒ = (1/NC) Σ_n Σ_j (ŷ_nj − y_nj)², the mean over batch and classes"""
    difference = Y_hat - Y
    return float(np.vdot(difference, difference)) / Y.size


def d_mean_squared_error(Y_hat, Y):
    """dA_L = Ŷ ∘ (G − Σ_j g_j ŷ_j) with G = 2(Ŷ − Y)/NC, by softmax's derivative"""
    G = (Y_hat - Y) * (2 / Y.size)
    return Y_hat * (G - (G * Y_hat).sum(axis=1, keepdims=True))


ACTIVATIONS = Registry(
    "activation", identity=(identity, d_identity), sigmoid=(sigmoid, d_sigmoid), tanh=(tanh, d_tanh),
    ReLU=(relu, d_relu),
)  # fmt: skip
LOSSES = Registry(
    "loss", cross_entropy=(cross_entropy, d_cross_entropy),
    mean_squared_error=(mean_squared_error, d_mean_squared_error),
)  # fmt: skip
