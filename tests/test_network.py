"""The network: first weights, forward pass, and the gradients against two independent witnesses."""

import itertools

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.functions import ACTIVATIONS, LOSSES
from helpers.network import (
    MOST_PARAMS,
    WEIGHT_INITS,
    as_params,
    backward_propagation,
    count_params,
    dropout_masks,
    empty_buffers,
    forward_propagation,
    intial_weights,
    layer_sizes,
    windows,
)

CASES = list(itertools.product(ACTIVATIONS, LOSSES, (0.0, 0.3), (1, 3, 5), (False, True)))


def case(depth, dropout, seed=0):
    """A small float64 network with biases that are not zero, a batch, and frozen dropout masks or None."""
    rng = np.random.default_rng(seed)
    params = intial_weights(depth, 6, "Xavier", inputs=8, classes=4, seed=seed, dtype=np.float64)
    params.theta[:] += rng.normal(0, 0.1, params.theta.size)
    X, Y = rng.normal(size=(5, 8)), np.eye(4)[[0, 1, 2, 3, 1]]
    masks = [None, *(np.empty((5, 6)) for _ in range(depth))] if dropout else None
    if dropout:
        dropout_masks(rng, 0.4, out=masks)
    return params, X, Y, masks


def penalized_loss(params, X, Y, activation, loss, weight_decay, masks):
    Y_hat = forward_propagation(params, X, activation, masks=masks)[-1]
    penalty = sum((W**2).sum() for W, _ in params.layers)
    return LOSSES[loss][0](Y_hat, Y) + weight_decay / 2 * penalty


def relative_error(a, b):
    return np.linalg.norm(a - b) / (np.linalg.norm(a) + np.linalg.norm(b))


@pytest.mark.parametrize(("activation", "loss", "weight_decay", "depth", "dropout"), CASES)
def test_gradients_equal_central_differences(activation, loss, weight_decay, depth, dropout):
    params, X, Y, masks = case(depth, dropout)
    H = forward_propagation(params, X, activation, masks=masks)
    gradient = backward_propagation(params, H, Y, activation, loss, weight_decay=weight_decay, masks=masks).theta
    numeric, step = np.empty_like(gradient), 1e-6
    for i in range(gradient.size):
        kept = params.theta[i]
        values = []
        for params.theta[i] in (kept + step, kept - step):
            values.append(penalized_loss(params, X, Y, activation, loss, weight_decay, masks))
        params.theta[i] = kept
        numeric[i] = (values[0] - values[1]) / (2 * step)
    assert np.linalg.norm(gradient) > 1e-4  # zeros could mask an error
    assert relative_error(gradient, numeric) < 1e-7


