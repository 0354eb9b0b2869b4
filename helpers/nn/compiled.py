"""The compiled engine: the element-wise work of a training step as Numba loops, in preallocated arrays.

It is optional, and computes bitwise the same as the NumPy functions of this package: each loop evaluates the same
expression in the same order and in the same type (no fastmath), matrix products are NumPy's, and so are the functions
that libraries evaluate differently (exp, tanh). Update rules and activations that have no loop here run in NumPy.
"""

import math
from contextlib import suppress

import numpy as np
from numba import njit

from helpers.nn import functions, optimizers
from helpers.nn.engine import flush_limit
from helpers.nn.functions import ACTIVATIONS, LOSSES
from helpers.nn.network import sizes_of, unflatten


def jit(function):
    """Compile the function when it is first called; keep the machine code on disk if it can be written."""
    options = {"nogil": True, "error_model": "numpy"}
    try:
        compiled = njit(cache=True, **options)(function)
    except RuntimeError:  # no writable cache folder
        return njit(**options)(function)
    save = compiled._cache.save_overload

    def save_if_possible(*arguments):
        with suppress(OSError):  # the disk is full
            save(*arguments)

    compiled._cache.save_overload = save_if_possible
    return compiled


# ---- activations: A ← f(A + b), and dA ← dH ∘ f′ with its column sums db ----


@jit
def add_bias_relu(A, b):
    """A ← max(A + b, 0)"""
    zero = A.dtype.type(0)
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            a = A[i, j] + b[j]
            A[i, j] = a if a > zero or a != a else zero  # as np.maximum: NaN stays, and −0 becomes 0


def add_bias_tanh(A, b):
    """A ← tanh(A + b)"""
    np.add(A, b, out=A)
    np.tanh(A, out=A)


@jit
def add_bias_half(A, b):
    """A ← (A + b) / 2"""
    half = A.dtype.type(0.5)
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            A[i, j] = half * (A[i, j] + b[j])


@jit
def half_of_one_plus(A):
    """A ← (1 + A) / 2"""
    one, half = A.dtype.type(1), A.dtype.type(0.5)
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            A[i, j] = half * (one + A[i, j])


def add_bias_sigmoid(A, b):
    """A ← σ(A + b)"""
    add_bias_half(A, b)
    np.tanh(A, out=A)
    half_of_one_plus(A)


@jit
def add_bias_subtract_max(A, b):
    """A ← A + b, minus the maximum of the row"""
    for i in range(A.shape[0]):
        largest = A[i, 0] + b[0]
        for j in range(A.shape[1]):
            a = A[i, j] + b[j]
            A[i, j] = a
            if a > largest:
                largest = a
        for j in range(A.shape[1]):
            A[i, j] -= largest


def add_bias_softmax(A, b):
    """A ← softmax(A + b)"""
    add_bias_subtract_max(A, b)
    np.exp(A, out=A)
    np.divide(A, np.add.reduce(A, axis=1, keepdims=True), out=A)


@jit
def times_d_relu(dH, H, db):
    """dH ← dH ∘ ReLU′;  db ← Σ_n dH"""
    zero, one = H.dtype.type(0), H.dtype.type(1)
    db[:] = zero
    for i in range(H.shape[0]):
        for j in range(H.shape[1]):
            d = dH[i, j] * (one if H[i, j] > zero else zero)
            dH[i, j] = d
            db[j] += d


@jit
def times_d_tanh(dH, H, db):
    """dH ← dH ∘ (1 − H²);  db ← Σ_n dH"""
    one = H.dtype.type(1)
    db[:] = H.dtype.type(0)
    for i in range(H.shape[0]):
        for j in range(H.shape[1]):
            d = dH[i, j] * (one - H[i, j] * H[i, j])
            dH[i, j] = d
            db[j] += d


@jit
def times_d_sigmoid(dH, H, db):
    """dH ← dH ∘ H(1 − H);  db ← Σ_n dH"""
    one = H.dtype.type(1)
    db[:] = H.dtype.type(0)
    for i in range(H.shape[0]):
        for j in range(H.shape[1]):
            d = dH[i, j] * (H[i, j] * (one - H[i, j]))
            dH[i, j] = d
            db[j] += d


FORWARD = {functions.relu: add_bias_relu, functions.tanh: add_bias_tanh, functions.sigmoid: add_bias_sigmoid}
BACKWARD = {functions.d_relu: times_d_relu, functions.d_tanh: times_d_tanh, functions.d_sigmoid: times_d_sigmoid}


# ---- update rules: the loops of optimizers.py, with scalars in the type of the arrays ----


@jit
def sgd_loop(theta, g, rate):
    """θ ← θ − ηg"""
    for i in range(theta.size):
        theta[i] -= rate * g[i]


@jit
def momentum_loop(theta, g, u, rate, beta):
    """u ← βu + g;  θ ← θ − ηu"""
    for i in range(theta.size):
        u[i] = beta * u[i] + g[i]
        theta[i] -= rate * u[i]


