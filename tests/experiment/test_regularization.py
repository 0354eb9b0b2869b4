"""Dropout masks and local receptive fields."""

import numpy as np
import pytest

from helpers.experiment.config import Config
from helpers.experiment.regularization import dropout_masks, gaussian_masks
from helpers.experiment.run import initial_state
from helpers.nn import intial_weights
from tests.support.datasets import blobs


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dropout_masks_keep_expected_input(dtype):
    params = intial_weights(2, [400, 2], dtype=dtype)
    nothing, *masks = dropout_masks(np.random.default_rng(0), 0.3, 500, params)
    assert nothing is None  # inputs are not dropped
    assert [mask.shape for mask in masks] == [(500, 400), (500, 2)]
    assert masks[0].dtype == dtype
    kept = masks[0] > 0
    assert kept.mean() == pytest.approx(0.7, abs=0.005)
    np.testing.assert_allclose(masks[0][kept], 1 / 0.7, rtol=1e-6)
    assert masks[0].mean() == pytest.approx(1, abs=0.01)


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


def test_receptive_field_changes_first_layer_only():
    data = blobs(inputs=784)
    plain, local = (
        initial_state(data, Config(hidden_size=300, weight_init="He", receptive_field=sigma)).params for sigma in (0, 4)
    )
    (W, _), (W_local, _) = plain.layers[0], local.layers[0]
    assert W_local.std() == pytest.approx(W.std(), rel=0.02)
    ratio = W_local / W
    assert (ratio >= 0).all()
    np.testing.assert_allclose(np.mean(ratio**2, axis=0), 1)
    for (W, _), (W_local, _) in zip(plain.layers[1:], local.layers[1:], strict=True):
        np.testing.assert_array_equal(W, W_local)
