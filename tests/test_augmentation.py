"""Augmentation: by hand, by its statistics, and through training."""

import dataclasses

import numpy as np
import pytest

from helpers.augmentation import flip, mirrored, mixup
from helpers.config import Config
from helpers.data import one_hot
from helpers.learner import Learner
from helpers.training import model_train
from tests.conftest import blobs


def test_a_mirrored_image_by_hand():
    X = np.arange(18.0).reshape(2, 9)
    np.testing.assert_array_equal(mirrored(X), [[2, 1, 0, 5, 4, 3, 8, 7, 6], [11, 10, 9, 14, 13, 12, 17, 16, 15]])
    np.testing.assert_array_equal(mirrored(mirrored(X)), X)


def test_what_is_no_square_has_no_mirror_image(data):
    with pytest.raises(ValueError, match=r"X: 20 columns.*28 × 28"):
        mirrored(data.x_train)
    with pytest.raises(ValueError, match="20 columns"):
        model_train(data, epochs=1, flip=0.5)


def test_flip_mirrors_its_share_and_leaves_the_rest():
    X = np.random.default_rng(0).random((4000, 9))
    Z = X.copy()
    flip(np.random.default_rng(1), Z, 0.3)
    same, mirror = (Z == X).all(axis=1), (mirrored(X) == Z).all(axis=1)
    assert (same ^ mirror).all()
    assert mirror.mean() == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixup_mixes_images_and_labels_alike(alpha):
    """Images that are their labels stay so; λ has the mean and the variance of Beta(α, α)."""
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


def test_mixup_keeps_the_dtype_and_is_reproducible():
    X, Y = np.ones((8, 4), np.float32), one_hot(np.arange(8))
    again_X, again_Y = X.copy(), Y.copy()
    mixup(np.random.default_rng(0), X, Y, 0.4)
    mixup(np.random.default_rng(0), again_X, again_Y, 0.4)
    assert X.dtype == Y.dtype == np.float32
    np.testing.assert_array_equal(Y, again_Y)
    np.testing.assert_allclose(X, 1, rtol=1e-6)


@pytest.mark.parametrize("settings", [{"flip": 0.5}, {"mixup": 0.3}, {"flip": 0.5, "mixup": 0.3, "dropout": 0.1}])
def test_training_on_augmented_images_is_reproducible_and_leaves_the_data_alone(settings):
    data = blobs(inputs=25)
    before = dataclasses.replace(data, x_train=data.x_train.copy(), y_train=data.y_train.copy())
    a, _ = model_train(data, epochs=2, hidden_size=8, **settings)
    b, _ = model_train(data, epochs=2, hidden_size=8, **settings)
    plain, _ = model_train(data, epochs=2, hidden_size=8)
    np.testing.assert_array_equal(a.theta, b.theta)
    assert (a.theta != plain.theta).any()
    np.testing.assert_array_equal(data.x_train, before.x_train)
    np.testing.assert_array_equal(data.y_train, before.y_train)


def test_a_step_sees_the_flipped_and_mixed_images(monkeypatch):
    data = blobs(inputs=25)
    learner = Learner(data, Config(hidden_size=8, flip=0.999, mixup=0.5))
    _, Y = learner.update(np.arange(20))
    assert ((Y > 0).sum(axis=1) == 2).any()
    learner = Learner(data, Config(hidden_size=8, flip=1 - 1e-12))
    learner.update(np.arange(20))
    np.testing.assert_array_equal(learner.arrays[20][0], mirrored(data.x_train[:20]))
