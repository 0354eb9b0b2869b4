"""Initial weights: spread, seeds, and arguments that are refused."""

import numpy as np
import pytest

from helpers.nn.functions import LOSSES
from helpers.nn.initialization import WEIGHT_INITS, intial_weights
from helpers.nn.network import forward_propagation


@pytest.mark.parametrize(
    ("weight_init", "deviation"),
    [("random", 0.05), ("Xavier", np.sqrt(2 / (784 + 300))), ("He", np.sqrt(2 / 784))],
)
def test_intial_weights_spread(weight_init, deviation):
    params = intial_weights(2, 300, weight_init, seed=3)
    W, _ = params.layers[0]
    assert W.std() == pytest.approx(deviation, rel=0.01)
    assert abs(W.mean()) < 0.001
    assert all((b == 0).all() for _, b in params.layers)
    if weight_init == "Xavier":
        assert abs(W).max() <= np.sqrt(6 / (784 + 300))


def test_intial_weights_same_seed_same_weights():
    a, b, other = (intial_weights(1, 8, seed=seed).theta for seed in (5, np.random.default_rng(5), 6))
    np.testing.assert_array_equal(a, b)
    assert (a != other).any()
    np.testing.assert_array_equal(a, intial_weights(1, 8, "XAVIER", seed=5).theta)


@pytest.mark.parametrize("weight_init", WEIGHT_INITS)
def test_intial_weights_loss_near_chance(weight_init, sample):
    params = intial_weights(3, 128, weight_init)
    Y_hat = forward_propagation(params, sample.x_train[:1000], "ReLU")[-1]
    loss = LOSSES["cross_entropy"][0](Y_hat, sample.y_train[:1000])
    assert loss == pytest.approx(np.log(10), abs=0.4 if weight_init == "He" else 0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_layers": 0}, "num_layers=0"),
        ({"num_layers": 2.0}, "num_layers=2.0"),
        ({"num_layers": True}, "num_layers=True"),
        ({"num_layers": 10**9}, "num_layers=1000000000 must be .* at most 1,000"),
        ({"hidden_size": 0}, "hidden_size=0"),
        ({"hidden_size": [8]}, r"hidden_size=\[8\].* 2"),
        ({"hidden_size": [8, -3]}, "hidden_size=-3"),
        ({"hidden_size": [10**5, 10**5]}, "parameters; at most 50,000,000 are allowed"),
        ({"weight_init": "best"}, "weight_init='best'.*random, Xavier, He, zeros"),
        ({"weight_init": ["He"]}, r"weight_init=\['He'\]"),
        ({"inputs": 0}, "inputs=0"),
        ({"classes": 1}, "classes=1"),
        ({"seed": -1}, "seed=-1"),
        ({"dtype": np.int32}, "dtype=.*float32"),
    ],
)
def test_intial_weights_invalid_argument_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        intial_weights(**({"num_layers": 2, "hidden_size": 8} | arguments))
