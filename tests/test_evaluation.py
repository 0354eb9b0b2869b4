"""Evaluation: loss and accuracy by hand, tables that agree with their definitions."""

import numpy as np
import pytest

from helpers.evaluation import (
    CHUNK,
    accuracy,
    calibration,
    confident_mistakes,
    confusion_matrix,
    evaluate,
    per_class,
    predict,
)
from helpers.functions import LOSSES
from helpers.network import forward_propagation, intial_weights

# Six predictions over three classes, of which the third and the fifth are wrong.
Y = np.eye(3)[[0, 0, 0, 1, 1, 2]]
Y_HAT = np.array(
    [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.05, 0.05, 0.9], [0.2, 0.2, 0.6]]
)


def test_accuracy_by_hand():
    assert accuracy(Y_HAT, Y) == pytest.approx(4 / 6)


def test_confusion_matrix_has_the_truth_in_its_rows():
    np.testing.assert_array_equal(confusion_matrix(Y_HAT, Y), [[2, 1, 0], [0, 1, 1], [0, 0, 1]])


def test_a_class_that_never_occurs_keeps_its_row_and_column():
    assert confusion_matrix(Y_HAT[:2], Y[:2]).shape == (3, 3)


def test_precision_recall_and_f1_by_hand():
    table = per_class(Y_HAT, Y, ("coat", "shirt", "bag"))
    assert list(table.index) == ["coat", "shirt", "bag", "macro mean"]
    np.testing.assert_allclose(table.precision, [1, 1 / 2, 1 / 2, 2 / 3])
    np.testing.assert_allclose(table.recall, [2 / 3, 1 / 2, 1, 13 / 18])
    np.testing.assert_allclose(table.F1, [4 / 5, 1 / 2, 2 / 3, (4 / 5 + 1 / 2 + 2 / 3) / 3])
    assert list(table.images) == [3, 2, 1, 6]


def test_confident_mistakes_come_surest_first():
    assert list(confident_mistakes(Y_HAT, Y, 5)) == [4, 2]
    assert list(confident_mistakes(Y_HAT, Y, 1)) == [4]


def test_predictions_in_chunks_are_those_of_one_pass():
    params = intial_weights(2, 5, inputs=7, classes=3, dtype=np.float64)
    rng = np.random.default_rng(0)
    X, labels = rng.random((2 * CHUNK + 3, 7)), np.eye(3)[rng.integers(0, 3, 2 * CHUNK + 3)]
    Y_hat = forward_propagation(params, X, "tanh")[-1]
    np.testing.assert_allclose(predict(params, X, activation="tanh"), Y_hat, rtol=1e-12)
    loss, share = evaluate(params, X, labels, activation="tanh", loss="mean_squared_error")
    assert loss == pytest.approx(LOSSES["mean_squared_error"][0](Y_hat, labels))
    assert share == accuracy(Y_hat, labels)


def test_bad_input_is_refused():
    params = intial_weights(1, 5, inputs=7, classes=3, dtype=np.float64)
    X, labels = np.zeros((4, 7)), np.eye(3)[[0, 1, 2, 0]]
    good = {"activation": "tanh", "loss": "cross_entropy"}
    for arguments, words in (
        ((X[:0], labels[:0]), "X has shape .*empty"),
        ((X * np.nan, labels), "X holds NaN"),
        ((X[:, 1:], labels), "X has shape"),
        ((X, labels[:3]), "Y has shape"),
        ((X, labels + 1), "Y is not one-hot"),
        ((X, np.eye(4)), r"Y has shape \(4, 4\)"),
    ):
        with pytest.raises(ValueError, match=words):
            evaluate(params, *arguments, **good)
    with pytest.raises(ValueError, match="loss='log'"):
        evaluate(params, X, labels, activation="tanh", loss="log")


def test_with_its_mirror_image_the_prediction_is_the_mean_of_both(sample):
    params, X, Y = intial_weights(1, 8), sample.x_val, sample.y_val
    both = predict(params, X, activation="ReLU", mirror=True)
    mirror = X.reshape(-1, 28, 28)[:, :, ::-1].reshape(X.shape)
    one, other = (predict(params, Z, activation="ReLU") for Z in (X, mirror))
    np.testing.assert_allclose(both, (one + other) / 2)
    assert (abs(one - other) > 1e-3).any()
    loss, share = evaluate(params, X, Y, activation="ReLU", loss="cross_entropy", mirror=True)
    assert (loss, share) == (LOSSES["cross_entropy"][0](both, Y), accuracy(both, Y))


def test_calibration_by_hand():
    """Two bins: four images at 0.7 of which three are right, one at 0.25 that is right, and the border at 1."""
    probability = np.array([0.7, 0.7, 0.7, 0.7, 0.25, 1.0])
    table, error = calibration(probability, np.array([True, True, True, False, True, True]), bins=2)
    np.testing.assert_allclose(table.probability, [0.25, (4 * 0.7 + 1) / 5])
    np.testing.assert_allclose(table.accuracy, [1, 4 / 5])
    assert list(table.images) == [1, 5]
    assert error == pytest.approx((0.75 + 5 * (0.8 - 3.8 / 5)) / 6)


def test_who_is_right_as_often_as_sure_has_no_calibration_error():
    rng = np.random.default_rng(0)
    probability = rng.uniform(0.1, 1, 200_000)
    hit = rng.random(200_000) < probability
    assert calibration(probability, hit)[1] < 0.01
    assert calibration(probability, hit & (rng.random(200_000) < 0.8))[1] > 0.1
