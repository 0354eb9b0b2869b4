"""The parameters of the network, forward propagation and backward propagation.

Shapes, for layers k = 1 … L: X = H_0 (N, d_0); W_k (d_{k-1}, d_k); b_k (d_k,); A_k, H_k (N, d_k); Ŷ = H_L, Y (N, C).
"""

from itertools import pairwise
from numbers import Integral

import numpy as np

from helpers.nn.functions import ACTIVATIONS, LOSSES, softmax

MAX_PARAMS = 50_000_000


class Params:
    """The parameters of a network, or their gradients: one vector, and the layers as views into it.

    Attributes
    ----------
    theta : ndarray, shape (P,)
        All parameters in one contiguous vector, W_1, b_1, W_2, b_2 and so on. The optimizer updates it.
    sizes : list of int
        ``[d_0, …, d_L]``, the sizes of the layers.
    layers : list of (ndarray, ndarray)
        ``[(W_1, b_1), …, (W_L, b_L)]`` with the shapes (d_{k-1}, d_k) and (d_k,). They share the memory of `theta`.
    """

    def __init__(self, theta, sizes):
        if theta.shape != (count_params(sizes),):
            raise ValueError(f"theta has shape {theta.shape}; a network of sizes {sizes} has ({count_params(sizes)},)")
        self.theta, self.sizes, self.layers, start = theta, list(sizes), [], 0
        for n, m in pairwise(sizes):
            self.layers.append((theta[start : start + n * m].reshape(n, m), theta[start + n * m :][:m]))
            start += (n + 1) * m

    def __reduce__(self):  # for pickle and deepcopy: the layers must be views of the new theta
        return Params, (self.theta, self.sizes)


def check_int(name, value, ge=1, le=float("inf")):
    """Return `value` as an int with ``ge <= value <= le``; True and 3.0 are rejected."""
    if isinstance(value, Integral) and not isinstance(value, bool) and ge <= value <= le:
        return int(value)
    upper = "" if le == float("inf") else f" and at most {le:,}"
    raise ValueError(f"{name}={value!r} must be an integer, at least {ge}{upper}")


def layer_sizes(num_layers, hidden_size, inputs=784, classes=10):
    """Return ``[d_0, …, d_L]``; `hidden_size` is one integer, or one per hidden layer."""
    count = check_int("num_layers", num_layers, le=1000)
    hidden = hidden_size if isinstance(hidden_size, (list, tuple)) else [hidden_size] * count
    if len(hidden) != count:
        raise ValueError(f"hidden_size={hidden_size!r} must be one integer, or a list of {count}, one per hidden layer")
    hidden = [check_int("hidden_size", size) for size in hidden]
    sizes = [check_int("inputs", inputs), *hidden, check_int("classes", classes, ge=2)]
    if count_params(sizes) > MAX_PARAMS:
        raise ValueError(
            f"num_layers={num_layers} and hidden_size={hidden_size!r} give a network with {count_params(sizes):,} "
            f"parameters; at most {MAX_PARAMS:,} are allowed (about 1.5 GB during training)"
        )
    return sizes


def count_params(sizes):
    """Return P, the number of weights and biases of a network of the sizes ``[d_0, …, d_L]``."""
    return sum((n + 1) * m for n, m in pairwise(sizes))


class Engine:
    """The array operations of a training step, in NumPy. `helpers.speed` has a faster engine."""

    def new_step(self):
        """Start a step: an engine may then reuse the memory of the arrays that it has returned; this one does not."""

    def take(self, X, index):
        """Return a copy of the rows `index` of X."""
        return X[index]

    def matmul(self, A, B, out=None):
        """Return the matrix product A B."""
        return np.matmul(A, B, out=out)

    def column_sums(self, A, out):
        """Write the sum of each column of A to `out`."""
        np.sum(A, axis=0, out=out)

    def apply(self, function, /, *arguments, **options):
        """Return ``function(*arguments, **options)``, perhaps in the memory of the first argument, then lost."""
        return function(*arguments, **options)


