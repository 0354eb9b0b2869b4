"""Forward pass, the gradients against two independent references, and the parameters as one vector."""

import copy
import itertools
import pickle

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

from helpers.nn.functions import ACTIVATIONS, LOSSES
from helpers.nn.initialization import intial_weights
from helpers.nn.network import (
    MAX_PARAMS,
    Params,
    backward_propagation,
    count_params,
    forward_propagation,
    layer_sizes,
)

CASES = list(itertools.product(ACTIVATIONS, LOSSES, (0.0, 0.3), (1, 3, 5), (False, True)))


def case(depth, dropout, seed=0):
    """Return a small float64 network with biases other than zero, a batch, and fixed dropout masks or None."""
    rng = np.random.default_rng(seed)
    params = intial_weights(depth, 6, "Xavier", inputs=8, classes=4, seed=seed, dtype=np.float64)
    params.theta[:] += rng.normal(0, 0.1, params.theta.size)
    X, Y = rng.normal(size=(5, 8)), np.eye(4)[[0, 1, 2, 3, 1]]
    masks = [None, *((rng.random((5, 6)) > 0.4) / 0.6 for _ in range(depth))] if dropout else None
    return params, X, Y, masks


def penalized_loss(params, X, Y, activation, loss, weight_decay, masks):
    Y_hat = forward_propagation(params, X, activation, masks=masks)[-1]
    penalty = sum((W**2).sum() for W, _ in params.layers)
    return LOSSES[loss][0](Y_hat, Y) + weight_decay / 2 * penalty


def relative_error(a, b):
    return np.linalg.norm(a - b) / (np.linalg.norm(a) + np.linalg.norm(b))


@pytest.mark.parametrize(("activation", "loss", "weight_decay", "depth", "dropout"), CASES)
def test_backward_propagation_matches_central_differences(activation, loss, weight_decay, depth, dropout):
    params, X, Y, masks = case(depth, dropout)
    H = forward_propagation(params, X, activation, masks=masks)
    gradient = backward_propagation(params, H, Y, activation, loss, weight_decay=weight_decay, masks=masks).theta
    numeric, step = np.empty_like(gradient), 1e-6
    for i in range(gradient.size):
        value = params.theta[i]
        values = []
        for params.theta[i] in (value + step, value - step):
            values.append(penalized_loss(params, X, Y, activation, loss, weight_decay, masks))
        params.theta[i] = value
        numeric[i] = (values[0] - values[1]) / (2 * step)
    assert np.linalg.norm(gradient) > 1e-4  # a gradient of zero would hide an error
    assert relative_error(gradient, numeric) < 1e-7


@pytest.mark.parametrize(("activation", "loss", "weight_decay", "depth", "dropout"), CASES)
def test_backward_propagation_matches_automatic_differentiation(activation, loss, weight_decay, depth, dropout):
    f = {
        "identity": lambda A: A,
        "sigmoid": lambda A: 1 / (1 + anp.exp(-A)),
        "tanh": anp.tanh,
        "ReLU": lambda A: A * (A > 0),
    }[activation]
    params, X, Y, masks = case(depth, dropout, seed=1)

    def reference(layers):
        H = X
        for k, (W, b) in enumerate(layers):
            if masks and masks[k] is not None:
                H = H * masks[k]
            A = anp.dot(H, W) + b
            H = f(A)
        log_y = A - anp.log(anp.sum(anp.exp(A), axis=1, keepdims=True))
        if loss == "cross_entropy":
            value = -anp.mean(anp.sum(Y * log_y, axis=1))
        else:
            value = anp.mean((anp.exp(log_y) - Y) ** 2)
        return value + weight_decay / 2 * sum(anp.sum(W**2) for W, _ in layers)

    H = forward_propagation(params, X, activation, masks=masks)
    gradient = backward_propagation(params, H, Y, activation, loss, weight_decay=weight_decay, masks=masks)
    expected = autograd.grad(reference)(params.layers)
    for (dW, db), (dW_expected, db_expected) in zip(gradient.layers, expected, strict=True):
        np.testing.assert_allclose(dW, dW_expected, rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(db, db_expected, rtol=1e-9, atol=1e-13)


def test_propagation_arguments_unchanged():
    params, X, Y, masks = case(2, True)
    arguments = [params.theta, X, Y, *masks[1:]]
    before = [array.copy() for array in arguments]
    H = forward_propagation(params, X, "identity", masks=masks)
    H_before = [h.copy() for h in H]
    assert H[0] is X
    assert [h.shape for h in H] == [(5, 8), (5, 6), (5, 6), (5, 4)]
    gradient = backward_propagation(params, H, Y, "identity", "cross_entropy", weight_decay=0.1, masks=masks)
    for array, old in zip([*arguments, *H], [*before, *H_before], strict=True):
        np.testing.assert_array_equal(array, old)
    assert not np.shares_memory(gradient.theta, params.theta)


def assert_layers_share_theta(params):
    params.theta[:] = np.arange(params.theta.size)
    flat = np.concatenate([part.ravel() for layer in params.layers for part in layer])
    np.testing.assert_array_equal(flat, params.theta)
    assert all(np.shares_memory(part, params.theta) for layer in params.layers for part in layer)


def test_params_layers_are_views_of_theta():
    params = intial_weights(3, [7, 6, 5])
    assert [W.shape for W, _ in params.layers] == [(784, 7), (7, 6), (6, 5), (5, 10)]
    assert [b.shape for _, b in params.layers] == [(7,), (6,), (5,), (10,)]
    assert params.sizes == [784, 7, 6, 5, 10]
    assert params.theta.size == count_params(params.sizes) == sum(W.size + b.size for W, b in params.layers)
    assert params.theta.flags.c_contiguous
    assert_layers_share_theta(params)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda params: pickle.loads(pickle.dumps(params))])
def test_params_copy_has_layers_that_share_its_own_theta(duplicate):
    params = intial_weights(2, [7, 6])
    before = params.theta.copy()
    other = duplicate(params)
    np.testing.assert_array_equal(other.theta, before)
    assert_layers_share_theta(other)
    np.testing.assert_array_equal(params.theta, before)


def test_params_wrong_length_refused():
    with pytest.raises(ValueError, match=r"theta has shape \(3,\)"):
        Params(np.zeros(3), layer_sizes(1, 2))


def test_layer_sizes_limits():
    assert count_params(layer_sizes(1, 1, inputs=MAX_PARAMS - 5, classes=2)) == MAX_PARAMS == 50_000_000
    with pytest.raises(ValueError, match="50,000,001 parameters; at most 50,000,000 are allowed"):
        layer_sizes(1, 1, inputs=MAX_PARAMS - 4, classes=2)
    assert layer_sizes(1000, 1, inputs=1) == [1] * 1001 + [10]
    with pytest.raises(ValueError, match=r"num_layers=1001 must be .* at most 1,000"):
        layer_sizes(1001, 1)
