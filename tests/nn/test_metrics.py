"""Metrics: values computed by hand, and tables that agree with their definitions."""

import numpy as np
import pytest

from helpers.nn.config import Config
from helpers.nn.functions import LOSSES
from helpers.nn.initialization import intial_weights
from helpers.nn.metrics import (
    CHUNK,
    accuracy,
    calibration,
    confident_errors,
    confusion_matrix,
    evaluate,
    layer_diagnostics,
    per_class_scores,
    predict,
)
from helpers.nn.network import backward_propagation, forward_propagation

# Six predictions for three classes; the third and the fifth are wrong.
Y = np.eye(3)[[0, 0, 0, 1, 1, 2]]
Y_HAT = np.array(
    [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.05, 0.05, 0.9], [0.2, 0.2, 0.6]]
)


def test_accuracy_value():
    assert accuracy(Y_HAT, Y) == pytest.approx(4 / 6)


def test_confusion_matrix_rows_are_true_classes():
    np.testing.assert_array_equal(confusion_matrix(Y_HAT, Y), [[2, 1, 0], [0, 1, 1], [0, 0, 1]])


def test_confusion_matrix_keeps_absent_class():
    assert confusion_matrix(Y_HAT[:2], Y[:2]).shape == (3, 3)


def test_per_class_scores_values():
    table = per_class_scores(Y_HAT, Y, ("coat", "shirt", "bag"))
    assert list(table.index) == ["coat", "shirt", "bag", "macro avg"]
    assert list(table.columns) == ["precision", "recall", "f1-score", "support"]
    np.testing.assert_allclose(table["precision"], [1, 1 / 2, 1 / 2, 2 / 3])
    np.testing.assert_allclose(table["recall"], [2 / 3, 1 / 2, 1, 13 / 18])
    np.testing.assert_allclose(table["f1-score"], [4 / 5, 1 / 2, 2 / 3, (4 / 5 + 1 / 2 + 2 / 3) / 3])
    assert list(table["support"]) == [3, 2, 1, 6]
    assert table["support"].dtype.kind == "i"


def test_per_class_scores_absent_class_without_warning():
    """Neither predicted nor present: the scores are 0, and scikit-learn's warning is off."""
    table = per_class_scores(Y_HAT[:2], Y[:2], "abc")
    assert list(table.loc["c"]) == [0, 0, 0, 0]


def test_confident_errors_descending():
    assert list(confident_errors(Y_HAT, Y, 5)) == [4, 2]
    assert list(confident_errors(Y_HAT, Y, 1)) == [4]


def test_predict_in_chunks_matches_single_pass():
    params = intial_weights(2, 5, inputs=7, classes=3, dtype=np.float64)
    rng = np.random.default_rng(0)
    X, labels = rng.random((2 * CHUNK + 3, 7)), np.eye(3)[rng.integers(0, 3, 2 * CHUNK + 3)]
    Y_hat = forward_propagation(params, X, "tanh")[-1]
    np.testing.assert_allclose(predict(params, X, activation="tanh"), Y_hat, rtol=1e-12)
    loss, share = evaluate(params, X, labels, activation="tanh", loss="mean_squared_error")
    assert loss == pytest.approx(LOSSES["mean_squared_error"][0](Y_hat, labels))
    assert share == accuracy(Y_hat, labels)


def test_predict_invalid_input_refused():
    params, X = intial_weights(1, 5, inputs=7, classes=3, dtype=np.float64), np.zeros((4, 7))
    for wrong, message in (
        (X[:, 1:], r"^X has shape \(4, 6\).*7"),
        (X.astype(np.float32), "X is float32; the parameters are float64"),
        (X.astype(int), "X is a int64 array"),
        (X[:0], r"X has shape \(0, 7\).*empty"),
        (X[0], r"X is a float64 array of shape \(7,\)"),
        (X.tolist(), "X is a list"),
    ):
        with pytest.raises(ValueError, match=message):
            predict(params, wrong, activation="tanh")
    with pytest.raises(ValueError, match=r"activation='swish'.*identity, sigmoid, tanh, ReLU"):
        predict(params, X, activation="swish")


