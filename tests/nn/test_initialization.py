"""Initial weights: spread, receptive fields, seeds, and arguments that are refused."""

import itertools

import numpy as np
import pytest

from helpers.nn.functions import LOSSES
from helpers.nn.initialization import WEIGHT_INITS, gaussian_masks, intial_weights
from helpers.nn.network import forward_propagation, layer_sizes


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


def test_intial_weights_zeros():
    assert (intial_weights(2, [5, 4], "zeros").theta == 0).all()
    assert (intial_weights(2, [5, 4], "zeros", receptive_field=2).theta == 0).all()


@pytest.mark.parametrize("sigma", [1, 2, 4])
def test_gaussian_masks_centre_width_and_mean_square(sigma):
    """For masks that lie inside the image, the centre is the one drawn, and the standard deviation is sigma."""
    m = 4000
    masks = gaussian_masks(np.random.default_rng(3), 28 * 28, m, sigma)
    np.testing.assert_allclose(np.mean(masks**2, axis=0), 1)
    y, x = np.random.default_rng(3).uniform(0, 28, (2, m))
    inside = (np.abs(x - 14) < 14 - 3 * sigma) & (np.abs(y - 14) < 14 - 3 * sigma)
    weights = (masks / masks.sum(axis=0))[:, inside]
    pixels = np.arange(28) + 0.5
    rows, columns = (axis.ravel() for axis in np.meshgrid(pixels, pixels, indexing="ij"))
    for axis, centre in ((rows, y), (columns, x)):
        np.testing.assert_allclose(axis @ weights, centre[inside], atol=0.1 * sigma)
        np.testing.assert_allclose(axis**2 @ weights - (axis @ weights) ** 2, sigma**2, rtol=0.1)
    assert inside.sum() > 20
    assert np.quantile(x, [0.1, 0.5, 0.9]) == pytest.approx([2.8, 14, 25.2], abs=0.7)


def test_intial_weights_receptive_field_affects_first_layer_only():
    plain, local = (intial_weights(2, 300, "He", receptive_field=sigma, seed=3) for sigma in (0, 4))
    W, W_local = plain.layers[0][0], local.layers[0][0]
    assert W_local.std() == pytest.approx(W.std(), rel=0.02)
    masks = gaussian_masks(rng_after_weights(2, 300), 784, 300, 4)
    np.testing.assert_allclose(W_local, W * masks, rtol=1e-4, atol=1e-7)
    for (W, _), (W_local, _) in zip(plain.layers[1:], local.layers[1:], strict=True):
        np.testing.assert_array_equal(W, W_local)


def rng_after_weights(num_layers, hidden_size):
    """Return the generator of seed 3 after it has drawn the weights of the scheme "He"."""
    rng = np.random.default_rng(3)
    for n, m in itertools.pairwise(layer_sizes(num_layers, hidden_size)):
        rng.normal(0, 1, (n, m))
    return rng


def test_intial_weights_same_seed_same_weights():
    a, b, other = (intial_weights(1, 8, seed=seed).theta for seed in (5, 5, 6))
    np.testing.assert_array_equal(a, b)
    assert (a != other).any()


def test_intial_weights_dtype():
    assert intial_weights(1, 8).theta.dtype == np.float32
    assert intial_weights(1, 8, dtype=np.float64).theta.dtype == np.float64


@pytest.mark.parametrize("weight_init", WEIGHT_INITS)
def test_intial_weights_loss_near_chance(weight_init, sample):
    params = intial_weights(3, 128, weight_init)
    Y_hat = forward_propagation(params, sample.x_train[:1000], "ReLU")[-1]
    loss = LOSSES["cross_entropy"][0](Y_hat, sample.y_train[:1000])
    assert loss == pytest.approx(np.log(10), abs=0.4 if weight_init == "He" else 0.1)


def test_intial_weights_name_ignores_case():
    np.testing.assert_array_equal(intial_weights(1, 4, "XAVIER").theta, intial_weights(1, 4, "Xavier").theta)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_layers": 0}, "num_layers=0"),
        ({"num_layers": -1}, "num_layers=-1"),
        ({"num_layers": 2.0}, "num_layers=2.0"),
        ({"num_layers": True}, "num_layers=True"),
        ({"hidden_size": 0}, "hidden_size=0"),
        ({"hidden_size": [8]}, r"hidden_size=\[8\].* 2"),
        ({"hidden_size": [8, -3]}, "hidden_size=-3"),
        ({"weight_init": "best"}, "weight_init='best'.*random, Xavier, He, zeros"),
        ({"weight_init": ["He"]}, r"weight_init=\['He'\]"),
        ({"inputs": 0}, "inputs=0"),
        ({"classes": 1}, "classes=1"),
        ({"seed": -1}, "seed=-1"),
        ({"receptive_field": -1}, "receptive_field=-1 .*at least 0"),
        ({"receptive_field": 0.4}, "receptive_field=0.4 must be 0, or a finite number, at least 0.5"),
        ({"receptive_field": "4"}, "receptive_field='4'"),
        ({"receptive_field": 4, "inputs": 20}, "inputs: 20 is not the number of pixels of a square image"),
        ({"dtype": np.int32}, "dtype=.*float32"),
    ],
)
def test_intial_weights_invalid_argument_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        intial_weights(**({"num_layers": 2, "hidden_size": 8} | arguments))
