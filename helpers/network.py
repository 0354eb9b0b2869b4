"""The network: its parameters, their first values, the forward and the backward pass.

Shapes: X = H_0 (N, d_0) · W_k (d_{k-1}, d_k) · b_k (d_k,) · A_k, H_k (N, d_k) · H_L = Ŷ (N, C) · Y (N, C).
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from helpers import checks
from helpers.functions import ACTIVATIONS, LOSSES, softmax


class Params(NamedTuple):
    """The parameters (or their gradients): one vector for the optimizer, and the layers as views into it."""

    theta: np.ndarray  # (P,) every parameter, one contiguous vector: what an optimizer updates
    layers: list  # [(W_1, b_1), …, (W_L, b_L)], views into theta: what the network multiplies by


class Buffers(NamedTuple):
    """The arrays that one pass over a batch writes, so that a training loop allocates them once."""

    H: list  # [H_1, …, H_L]
    dH: list  # the same shapes
    dA: list  # the same shapes
    decay: list  # [λW_1, …, λW_L]
    ones: np.ndarray  # (N,)


MOST_PARAMS = 50_000_000
SMALLEST_WINDOW = 0.5  # pixels: a unit with a smaller receptive field would see nothing

# The spread of the first weights, from fan-in and fan-out. Each keeps the signal's size in its own way.
WEIGHT_INITS = {
    # normal, standard deviation 0.05 whatever the layer's size (the default of Keras's RandomNormal)
    "random": lambda rng, n, m: rng.normal(0, 0.05, (n, m)),
    # uniform on ±√(6/(n+m)): Glorot & Bengio 2010, equation 16
    "Xavier": lambda rng, n, m: rng.uniform(-1, 1, (n, m)) * np.sqrt(6 / (n + m)),
    # normal, variance 2/n: He et al. 2015, equation 10
    "He": lambda rng, n, m: rng.normal(0, 1, (n, m)) * np.sqrt(2 / n),
}


def layer_sizes(num_layers, hidden_size, inputs=784, classes=10):
    """Return [d_0, …, d_L]. `hidden_size` is one int, or one int a hidden layer. ValueError if they do not fit."""
    num_layers = checks.whole("num_layers", num_layers, most=1000)
    if isinstance(hidden_size, (list, tuple)) and len(hidden_size) != num_layers:
        raise ValueError(f"hidden_size={hidden_size!r} must be one whole number, or {num_layers}: one a hidden layer")
    each = checks.whole_or_each("hidden_size", hidden_size)
    hidden = each if isinstance(each, tuple) else [each] * num_layers
    sizes = [checks.whole("inputs", inputs), *hidden, checks.whole("classes", classes, least=2)]
    if count_params(sizes) > MOST_PARAMS:
        raise ValueError(
            f"num_layers={num_layers} and hidden_size={hidden_size!r} make a network of {count_params(sizes):,} "
            f"parameters; the most is {MOST_PARAMS:,}, a gigabyte and a half in training"
        )
    return sizes


def count_params(sizes):
    """Return P, the number of weights and biases of a network of `sizes` [d_0, …, d_L]."""
    return sum((n + 1) * m for n, m in pairwise(sizes))


def as_params(theta, sizes):
    """Cut the vector theta (P,) into the layers of a network of `sizes` [d_0, …, d_L], without a copy."""
    count = count_params(sizes)
    if theta.shape != (count,):
        raise ValueError(f"theta has shape {theta.shape}; a network of sizes {sizes} has ({count},)")
    layers, start = [], 0
    for n, m in pairwise(sizes):
        W = theta[start : start + n * m].reshape(n, m)
        b = theta[start + n * m : start + n * m + m]
        layers.append((W, b))
        start += (n + 1) * m
    return Params(theta, layers)


def intial_weights(
    num_layers,
    hidden_size,
    weight_init="Xavier",
    *,
    receptive_field=0,
    inputs=784,
    classes=10,
    seed=0,
    dtype=np.float32,
):
    """Return the first parameters of a network with `num_layers` hidden layers; the biases are zero.

    weight_init: "random", "Xavier" or "He" (see WEIGHT_INITS). receptive_field: σ in pixels of the windows through
    which the first layer's units look at first (see windows); 0: each sees the whole image. The same seed gives the
    same weights. Raises ValueError for an unknown name, a size that is not a positive whole number, another dtype, or
    windows on what is no square image.
    """
    sizes = layer_sizes(num_layers, hidden_size, inputs, classes)
    draw = WEIGHT_INITS[checks.choice("weight_init", weight_init, WEIGHT_INITS)]
    rng = np.random.default_rng(checks.whole("seed", seed, least=0))
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype={dtype!r} must be numpy.float32 or numpy.float64")
    params = as_params(np.zeros(count_params(sizes), dtype), sizes)
    for W, _ in params.layers:
        W[:] = draw(rng, *W.shape)
    if checks.zero_or("receptive_field", receptive_field, least=SMALLEST_WINDOW):
        W, _ = params.layers[0]
        W *= windows(rng, *W.shape, receptive_field)
    return params


def windows(rng, n, m, sigma):
    """Return m windows on an image of n = d² pixels, (n, m): bells e^(−r²/2σ²) around points drawn anywhere in it.

    Pixels that are near each other belong together, which a dense layer does not know: units that begin with a
    receptive field (Hubel & Wiesel 1962) are told. Their mean square is 1, which keeps a layer's variance.
    """
    d = checks.square("inputs", n)
    y, x = rng.uniform(0, d, (2, m))
    pixels = np.arange(d)[:, np.newaxis] + 0.5  # their middles
    down, across = (np.exp(-(((pixels - centre) / sigma) ** 2) / 2) for centre in (y, x))
    bells = (down[:, np.newaxis] * across).reshape(n, m)
    return bells / np.sqrt(np.mean(bells**2, axis=0))


def empty_buffers(params, N):
    """Return the Buffers of a batch of N samples."""
    dtype = params.theta.dtype
    H, dH, dA = ([np.empty((N, b.size), dtype) for _, b in params.layers] for _ in range(3))
    return Buffers(H, dH, dA, [np.empty_like(W) for W, _ in params.layers], np.ones(N, dtype))


def forward_propagation(params, X, activation, *, masks=None, buffers=None):
    """Return [H_0, …, H_L]: H_0 = X,  A_k = H_{k-1} W_k + b_k,  H_k = f(A_k),  H_L = Ŷ = softmax(A_L).

    masks: dropout, [M_0, …, M_{L-1}] (None where nothing is dropped): layer k+1 then reads H_k ∘ M_k.
    buffers: arrays to work in; the returned H_1, …, H_L are then the arrays of buffers.H.
    Raises ValueError for an unknown activation or an X that does not fit the first layer.
    """
    f, _ = ACTIVATIONS[checks.choice("activation", activation, ACTIVATIONS)]
    _check_input(params, X)
    buffers = buffers or empty_buffers(params, len(X))
    H = [X]
    for k, (W, b) in enumerate(params.layers):
        A = np.matmul(_dropped(H, k, masks, buffers), W, out=buffers.H[k])
        A += b
        last = k == len(params.layers) - 1
        H.append(softmax(A, out=A) if last else f(A, out=A))
    return H


def backward_propagation(params, H, Y, activation, loss, *, weight_decay=0.0, masks=None, buffers=None, out=None):
    """Return the gradients of the loss (plus weight decay) by every parameter, as Params like `params`.

    dA_L comes from the loss; then, from the last layer to the first,
        dW_k = (H_{k-1} ∘ M_{k-1})ᵀ dA_k + λ W_k      db_k = Σ_n dA_k
        dH_{k-1} = dA_k W_kᵀ ∘ M_{k-1}                dA_{k-1} = dH_{k-1} ∘ f′(H_{k-1})
    H is what forward_propagation returned, with the same masks. λ is weight_decay: the L2 penalty (λ/2) Σ W²;
    biases are not decayed. `buffers` and `out` are arrays to work in and to write the gradients to.
    Raises ValueError for an unknown activation or loss, or a Y that does not fit Ŷ.
    """
    _, d_f = ACTIVATIONS[checks.choice("activation", activation, ACTIVATIONS)]
    _, d_loss = LOSSES[checks.choice("loss", loss, LOSSES)]
    checks.matrix("Y", Y, rows=len(H[-1]), columns=H[-1].shape[1])
    buffers = buffers or empty_buffers(params, len(Y))
    out = out or as_params(np.empty_like(params.theta), _sizes(params))
    dA = d_loss(H[-1], Y, out=buffers.dA[-1])
    for k in reversed(range(len(params.layers))):
        W, _ = params.layers[k]
        dW, db = out.layers[k]
        np.matmul(_dropped(H, k, masks, buffers).T, dA, out=dW)
        np.dot(buffers.ones, dA, out=db)  # Σ_n, by BLAS
        if weight_decay:
            dW += np.multiply(W, weight_decay, out=buffers.decay[k])
        if k > 0:
            dH = np.matmul(dA, W.T, out=buffers.dH[k - 1])
            if masks is not None and masks[k] is not None:
                dH *= masks[k]
            dA = d_f(H[k], out=buffers.dA[k - 1])
            dA *= dH
    return out


def dropout_masks(rng, dropout, out):
    """Fill each array of `out` with inverted dropout: 0 with probability `dropout`, else 1/(1 − dropout).

    Dividing while training keeps a unit's expected input, so that prediction needs no change
    (Srivastava et al. 2014, section 10). None entries stay.
    """
    for M in out:
        if M is not None:
            rng.random(dtype=M.dtype, out=M)
            np.greater_equal(M, dropout, out=M)
            M *= 1 / (1 - dropout)
    return out


def _dropped(H, k, masks, buffers):
    """What layer k+1 reads: H_k, or H_k ∘ M_k. dH_k's buffer holds the product: it is free whenever this is asked."""
    if masks is None or masks[k] is None:
        return H[k]
    return np.multiply(H[k], masks[k], out=buffers.dH[k - 1] if k > 0 else None)


def _sizes(params):
    return [params.layers[0][0].shape[0], *(b.size for _, b in params.layers)]


def _check_input(params, X):
    checks.matrix("X", X, columns=params.layers[0][0].shape[0])
    if X.dtype != params.theta.dtype:
        raise ValueError(f"X is {X.dtype}; the parameters are {params.theta.dtype}: convert one of them with astype")