def test_evaluate_invalid_input_refused():
    params = intial_weights(1, 5, inputs=7, classes=3, dtype=np.float64)
    X, labels = np.zeros((4, 7)), np.eye(3)[[0, 1, 2, 0]]
    valid = {"activation": "tanh", "loss": "cross_entropy"}
    for arguments, message in (
        ((X[:0], labels[:0]), "X has shape .*empty"),
        ((X * np.nan, labels), "X contains NaN"),
        ((X[:, 1:], labels), "X has shape"),
        ((X, labels[:3]), r"Y has shape \(3, 3\).*4"),
        ((X, labels + 1), "Y is not one-hot"),
        ((X, np.eye(4)), r"Y has shape \(4, 4\)"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate(params, *arguments, **valid)
    with pytest.raises(ValueError, match="loss='log'"):
        evaluate(params, X, labels, activation="tanh", loss="log")


def test_predict_flip_tta_is_mean_of_both_orientations(sample):
    params, X, labels = intial_weights(1, 8), sample.x_val, sample.y_val
    both = predict(params, X, activation="ReLU", flip_tta=True)
    flipped = X.reshape(-1, 28, 28)[:, :, ::-1].reshape(X.shape)
    one, other = (predict(params, Z, activation="ReLU") for Z in (X, flipped))
    np.testing.assert_allclose(both, (one + other) / 2)
    assert (abs(one - other) > 1e-3).any()
    result = evaluate(params, X, labels, activation="ReLU", loss="cross_entropy", flip_tta=True)
    assert result == (LOSSES["cross_entropy"][0](both, labels), accuracy(both, labels))


@pytest.mark.parametrize("flip", [False, True])
def test_predict_shift_tta_is_mean_over_shifts_by_one_pixel(sample, flip):
    params, X, labels = intial_weights(1, 8), sample.x_val[:20], sample.y_val[:20]
    mean = predict(params, X, activation="ReLU", flip_tta=flip, shift_tta=True)
    padded = np.pad(X.reshape(-1, 28, 28), ((0, 0), (1, 1), (1, 1)))
    views = [padded[:, i : i + 28, j : j + 28] for i, j in ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))]
    views += [view[:, :, ::-1] for view in views] if flip else []
    each = [predict(params, np.ascontiguousarray(view).reshape(20, 784), activation="ReLU") for view in views]
    np.testing.assert_allclose(mean, np.mean(each, axis=0), rtol=1e-5)
    assert abs(mean - each[0]).max() > 1e-3
    result = evaluate(params, X, labels, activation="ReLU", loss="cross_entropy", flip_tta=flip, shift_tta=True)
    assert result == (LOSSES["cross_entropy"][0](mean, labels), accuracy(mean, labels))


def test_calibration_values():
    """Two bins: one image at 0.25; four images at 0.7, of which three are correct, and one at the upper limit 1."""
    probability = np.array([0.7, 0.7, 0.7, 0.7, 0.25, 1.0])
    table, error = calibration(probability, np.array([True, True, True, False, True, True]), bins=2)
    np.testing.assert_allclose(table["probability"], [0.25, (4 * 0.7 + 1) / 5])
    np.testing.assert_allclose(table["accuracy"], [1, 4 / 5])
    assert list(table["images"]) == [1, 5]
    assert error == pytest.approx((0.75 + 5 * (0.8 - 3.8 / 5)) / 6)


def test_calibration_error_of_calibrated_predictions_near_zero():
    rng = np.random.default_rng(0)
    probability = rng.uniform(0.1, 1, 200_000)
    correct = rng.random(200_000) < probability
    assert calibration(probability, correct)[1] < 0.01
    assert calibration(probability, correct & (rng.random(200_000) < 0.8))[1] > 0.1


@pytest.mark.parametrize("loss", LOSSES)
def test_layer_diagnostics(loss):
    """The norm is the derivative along the normalised gradient; a unit whose bias is very negative is dead."""
    rng = np.random.default_rng(0)
    X, labels = rng.random((9, 16)), np.eye(3)[rng.integers(0, 3, 9)]
    params = intial_weights(2, 4, "He", inputs=16, classes=3, dtype=np.float64)
    params.layers[0][1][:3] = -100
    config = Config(num_layers=2, hidden_size=4, loss=loss, weight_decay=0.1)
    values = layer_diagnostics(params, X, labels, config)
    assert list(values) == [
        "gradient_norm/W1",
        "gradient_norm/W2",
        "gradient_norm/W3",
        "dead_units/layer1",
        "dead_units/layer2",
    ]
    assert values["dead_units/layer1"] >= 3 / 4

    def total(W, k):
        W_k = params.layers[k][0]
        before, W_k[:] = W_k.copy(), W
        loss_of = LOSSES[loss][0](predict(params, X, activation="ReLU"), labels)
        penalty = 0.05 * sum((other**2).sum() for other, _ in params.layers)
        W_k[:] = before
        return loss_of + penalty

    H = forward_propagation(params, X, "ReLU")
    gradient = backward_propagation(params, H, labels, "ReLU", loss, weight_decay=0.1)
    for k in range(3):
        W, direction = params.layers[k][0].copy(), gradient.layers[k][0] / np.linalg.norm(gradient.layers[k][0])
        slope = (total(W + 1e-6 * direction, k) - total(W - 1e-6 * direction, k)) / 2e-6
        assert values[f"gradient_norm/W{k + 1}"] == pytest.approx(slope, rel=1e-6)


def test_layer_diagnostics_of_tanh_have_no_dead_units():
    params = intial_weights(1, 4, "Xavier", inputs=16, classes=3, dtype=np.float64)
    config = Config(num_layers=1, hidden_size=4, activation="tanh")
    assert set(layer_diagnostics(params, np.ones((2, 16)), np.eye(3)[:2], config)) == {
        "gradient_norm/W1",
        "gradient_norm/W2",
    }