@jit
def nag_loop(theta, g, u, rate, beta):
    """u ← βu + g;  θ ← θ − η(g + βu)"""
    for i in range(theta.size):
        u[i] = beta * u[i] + g[i]
        theta[i] -= rate * (g[i] + beta * u[i])


@jit
def rmsprop_loop(theta, g, v, rate, beta, one_minus_beta, epsilon):
    """v ← βv + (1−β)g²;  θ ← θ − η g / (√v + ε)"""
    for i in range(theta.size):
        v[i] = beta * v[i] + one_minus_beta * (g[i] * g[i])
        theta[i] -= rate * g[i] / (np.sqrt(v[i]) + epsilon)


@jit
def adagrad_loop(theta, g, v, rate, epsilon):
    """v ← v + g²;  θ ← θ − η g / (√v + ε)"""
    for i in range(theta.size):
        v[i] += g[i] * g[i]
        theta[i] -= rate * g[i] / (np.sqrt(v[i]) + epsilon)


@jit
def adadelta_loop(theta, g, v, w, rate, beta, one_minus_beta, epsilon):
    """v ← βv + (1−β)g²;  δ = g √((w + ε) / (v + ε));  w ← βw + (1−β)δ²;  θ ← θ − ηδ"""
    for i in range(theta.size):
        v[i] = beta * v[i] + one_minus_beta * (g[i] * g[i])
        delta = g[i] * np.sqrt((w[i] + epsilon) / (v[i] + epsilon))
        w[i] = beta * w[i] + one_minus_beta * (delta * delta)
        theta[i] -= rate * delta


@jit
def adam_loop(theta, g, m, v, rate, beta1, one_minus_beta1, beta2, one_minus_beta2, epsilon):
    """m ← β₁m + (1−β₁)g;  v ← β₂v + (1−β₂)g²;  θ ← θ − η m / (√v + ε)"""
    for i in range(theta.size):
        m[i] = beta1 * m[i] + one_minus_beta1 * g[i]
        v[i] = beta2 * v[i] + one_minus_beta2 * (g[i] * g[i])
        theta[i] -= rate * m[i] / (np.sqrt(v[i]) + epsilon)


@jit
def nadam_loop(theta, g, m, v, rate, beta1, one_minus_beta1, beta2, one_minus_beta2, a, b, epsilon):
    """m ← β₁m + (1−β₁)g;  v ← β₂v + (1−β₂)g²;  θ ← θ − η (am + bg) / (√v + ε)"""
    for i in range(theta.size):
        m[i] = beta1 * m[i] + one_minus_beta1 * g[i]
        v[i] = beta2 * v[i] + one_minus_beta2 * (g[i] * g[i])
        theta[i] -= rate * (a * m[i] + b * g[i]) / (np.sqrt(v[i]) + epsilon)


@jit
def decay_loop(dW, W, factor):
    """dW ← dW + λW"""
    for i in range(W.size):
        dW[i] += factor * W[i]


@jit
def flush_loop(vector, limit):
    """Set entries below `limit` in magnitude to zero."""
    zero = vector.dtype.type(0)
    for i in range(vector.size):
        if abs(vector[i]) < limit:
            vector[i] = zero


@jit
def mask_loop(M, dropout, scale):
    """Turn uniform random numbers into an inverted-dropout mask."""
    zero = M.dtype.type(0)
    for i in range(M.size):
        M[i] = scale if M[i] >= dropout else zero


def run(loop, vectors, *scalars):
    """Call the loop, with the scalars converted to the type of the vectors, as NumPy does."""
    convert = vectors[0].dtype.type
    loop(*vectors, *[convert(scalar) for scalar in scalars])


def sgd(theta, g, t, *, learning_rate):
    """See `optimizers.sgd`."""
    run(sgd_loop, (theta, g), learning_rate)


def momentum(theta, g, t, u, *, learning_rate, momentum):
    """See `optimizers.momentum`."""
    run(momentum_loop, (theta, g, u), learning_rate, momentum)


def nag(theta, g, t, u, *, learning_rate, momentum):
    """See `optimizers.nag`."""
    run(nag_loop, (theta, g, u), learning_rate, momentum)


def rmsprop(theta, g, t, v, *, learning_rate, beta, epsilon):
    """See `optimizers.rmsprop`."""
    run(rmsprop_loop, (theta, g, v), learning_rate, beta, 1 - beta, epsilon)


def adagrad(theta, g, t, v, *, learning_rate, epsilon):
    """See `optimizers.adagrad`."""
    run(adagrad_loop, (theta, g, v), learning_rate, epsilon)


def adadelta(theta, g, t, v, w, *, learning_rate, beta, epsilon):
    """See `optimizers.adadelta`."""
    run(adadelta_loop, (theta, g, v, w), learning_rate, beta, 1 - beta, epsilon)


