"""Initial weights, forward pass, and the gradients against two independent references."""

import itertools

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.nn.functions import ACTIVATIONS, LOSSES
from helpers.nn.initialization import intial_weights
from helpers.nn.network import (
    MAX_PARAMS,
    backward_propagation,
    count_params,
    dropout_masks,
    forward_propagation,
    layer_sizes,
    sizes_of,
    unflatten,
)

CASES = list(itertools.product(ACTIVATIONS, LOSSES, (0.0, 0.3), (1, 3, 5), (False, True)))


def case(depth, dropout, seed=0):
    """Return a small float64 network with biases other than zero, a batch, and fixed dropout masks or None."""
    rng = np.random.default_rng(seed)
    params = intial_weights(depth, 6, "Xavier", inputs=8, classes=4, seed=seed, dtype=np.float64)
    params.theta[:] += rng.normal(0, 0.1, params.theta.size)
    X, Y = rng.normal(size=(5, 8)), np.eye(4)[[0, 1, 2, 3, 1]]
    masks = [None, *dropout_masks(rng, 0.4, [(5, 6)] * depth, np.float64)] if dropout else None
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


def test_forward_propagation_shapes():
    params, X, _, _ = case(3, False)
    H = forward_propagation(params, X, "tanh")
    assert H[0] is X
    assert [h.shape for h in H] == [(5, 8), (5, 6), (5, 6), (5, 6), (5, 4)]
    np.testing.assert_allclose(H[-1].sum(axis=1), 1)


def test_propagation_arguments_unchanged():
    params, X, Y, masks = case(2, True)
    arguments = [params.theta, X, Y, *masks[1:]]
    before = [array.copy() for array in arguments]
    H = forward_propagation(params, X, "identity", masks=masks)
    H_before = [h.copy() for h in H]
    gradient = backward_propagation(params, H, Y, "identity", "cross_entropy", weight_decay=0.1, masks=masks)
    for array, copy in zip([*arguments, *H], [*before, *H_before], strict=True):
        np.testing.assert_array_equal(array, copy)
    assert not np.shares_memory(gradient.theta, params.theta)


def test_backward_propagation_no_weight_decay_by_default():
    params, X, Y, _ = case(2, False)
    H = forward_propagation(params, X, "tanh")
    plain, zero = (
        backward_propagation(params, H, Y, "tanh", "cross_entropy", **decay).theta
        for decay in ({}, {"weight_decay": 0.0})
    )
    np.testing.assert_array_equal(plain, zero)


def test_backward_propagation_weight_decay_excludes_biases():
    params, X, Y, _ = case(2, False)
    H = forward_propagation(params, X, "tanh")
    plain, decayed = (
        backward_propagation(params, H, Y, "tanh", "cross_entropy", weight_decay=decay) for decay in (0, 0.5)
    )
    for (dW, db), (dW_plain, db_plain) in zip(decayed.layers, plain.layers, strict=True):
        np.testing.assert_array_equal(db, db_plain)
        assert (dW != dW_plain).all()


@given(st.permutations(range(7)))
def test_backward_propagation_independent_of_batch_order(order):
    rng = np.random.default_rng(2)
    params = intial_weights(2, 5, inputs=6, classes=3, dtype=np.float64)
    X, Y = rng.normal(size=(7, 6)), np.eye(3)[rng.integers(0, 3, 7)]

    def gradient(X, Y):
        H = forward_propagation(params, X, "tanh")
        return backward_propagation(params, H, Y, "tanh", "cross_entropy").theta

    np.testing.assert_allclose(gradient(X[order], Y[order]), gradient(X, Y), atol=1e-14)