NUMPY = Engine()


def forward_propagation(params, X, activation, *, masks=None, engine=NUMPY):
    """Return the activations of every layer.

    H_0 = X; A_k = (H_{k-1} ∘ M_{k-1}) W_k + b_k; H_k = f(A_k); H_L = Ŷ = softmax(A_L).

    Parameters
    ----------
    params, X : Params and ndarray, shape (N, d_0)
        The parameters of the network, and a batch, one sample per row.
    activation : str
        The hidden layers' activation f, a key of ``ACTIVATIONS``, else ValueError.
    masks : list of ndarray or None, optional
        Dropout masks ``[M_0, …, M_{L-1}]``, or None; layer k + 1 reads H_k ∘ M_k.
    engine : Engine, optional
        Computes the array operations.

    Returns
    -------
    list of ndarray
        ``[H_0, …, H_L]`` with the shapes (N, d_k).
    """
    f, _ = ACTIVATIONS[activation]
    H = [X]
    for k, (W, b) in enumerate(params.layers, 1):
        S = engine.matmul(apply_mask(H[k - 1], masks, k - 1), W)
        H.append(engine.apply(activate, S, b, f if k < len(params.layers) else softmax))
    return H


def backward_propagation(
    params, H, Y, activation, loss, *, weight_decay=0.0, masks=None, gradient=None,
    engine=NUMPY,
):  # fmt: skip
    """Return the gradients of the loss with its L2 penalty for every parameter.

    dZ is ∂(ℒ + penalty)/∂Z. ℒ gives dA_L; from there back (Rumelhart et al. 1986),

    dW_k = (H_{k-1} ∘ M_{k-1})ᵀ dA_k + λ W_k,       db_k = Σ_n dA_k,
    dH_{k-1} = (dA_k W_kᵀ) ∘ M_{k-1},               dA_{k-1} = dH_{k-1} ∘ f′(A_{k-1}).

    Parameters
    ----------
    params, H, Y : Params, list of ndarray, ndarray of shape (N, C)
        The parameters, what `forward_propagation` returned, and the one-hot labels.
    activation, loss : str
        Keys of ``ACTIVATIONS`` and ``LOSSES``; ValueError if one is unknown.
    weight_decay : float, default=0.0
        λ of the L2 penalty (λ/2) Σ W², which LOSSES leaves out; biases have none.
    masks, gradient, engine : optional
        The masks of the forward pass; the Params to write to; the engine.

    Returns
    -------
    Params
        The gradients, in the shapes of `params`.
    """
    (_, d_f), (_, d_loss) = ACTIVATIONS[activation], LOSSES[loss]
    gradient = gradient or Params(np.empty_like(params.theta), params.sizes)
    dA = d_loss(H[-1], Y)
    for k in range(len(params.layers), 0, -1):
        (W, _), (dW, db) = params.layers[k - 1], gradient.layers[k - 1]
        engine.matmul(apply_mask(H[k - 1], masks, k - 1).T, dA, out=dW)
        engine.column_sums(dA, out=db)
        if weight_decay:
            engine.apply(add_multiple, dW, W, factor=weight_decay)
        if k > 1:
            dH = apply_mask(engine.matmul(dA, W.T), masks, k - 1)
            dA = engine.apply(times_derivative, dH, H[k - 1], d_f)
    return gradient


def activate(S, b, f):
    """Return H = f(A), where A = S + b, and S is the product with W; one pass over S computes both."""
    return f(S + b)


def times_derivative(dH, H, d_f):
    """Return dA = dH ∘ f′(A), where f′ is written in terms of H = f(A)."""
    return dH * np.asarray(d_f(H), dH.dtype)


def add_multiple(V, W, *, factor):
    """Add factor · W to V."""
    V += factor * W


def apply_mask(H, masks, k):
    """Return H ∘ M_k, or H itself if there is no dropout mask."""
    return H if masks is None or masks[k] is None else H * masks[k]