def adam(theta, g, t, m, v, *, learning_rate, beta1, beta2, epsilon):
    """See `optimizers.adam`."""
    c = math.sqrt(1 - beta2**t)
    rate = learning_rate * c / (1 - beta1**t)
    run(adam_loop, (theta, g, m, v), rate, beta1, 1 - beta1, beta2, 1 - beta2, c * epsilon)


def nadam(theta, g, t, m, v, *, learning_rate, beta1, beta2, epsilon):
    """See `optimizers.nadam`."""
    c = math.sqrt(1 - beta2**t)
    a, b = beta1 / (1 - beta1 ** (t + 1)), (1 - beta1) / (1 - beta1**t)
    run(nadam_loop, (theta, g, m, v), learning_rate * c, beta1, 1 - beta1, beta2, 1 - beta2, a, b, c * epsilon)


RULES = {
    getattr(optimizers, rule.__name__): rule for rule in (sgd, momentum, nag, rmsprop, adagrad, adadelta, adam, nadam)
}


class CompiledEngine:
    """The functions that a `Trainer` calls in each step, with arrays that are allocated once.

    The arrays that a method returns are overwritten by its next call.

    Parameters
    ----------
    params : Params
        The parameters of the network.
    """

    name = "numba"

    def __init__(self, params):
        self.sizes, self.dtype = sizes_of(params), params.theta.dtype
        self.gradient = unflatten(np.empty_like(params.theta), self.sizes)
        self.arrays = {}
        self.forward = None, None  # the last H, and what its layers read

    def layer_arrays(self, name, N):
        """Return one array (N, d_k) for each layer, inputs included, called `name`."""
        if (name, N) not in self.arrays:
            self.arrays[name, N] = [np.empty((N, d), self.dtype) for d in self.sizes]
        return self.arrays[name, N]

    def take(self, name, array, index):
        """Return the rows `index` of the array, which is called `name`."""
        N = len(index)
        if (name, N) not in self.arrays:
            self.arrays[name, N] = np.empty((N, array.shape[1]), array.dtype)
        # mode="clip" writes to `out` without a buffer
        return np.take(array, index, axis=0, out=self.arrays[name, N], mode="clip")

    def update_rule(self, rule):
        """Return the compiled update rule; the rule itself if there is none."""
        return RULES.get(rule, rule)

    def flush_denormals(self, vector):
        """See `engine.NumpyEngine`."""
        flush_loop(vector, vector.dtype.type(flush_limit(vector.dtype)))

    def dropout_masks(self, rng, dropout, shapes, dtype):
        """See `network.dropout_masks`."""
        masks = self.layer_arrays("M", shapes[0][0])[1:-1]
        for M in masks:
            rng.random(dtype=M.dtype, out=M)
            run(mask_loop, (M.reshape(-1),), dropout, 1 / (1 - dropout))
        return masks

    def masked(self, H, masks, k):
        """See `network.apply_mask`."""
        if masks is None or masks[k] is None:
            return H
        return np.multiply(H, masks[k], out=self.layer_arrays("masked", len(H))[k])

    def forward_propagation(self, params, X, activation, *, masks=None):
        """See `network.forward_propagation`."""
        f, _ = ACTIVATIONS[activation]
        arrays, H, inputs, last = self.layer_arrays("H", len(X)), [X], [], len(params.layers) - 1
        for k, (W, b) in enumerate(params.layers):
            A = arrays[k + 1]
            inputs.append(self.masked(H[k], masks, k))
            np.matmul(inputs[k], W, out=A)
            if k == last:
                add_bias_softmax(A, b)
            elif f in FORWARD:
                FORWARD[f](A, b)
            else:
                A += b
                A[:] = f(A)
            H.append(A)
        self.forward = H, inputs
        return H

    def backward_propagation(self, params, H, Y, activation, loss, *, weight_decay=0.0, masks=None):
        """See `network.backward_propagation`."""
        _, d_f = ACTIVATIONS[activation]
        _, d_loss = LOSSES[loss]
        seen, inputs = self.forward
        if H is not seen:
            inputs = [self.masked(H[k], masks, k) for k in range(len(params.layers))]
        arrays, dA = self.layer_arrays("dH", len(Y)), d_loss(H[-1], Y)
        np.add.reduce(dA, axis=0, out=self.gradient.layers[-1][1])
        for k in reversed(range(len(params.layers))):
            (W, _), (dW, _) = params.layers[k], self.gradient.layers[k]
            np.matmul(inputs[k].T, dA, out=dW)
            if weight_decay:
                run(decay_loop, (dW.reshape(-1), W.reshape(-1)), weight_decay)
            if k > 0:
                db = self.gradient.layers[k - 1][1]
                dH = np.matmul(dA, W.T, out=arrays[k])
                if masks is not None and masks[k] is not None:
                    dH *= masks[k]
                if d_f in BACKWARD and db.size > 1:
                    BACKWARD[d_f](dH, H[k], db)
                else:
                    dH *= d_f(H[k])
                    np.add.reduce(dH, axis=0, out=db)
                dA = dH
        return self.gradient