@pytest.mark.parametrize(("activation", "loss", "weight_decay", "depth", "dropout"), CASES)
def test_gradients_equal_those_of_automatic_differentiation(activation, loss, weight_decay, depth, dropout):
    f = {
        "identity": lambda A: A,
        "sigmoid": lambda A: 1 / (1 + anp.exp(-A)),
        "tanh": anp.tanh,
        "ReLU": lambda A: A * (A > 0),
    }[activation]
    params, X, Y, masks = case(depth, dropout, seed=1)

    def witness(layers):
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
    expected = autograd.grad(witness)(params.layers)
    for (dW, db), (dW_expected, db_expected) in zip(gradient.layers, expected):
        np.testing.assert_allclose(dW, dW_expected, rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(db, db_expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("dropout", [False, True])
def test_buffers_change_nothing(dropout):
    params, X, Y, masks = case(3, dropout)
    plain = forward_propagation(params, X, "tanh", masks=masks)
    expected = backward_propagation(params, plain, Y, "tanh", "cross_entropy", weight_decay=0.1, masks=masks).theta
    buffers, out = empty_buffers(params, 5), as_params(np.empty_like(params.theta), [8, 6, 6, 6, 4])
    for _ in range(2):  # used again
        H = forward_propagation(params, X, "tanh", masks=masks, buffers=buffers)
        assert all(h is buffer for h, buffer in zip(H[1:], buffers.H))
        gradient = backward_propagation(
            params, H, Y, "tanh", "cross_entropy", weight_decay=0.1, masks=masks, buffers=buffers, out=out
        )
        assert gradient is out
        np.testing.assert_array_equal(gradient.theta, expected)


def test_there_is_no_weight_decay_unless_asked_for():
    params, X, Y, _ = case(2, False)
    H = forward_propagation(params, X, "tanh")
    plain, zero = (
        backward_propagation(params, H, Y, "tanh", "cross_entropy", **decay).theta
        for decay in ({}, {"weight_decay": 0.0})
    )
    np.testing.assert_array_equal(plain, zero)


@given(st.permutations(range(7)))
def test_the_order_of_a_batch_leaves_its_gradient(order):
    rng = np.random.default_rng(2)
    params = intial_weights(2, 5, inputs=6, classes=3, dtype=np.float64)
    X, Y = rng.normal(size=(7, 6)), np.eye(3)[rng.integers(0, 3, 7)]

    def gradient(X, Y):
        H = forward_propagation(params, X, "tanh")
        return backward_propagation(params, H, Y, "tanh", "cross_entropy").theta

    np.testing.assert_allclose(gradient(X[order], Y[order]), gradient(X, Y), atol=1e-14)


def test_the_layers_are_views_of_theta():
    params = intial_weights(3, [7, 6, 5])
    assert [W.shape for W, _ in params.layers] == [(784, 7), (7, 6), (6, 5), (5, 10)]
    assert [b.shape for _, b in params.layers] == [(7,), (6,), (5,), (10,)]
    assert params.theta.size == sum(W.size + b.size for W, b in params.layers)
    params.theta[:] = np.arange(params.theta.size)
    flat = np.concatenate([part.ravel() for layer in params.layers for part in layer])
    np.testing.assert_array_equal(flat, params.theta)
    assert all(np.shares_memory(part, params.theta) for layer in params.layers for part in layer)
    assert params.theta.flags.c_contiguous


@pytest.mark.parametrize(
    ("weight_init", "deviation"),
    [("random", 0.05), ("Xavier", np.sqrt(2 / (784 + 300))), ("He", np.sqrt(2 / 784))],
)
def test_first_weights_have_their_spread_and_biases_are_zero(weight_init, deviation):
    params = intial_weights(2, 300, weight_init, seed=3)
    W, _ = params.layers[0]
    assert W.std() == pytest.approx(deviation, rel=0.01)
    assert abs(W.mean()) < 0.001
    assert all((b == 0).all() for _, b in params.layers)
    if weight_init == "Xavier":
        assert abs(W).max() <= np.sqrt(6 / (784 + 300))


@pytest.mark.parametrize("sigma", [1, 2, 4])
def test_receptive_fields_are_round_windows_anywhere_that_keep_the_spread(sigma):
    """Bells: where they are whole, their centre is where they were put, and σ is their standard deviation."""
    m = 4000
    bells = windows(np.random.default_rng(3), 28 * 28, m, sigma)
    np.testing.assert_allclose(np.mean(bells**2, axis=0), 1)
    y, x = np.random.default_rng(3).uniform(0, 28, (2, m))
    whole = (np.abs(x - 14) < 14 - 3 * sigma) & (np.abs(y - 14) < 14 - 3 * sigma)
    shares = (bells / bells.sum(axis=0))[:, whole]
    middles = np.arange(28) + 0.5
    down, across = (axis.ravel() for axis in np.meshgrid(middles, middles, indexing="ij"))
    for axis, centre in ((down, y), (across, x)):
        np.testing.assert_allclose(axis @ shares, centre[whole], atol=0.1 * sigma)
        np.testing.assert_allclose(axis**2 @ shares - (axis @ shares) ** 2, sigma**2, rtol=0.1)
    assert whole.sum() > 20
    assert np.quantile(x, [0.1, 0.5, 0.9]) == pytest.approx([2.8, 14, 25.2], abs=0.7)


def test_a_receptive_field_is_the_first_layer_s_alone():
    plain, local = (intial_weights(2, 300, "He", receptive_field=sigma, seed=3) for sigma in (0, 4))
    W, W_local = plain.layers[0][0], local.layers[0][0]
    assert W_local.std() == pytest.approx(W.std(), rel=0.02)
    np.testing.assert_allclose(W_local, W * windows(rng_after_weights(2, 300), 784, 300, 4), rtol=1e-4, atol=1e-7)
    for (W, _), (W_local, _) in zip(plain.layers[1:], local.layers[1:]):
        np.testing.assert_array_equal(W, W_local)


def rng_after_weights(num_layers, hidden_size):
    """The stream of seed 3, after it drew the weights of normal distribution."""
    rng = np.random.default_rng(3)
    for n, m in itertools.pairwise(layer_sizes(num_layers, hidden_size)):
        rng.normal(0, 1, (n, m))
    return rng


def test_the_same_seed_gives_the_same_weights():
    a, b, other = (intial_weights(1, 8, seed=seed).theta for seed in (5, 5, 6))
    np.testing.assert_array_equal(a, b)
    assert (a != other).any()
    assert a.dtype == np.float32
    assert intial_weights(1, 8, dtype=np.float64).theta.dtype == np.float64


@pytest.mark.parametrize("weight_init", WEIGHT_INITS)
def test_a_fresh_network_is_near_a_guess(weight_init, sample):
    params = intial_weights(3, 128, weight_init)
    Y_hat = forward_propagation(params, sample.x_train[:1000], "ReLU")[-1]
    loss = LOSSES["cross_entropy"][0](Y_hat, sample.y_train[:1000])
    assert loss == pytest.approx(np.log(10), abs=0.4 if weight_init == "He" else 0.1)


def test_dropout_keeps_the_expected_input():
    masks = dropout_masks(np.random.default_rng(0), 0.3, out=[None, np.empty((500, 400), np.float32)])
    assert masks[0] is None
    kept = masks[1] > 0
    assert kept.mean() == pytest.approx(0.7, abs=0.005)
    np.testing.assert_allclose(masks[1][kept], 1 / 0.7, rtol=1e-6)
    assert masks[1].mean() == pytest.approx(1, abs=0.01)


def test_no_hidden_unit_reaches_the_output_when_all_are_dropped():
    params, X, _, masks = case(2, True)
    masks[-1][:] = 0
    Y_hat = forward_propagation(params, X, "tanh", masks=masks)[-1]
    np.testing.assert_allclose(Y_hat, Y_hat[:1].repeat(5, axis=0))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_layers": 0}, "num_layers=0"),
        ({"num_layers": -1}, "num_layers=-1"),
        ({"num_layers": 2.0}, "num_layers=2.0"),
        ({"num_layers": True}, "num_layers=True"),
        ({"hidden_size": 0}, "hidden_size=0"),
        ({"hidden_size": [8]}, r"hidden_size=\[8\].* 2"),
        ({"hidden_size": [8, -3]}, "hidden_size=-3"),
        ({"weight_init": "best"}, "weight_init='best'.*random, Xavier, He"),
        ({"inputs": 0}, "inputs=0"),
        ({"classes": 1}, "classes=1"),
        ({"seed": -1}, "seed=-1"),
        ({"receptive_field": -1}, "receptive_field=-1 .*at least 0"),
        ({"receptive_field": 0.4}, "receptive_field=0.4 must be 0, or a finite number at least 0.5"),
        ({"receptive_field": "4"}, "receptive_field='4'"),
        ({"receptive_field": 4, "inputs": 20}, "inputs: 20 columns are no square image"),
        ({"dtype": np.int32}, "dtype=.*float32"),
    ],
)
def test_bad_sizes_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        intial_weights(**({"num_layers": 2, "hidden_size": 8} | arguments))


