"""The parameters of the network, forward propagation and backward propagation.

Shapes: X = H_0 (N, d_0) · W_k (d_{k-1}, d_k) · b_k (d_k,) · A_k, H_k (N, d_k) · H_L = Ŷ (N, C) · Y (N, C).
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from helpers.nn.functions import ACTIVATIONS, LOSSES, softmax
from helpers.nn.validation import check_int, check_sizes

MAX_PARAMS = 50_000_000


class Params(NamedTuple):
    """The parameters of a network, or their gradients: one vector, and the layers as views into it.

    Attributes
    ----------
    theta : ndarray, shape (P,)
        All parameters in one contiguous vector. The optimizer updates it.
    layers : list of (ndarray, ndarray)
        ``[(W_1, b_1), …, (W_L, b_L)]`` with the shapes (d_{k-1}, d_k) and (d_k,). They share the memory of `theta`.
    """

    theta: np.ndarray
    layers: list


def layer_sizes(num_layers, hidden_size, inputs=784, classes=10):
    """Return ``[d_0, …, d_L]``; `hidden_size` is one integer, or one per hidden layer."""
    num_layers = check_int("num_layers", num_layers, le=1000)
    if isinstance(hidden_size, (list, tuple)) and len(hidden_size) != num_layers:
        raise ValueError(
            f"hidden_size={hidden_size!r} must be one integer, or a list of {num_layers} integers, one per hidden layer"
        )
    checked = check_sizes("hidden_size", hidden_size)
    hidden = checked if isinstance(checked, tuple) else [checked] * num_layers
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


def unflatten(theta, sizes):
    """Return Params whose layers, of the sizes ``[d_0, …, d_L]``, are views into the vector theta (P,)."""
    if theta.shape != (count_params(sizes),):
        raise ValueError(f"theta has shape {theta.shape}; a network of sizes {sizes} has ({count_params(sizes)},)")
    layers, start = [], 0
    for n, m in pairwise(sizes):
        W = theta[start : start + n * m].reshape(n, m)
        b = theta[start + n * m : start + n * m + m]
        layers.append((W, b))
        start += (n + 1) * m
    return Params(theta, layers)


def sizes_of(params):
    """Return ``[d_0, …, d_L]``, the sizes of the layers."""
    return [params.layers[0][0].shape[0], *(b.size for _, b in params.layers)]


def forward_propagation(params, X, activation, *, masks=None):
    """Return the activations of every layer.

    H_0 = X;  A_k = H_{k-1} W_k + b_k;  H_k = f(A_k);  H_L = Ŷ = softmax(A_L).

    Parameters
    ----------
    params : Params
        The parameters of the network.
    X : ndarray, shape (N, d_0)
        A batch, one sample per row.
    activation : str
        The activation f of the hidden layers, a key of ``ACTIVATIONS``.
    masks : list of ndarray or None, optional
        Dropout masks ``[M_0, …, M_{L-1}]``; layer k + 1 then reads H_k ∘ M_k. None stands for no
        dropout.

    Returns
    -------
    list of ndarray
        ``[H_0, …, H_L]`` with the shapes (N, d_k).

    Raises
    ------
    ValueError
        If the activation is unknown, or if X does not fit the first layer.
    """
    f, _ = ACTIVATIONS[activation]
    H = [X]
    for k, (W, b) in enumerate(params.layers):
        A = apply_mask(H[k], masks, k) @ W + b
        last = k == len(params.layers) - 1
        H.append(softmax(A) if last else f(A))
    return H


def backward_propagation(params, H, Y, activation, loss, *, weight_decay=0.0, masks=None):
    """Return the gradients of the loss with respect to every parameter.

    dA_L is the derivative of the loss. Then, from the last layer to the first,

    dW_k = (H_{k-1} ∘ M_{k-1})ᵀ dA_k + λ W_k,           db_k = Σ_n dA_k,
    dH_{k-1} = dA_k W_kᵀ ∘ M_{k-1},                     dA_{k-1} = dH_{k-1} ∘ f′(A_{k-1}).

    Parameters
    ----------
    params : Params
        The parameters of the network.
    H : list of ndarray
        The activations that `forward_propagation` returned for the batch, with the same masks.
    Y : ndarray, shape (N, C)
        The labels, one-hot (or mixtures of one-hot rows).
    activation, loss : str
        Keys of ``ACTIVATIONS`` and ``LOSSES``.
    weight_decay : float, default=0.0
        λ of the L2 penalty (λ/2) Σ W², which is added to the loss. Biases are not penalised.
    masks : list of ndarray or None, optional
        The dropout masks of the forward pass.

    Returns
    -------
    Params
        The gradients, in the shapes of `params`.

    Raises
    ------
    ValueError
        If the activation or the loss is unknown, or if the shapes do not match.

    References
    ----------
    Rumelhart, Hinton & Williams (1986), Learning representations by back-propagating errors,
    Nature 323.
    """
    _, d_f = ACTIVATIONS[activation]
    _, d_loss = LOSSES[loss]
    gradient = unflatten(np.empty_like(params.theta), sizes_of(params))
    dA = d_loss(H[-1], Y)
    for k in reversed(range(len(params.layers))):
        (W, _), (dW, db) = params.layers[k], gradient.layers[k]
        np.matmul(apply_mask(H[k], masks, k).T, dA, out=dW)
        np.sum(dA, axis=0, out=db)
        if weight_decay:
            dW += weight_decay * W
        if k > 0:
            dH = apply_mask(dA @ W.T, masks, k)
            dA = dH * d_f(H[k])
    return gradient


def apply_mask(H, masks, k):
    """Return H ∘ M_k, or H itself if there is no dropout mask."""
    return H if masks is None or masks[k] is None else H * masks[k]


def dropout_masks(rng, dropout, shapes, dtype=np.float32):
    """Return inverted-dropout masks of these shapes: 0 with probability `dropout`, else 1/(1 − dropout).

    Dividing during training keeps the expected input of a unit unchanged, so that prediction needs no correction
    (Srivastava et al. 2014, section 10).
    """
    scale = np.dtype(dtype).type(1 / (1 - dropout))
    return [(rng.random(shape, dtype) >= dropout) * scale for shape in shapes]
