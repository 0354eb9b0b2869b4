"""Augmentation: values, statistics, and use in training."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from helpers.data import one_hot
from helpers.nn.augmentation import horizontal_flip, mixup, random_horizontal_flip, random_shift, shift
from helpers.nn.config import Config
from helpers.nn.training import Trainer, model_train
from tests.support.datasets import blobs


def test_horizontal_flip_values():
    X = np.arange(18.0).reshape(2, 9)
    flipped = [[2, 1, 0, 5, 4, 3, 8, 7, 6], [11, 10, 9, 14, 13, 12, 17, 16, 15]]
    np.testing.assert_array_equal(horizontal_flip(X), flipped)
    np.testing.assert_array_equal(horizontal_flip(horizontal_flip(X)), X)


def test_horizontal_flip_non_square_images_refused(data):
    with pytest.raises(ValueError, match=r"X: 20 is not the number of pixels of a square image.*28 × 28"):
        horizontal_flip(data.x_train)
    with pytest.raises(ValueError, match="x_train: 20 is not the number of pixels"):
        model_train(data, epochs=1, flip_probability=0.5)


def test_random_horizontal_flip_rate():
    """The given fraction of the images is flipped; all others are unchanged."""
    X = np.random.default_rng(0).random((4000, 9))
    Z = X.copy()
    random_horizontal_flip(np.random.default_rng(1), Z, 0.3)
    unchanged, flipped = (Z == X).all(axis=1), (horizontal_flip(X) == Z).all(axis=1)
    assert (unchanged ^ flipped).all()
    assert flipped.mean() == pytest.approx(0.3, abs=0.03)


def test_shift_values():
    X = np.arange(1.0, 10.0).reshape(1, 9)
    np.testing.assert_array_equal(shift(X, 1, 0), [[0, 0, 0, 1, 2, 3, 4, 5, 6]])
    np.testing.assert_array_equal(shift(X, 0, -2), [[3, 0, 0, 6, 0, 0, 9, 0, 0]])
    np.testing.assert_array_equal(shift(X, -1, 1), [[0, 4, 5, 0, 7, 8, 0, 0, 0]])
    assert shift(X.astype(np.float32), 1, 1).dtype == np.float32


@pytest.mark.parametrize("rows", [-3, 0, 2])
@pytest.mark.parametrize("columns", [-1, 0, 3])
def test_shift_agrees_with_scipy(rows, columns):
    X = np.random.default_rng(0).random((5, 49))
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


def test_random_shift_of_each_image_is_one_of_its_shifts():
    X = np.random.default_rng(0).random((50, 16))
    Z = X.copy()
    random_shift(np.random.default_rng(1), Z, 1)
    for x, z in zip(X, Z, strict=True):
        shifts = [shift(x[None], rows, columns)[0] for rows in (-1, 0, 1) for columns in (-1, 0, 1)]
        assert any((z == moved).all() for moved in shifts)


def test_max_shift_must_be_below_the_width(sample):
    with pytest.raises(ValueError, match="max_shift=28 must be below the width of the images, 28 pixels"):
        model_train(sample, epochs=1, max_shift=28)
    with pytest.raises(ValueError, match="x_train: 20 is not the number of pixels"):
        model_train(blobs(), epochs=1, max_shift=1)


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


def test_mixup_keeps_dtype_and_is_reproducible():
    X, Y = np.ones((8, 4), np.float32), one_hot(np.arange(8))
    X2, Y2 = X.copy(), Y.copy()
    mixup(np.random.default_rng(0), X, Y, 0.4)
    mixup(np.random.default_rng(0), X2, Y2, 0.4)
    assert X.dtype == Y.dtype == np.float32
    np.testing.assert_array_equal(Y, Y2)
    np.testing.assert_allclose(X, 1, rtol=1e-6)


@pytest.mark.parametrize(
    "values",
    [
        {"flip_probability": 0.5},
        {"max_shift": 1},
        {"mixup": 0.3},
        {"flip_probability": 0.5, "mixup": 0.3, "dropout": 0.1},
    ],
)
def test_model_train_with_augmentation_reproducible_and_data_unchanged(values):
    data = blobs(inputs=25)
    before = dataclasses.replace(data, x_train=data.x_train.copy(), y_train=data.y_train.copy())
    a, _ = model_train(data, epochs=2, hidden_size=8, **values)
    b, _ = model_train(data, epochs=2, hidden_size=8, **values)
    plain, _ = model_train(data, epochs=2, hidden_size=8)
    np.testing.assert_array_equal(a.theta, b.theta)
    assert (a.theta != plain.theta).any()
    np.testing.assert_array_equal(data.x_train, before.x_train)
    np.testing.assert_array_equal(data.y_train, before.y_train)


def test_step_trains_on_augmented_batch(monkeypatch):
    """The images that reach the network are flipped, and the labels are mixed."""
    data, seen = blobs(inputs=25), []
    _, Y = Trainer(data, Config(hidden_size=8, flip_probability=0.999, mixup=0.5)).step(np.arange(20))
    assert ((Y > 0).sum(axis=1) == 2).any()
    trainer = Trainer(data, Config(hidden_size=8, flip_probability=1 - 1e-12))
    forward = trainer.engine.forward_propagation
    trainer.engine.forward_propagation = lambda params, X, *rest, **more: (
        seen.append(X.copy()) or forward(params, X, *rest, **more)
    )
    trainer.step(np.arange(20))
    np.testing.assert_array_equal(seen[-1], horizontal_flip(data.x_train[:20]))


def test_step_shifts_the_batch():
    """With max_shift every image that the network sees is a shifted one; the data are unchanged."""
    data, seen = blobs(inputs=25), []
    before = data.x_train.copy()
    trainer = Trainer(data, Config(hidden_size=8, max_shift=1))
    forward = trainer.engine.forward_propagation
    trainer.engine.forward_propagation = lambda params, X, *rest, **more: (
        seen.append(X.copy()) or forward(params, X, *rest, **more)
    )
    trainer.step(np.arange(20))
    rng = np.random.default_rng([0, 1])
    expected = data.x_train[:20].copy()
    random_shift(rng, expected, 1)
    np.testing.assert_array_equal(seen[-1], expected)
    assert (seen[-1] != data.x_train[:20]).any()
    np.testing.assert_array_equal(data.x_train, before)