def test_params_layers_are_views_of_theta():
    params = intial_weights(3, [7, 6, 5])
    assert [W.shape for W, _ in params.layers] == [(784, 7), (7, 6), (6, 5), (5, 10)]
    assert [b.shape for _, b in params.layers] == [(7,), (6,), (5,), (10,)]
    assert sizes_of(params) == [784, 7, 6, 5, 10]
    assert params.theta.size == sum(W.size + b.size for W, b in params.layers)
    params.theta[:] = np.arange(params.theta.size)
    flat = np.concatenate([part.ravel() for layer in params.layers for part in layer])
    np.testing.assert_array_equal(flat, params.theta)
    assert all(np.shares_memory(part, params.theta) for layer in params.layers for part in layer)
    assert params.theta.flags.c_contiguous


def test_unflatten_wrong_length_refused():
    with pytest.raises(ValueError, match=r"theta has shape \(3,\)"):
        unflatten(np.zeros(3), layer_sizes(1, 2))


def test_dropout_masks_keep_expected_input():
    masks = dropout_masks(np.random.default_rng(0), 0.3, [(500, 400), (3, 2)])
    assert [mask.shape for mask in masks] == [(500, 400), (3, 2)]
    assert masks[0].dtype == np.float32
    kept = masks[0] > 0
    assert kept.mean() == pytest.approx(0.7, abs=0.005)
    np.testing.assert_allclose(masks[0][kept], 1 / 0.7, rtol=1e-6)
    assert masks[0].mean() == pytest.approx(1, abs=0.01)


def test_dropout_masks_dtype():
    assert dropout_masks(np.random.default_rng(0), 0.3, [(2, 3)], np.float64)[0].dtype == np.float64


def test_forward_propagation_zero_mask_blocks_hidden_units():
    params, X, _, masks = case(2, True)
    masks[-1][:] = 0
    Y_hat = forward_propagation(params, X, "tanh", masks=masks)[-1]
    np.testing.assert_allclose(Y_hat, Y_hat[:1].repeat(5, axis=0))


def test_layer_sizes_limits():
    assert count_params(layer_sizes(1, 1, inputs=MAX_PARAMS - 5, classes=2)) == MAX_PARAMS == 50_000_000
    with pytest.raises(ValueError, match="50,000,001 parameters; at most 50,000,000 are allowed"):
        layer_sizes(1, 1, inputs=MAX_PARAMS - 4, classes=2)
    assert layer_sizes(1000, 1, inputs=1) == [1] * 1001 + [10]
    with pytest.raises(ValueError, match=r"num_layers=1001 must be .* at most 1,000"):
        layer_sizes(1001, 1)


def test_propagation_names_ignore_case():
    params, X, Y, _ = case(1, False)
    H = forward_propagation(params, X, "ReLU")
    np.testing.assert_array_equal(forward_propagation(params, X, "relu")[-1], H[-1])
    np.testing.assert_array_equal(
        backward_propagation(params, H, Y, "RELU", "Cross_Entropy").theta,
        backward_propagation(params, H, Y, "ReLU", "cross_entropy").theta,
    )


def test_propagation_unknown_name_lists_choices():
    params, X, Y, _ = case(1, False)
    H = forward_propagation(params, X, "tanh")
    with pytest.raises(ValueError, match=r"activation='swish'.*identity, sigmoid, tanh, ReLU"):
        forward_propagation(params, X, "swish")
    with pytest.raises(ValueError, match=r"activation='swish'.*identity, sigmoid, tanh, ReLU"):
        backward_propagation(params, H, Y, "swish", "cross_entropy")
    with pytest.raises(ValueError, match=r"loss='hinge'.*cross_entropy, mean_squared_error"):
        backward_propagation(params, H, Y, "tanh", "hinge")


def test_propagation_wrong_shapes_refused():
    params, X, Y, _ = case(1, False)
    with pytest.raises(ValueError, match="size 8 is different from 7"):
        forward_propagation(params, X[:, :7], "tanh")
    H = forward_propagation(params, X, "tanh")
    for wrong in (Y[:4], Y[:, :3]):
        with pytest.raises(ValueError, match="could not be broadcast"):
            backward_propagation(params, H, wrong, "tanh", "cross_entropy")