def test_the_largest_network_and_the_smallest():
    assert count_params(layer_sizes(1, 1, inputs=MOST_PARAMS - 5, classes=2)) == MOST_PARAMS == 50_000_000
    with pytest.raises(ValueError, match="50,000,001 parameters; the most is 50,000,000"):
        layer_sizes(1, 1, inputs=MOST_PARAMS - 4, classes=2)
    assert layer_sizes(1000, 1, inputs=1) == [1] * 1001 + [10]
    with pytest.raises(ValueError, match=r"num_layers=1001 must be .* at most 1,000"):
        layer_sizes(1001, 1)


def test_names_are_read_in_any_case():
    np.testing.assert_array_equal(intial_weights(1, 4, "XAVIER").theta, intial_weights(1, 4, "Xavier").theta)
    params, X, _, _ = case(1, False)
    np.testing.assert_array_equal(
        forward_propagation(params, X, "relu")[-1], forward_propagation(params, X, "ReLU")[-1]
    )


def test_bad_batches_are_refused():
    params, X, Y, _ = case(1, False)
    with pytest.raises(ValueError, match=r"^X has shape \(5, 7\).*8"):
        forward_propagation(params, X[:, :7], "tanh")
    with pytest.raises(ValueError, match="X is float32; the parameters are float64"):
        forward_propagation(params, X.astype(np.float32), "tanh")
    with pytest.raises(ValueError, match="X is a int64 array"):
        forward_propagation(params, X.astype(int), "tanh")
    with pytest.raises(ValueError, match=r"activation='swish'.*identity, sigmoid, tanh, ReLU"):
        forward_propagation(params, X, "swish")
    H = forward_propagation(params, X, "tanh")
    with pytest.raises(ValueError, match=r"^Y has shape \(4, 4\).*5"):
        backward_propagation(params, H, Y[:4], "tanh", "cross_entropy")
    with pytest.raises(ValueError, match=r"^Y has shape \(5, 3\).*\(5, 4\)"):
        backward_propagation(params, H, Y[:, :3], "tanh", "cross_entropy")
    with pytest.raises(ValueError, match=r"^activation='swish' is unknown"):
        backward_propagation(params, H, Y, "swish", "cross_entropy")
    with pytest.raises(ValueError, match=r"loss='hinge'.*cross_entropy, mean_squared_error"):
        backward_propagation(params, H, Y, "tanh", "hinge")
    with pytest.raises(ValueError, match="theta has shape"):
        as_params(np.zeros(3), layer_sizes(1, 2))
