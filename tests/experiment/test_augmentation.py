"""Augmentation: values, statistics, and use in training."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from helpers.data import one_hot
from helpers.experiment.augmentation import (
    augment,
    horizontal_flip,
    mixup,
    random_affine,
    random_horizontal_flip,
    random_shift,
    shift,
)
from helpers.experiment.config import Config
from helpers.experiment.run import model_train
from tests.support.datasets import blobs


def test_random_horizontal_flip_rate():
    """The given fraction of the images is flipped; all others are unchanged."""
    np.testing.assert_array_equal(horizontal_flip(np.arange(9.0).reshape(1, 9)), [[2, 1, 0, 5, 4, 3, 8, 7, 6]])
    X = np.random.default_rng(0).random((4000, 9))
    Z = X.copy()
    random_horizontal_flip(np.random.default_rng(1), Z, 0.3)
    unchanged, flipped = (Z == X).all(axis=1), (horizontal_flip(X) == Z).all(axis=1)
    assert (unchanged ^ flipped).all()
    assert flipped.mean() == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("rows", [-3, 0, 2])
@pytest.mark.parametrize("columns", [-1, 0, 3])
def test_shift_agrees_with_scipy(rows, columns):
    X = np.random.default_rng(0).random((5, 49))
    np.testing.assert_array_equal(shift(np.arange(1.0, 10).reshape(1, 9), -1, 1), [[0, 4, 5, 0, 7, 8, 0, 0, 0]])
    expected = [ndimage.shift(x.reshape(7, 7), (rows, columns), order=0).ravel() for x in X]
    np.testing.assert_array_equal(shift(X, rows, columns), expected)


@pytest.mark.parametrize("pixels", [1, 2])
def test_random_shift_is_uniform(pixels):
    """Every image is moved, by each of the (2 × pixels + 1)² shifts equally often."""
    X = np.zeros((9000, 49))
    X[:, 24] = 1  # one pixel in the centre, so that its place tells the shift
    random_shift(np.random.default_rng(0), X, pixels)
    rows, columns = np.divmod(X.argmax(axis=1), 7) - np.array([[3], [3]]).repeat(9000, 1)
    counts = np.unique(np.stack([rows, columns], axis=1), axis=0, return_counts=True)[1]
    assert (X.sum(axis=1) == 1).all()
    assert len(counts) == (2 * pixels + 1) ** 2
    assert counts / 9000 == pytest.approx(1 / len(counts), rel=0.25)


def test_random_affine_moves_each_pixel_by_the_matrix():
    """A linear ramp stays one; its slopes are those of x ↦ (I + M)x, and its value in the centre does not change."""
    y, x = np.indices((9, 9)) - 4.0
    X = np.tile((100 + 2 * y + 3 * x).ravel(), (3000, 1))
    random_affine(np.random.default_rng(0), X, 0.1)
    images = X.reshape(-1, 9, 9)
    np.testing.assert_allclose(images[:, 4, 4], 100)
    slopes = np.stack([images[:, 5, 4] - 100, images[:, 4, 5] - 100], axis=1)
    np.testing.assert_allclose(images[:, 5, 5] - 100, slopes.sum(axis=1))
    change = slopes - [2, 3]  # 2 M₁₁ + 3 M₂₁ and 2 M₁₂ + 3 M₂₂
    assert change.mean(axis=0) == pytest.approx([0, 0], abs=0.02)
    assert change.var(axis=0) == pytest.approx(np.full(2, (4 + 9) * 0.2**2 / 12), rel=0.1)
    assert abs(np.corrcoef(change.T)[0, 1]) < 0.1


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixup_mixes_images_and_labels_equally(alpha):
    """Images that equal their labels remain equal; λ has the mean and the variance of Beta(α, α)."""
    Y = one_hot(np.arange(6000) % 10)
    X = Y.astype(np.float64)
    mixup(np.random.default_rng(0), X, Y, alpha)
    np.testing.assert_allclose(X, Y, atol=1e-6)
    np.testing.assert_allclose(Y.sum(axis=1), 1, rtol=1e-6)
    own = Y[np.arange(6000), np.arange(6000) % 10]
    mixed = (Y > 0).sum(axis=1) == 2
    assert mixed.mean() > 0.8 - 0.2 * (alpha < 1)  # one in ten meets its own class; small α often gives λ near 0 or 1
    assert own[Y.max(axis=1) < 1].mean() == pytest.approx(0.5, abs=0.03)
    other_class = np.flatnonzero(own < 1)
    assert own[other_class].var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


def test_augment_keeps_this_order():
    X, Y = blobs(inputs=25).x_train[:20].copy(), blobs().y_train[:20].copy()
    config = Config(flip_probability=0.5, max_shift=1, affine=0.1, mixup=0.3)
    expected, labels, rng = X.copy(), Y.copy(), np.random.default_rng(7)
    random_horizontal_flip(rng, expected, 0.5)
    random_shift(rng, expected, 1)
    random_affine(rng, expected, 0.1)
    mixup(rng, expected, labels, 0.3)
    augment(np.random.default_rng(7), X, Y, config)
    np.testing.assert_array_equal(X, expected)
    np.testing.assert_array_equal(Y, labels)
    augment(None, X, Y, Config())  # draws nothing
    np.testing.assert_array_equal(X, expected)


@pytest.mark.parametrize("values", [{"flip_probability": 0.5}, {"max_shift": 1}, {"affine": 0.1}, {"mixup": 0.3}])
def test_training_with_augmentation_is_reproducible_and_leaves_data_unchanged(values):
    data = blobs(inputs=25)
    before = dataclasses.replace(data, x_train=data.x_train.copy(), y_train=data.y_train.copy())
    a, _ = model_train(data, epochs=2, hidden_size=8, **values)
    b, _ = model_train(data, epochs=2, hidden_size=8, **values)
    plain, _ = model_train(data, epochs=2, hidden_size=8)
    np.testing.assert_array_equal(a.theta, b.theta)
    assert (a.theta != plain.theta).any()
    np.testing.assert_array_equal(data.x_train, before.x_train)
    np.testing.assert_array_equal(data.y_train, before.y_train)
