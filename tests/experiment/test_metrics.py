"""Metrics: values computed by hand, and tables that agree with their definitions."""

import tracemalloc

import numpy as np
import pytest

from helpers.experiment.augmentation import NEIGHBOURS, horizontal_flip, shift
from helpers.experiment.config import Config
from helpers.experiment.metrics import (
    CHUNK,
    accuracy,
    confident_errors,
    confusion_matrix,
    evaluate,
    layer_diagnostics,
    per_class_scores,
    predict,
)
from helpers.nn.functions import LOSSES
from helpers.nn.initialization import intial_weights
from helpers.nn.network import backward_propagation, forward_propagation

# Six predictions for three classes; the third and the fifth are wrong.
Y = np.eye(3)[[0, 0, 0, 1, 1, 2]]
Y_HAT = np.array(
    [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.05, 0.05, 0.9], [0.2, 0.2, 0.6]]
)


def test_scores_values():
    assert accuracy(Y_HAT, Y) == pytest.approx(4 / 6)
    np.testing.assert_array_equal(confusion_matrix(Y_HAT, Y), [[2, 1, 0], [0, 1, 1], [0, 0, 1]])  # rows: true classes
    assert confusion_matrix(Y_HAT[:2], Y[:2]).shape == (3, 3)
    assert list(confident_errors(Y_HAT, Y, 5)) == [4, 2]
    assert list(confident_errors(Y_HAT, Y, 1)) == [4]
    table = per_class_scores(Y_HAT, Y, ("coat", "shirt", "bag"))
    assert list(table.index) == ["coat", "shirt", "bag", "macro avg"]
    assert list(table.columns) == ["precision", "recall", "f1-score", "support"]
    np.testing.assert_allclose(table["precision"], [1, 1 / 2, 1 / 2, 2 / 3])
    np.testing.assert_allclose(table["recall"], [2 / 3, 1 / 2, 1, 13 / 18])
    np.testing.assert_allclose(table["f1-score"], [4 / 5, 1 / 2, 2 / 3, (4 / 5 + 1 / 2 + 2 / 3) / 3])
    assert list(table["support"]) == [3, 2, 1, 6]
    assert table["support"].dtype.kind == "i"


def test_predict_in_chunks_matches_single_pass():
    params = intial_weights(2, 5, inputs=7, classes=3, dtype=np.float64)
    rng = np.random.default_rng(0)
    X, labels = rng.random((2 * CHUNK + 3, 7)), np.eye(3)[rng.integers(0, 3, 2 * CHUNK + 3)]
    Y_hat = forward_propagation(params, X, "tanh")[-1]
    np.testing.assert_allclose(predict(params, X, activation="tanh"), Y_hat, rtol=1e-12)
    loss, share = evaluate(params, X, labels, activation="tanh", loss="mean_squared_error")
    assert loss == pytest.approx(LOSSES["mean_squared_error"][0](Y_hat, labels))
    assert share == accuracy(Y_hat, labels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.zeros((4, 6))}, r"^X has shape \(4, 6\).*7"),
        ({"X": np.zeros((4, 7), np.float32)}, "X is float32; the parameters are float64"),
        ({"X": [[0.0] * 7] * 4}, "X is a list"),
        ({"activation": "swish"}, "activation='swish'.*identity, sigmoid, tanh, ReLU"),
        ({"X": np.full((4, 7), np.nan)}, "X contains NaN"),
        ({"Y": np.eye(3)}, r"Y has shape \(3, 3\).*4"),
        ({"Y": np.ones((4, 3))}, "Y is not one-hot"),
        ({"loss": "log"}, "loss='log'.*cross_entropy, mean_squared_error"),
    ],
)
def test_evaluate_and_predict_invalid_argument_refused(change, message):
    params = intial_weights(1, 5, inputs=7, classes=3, dtype=np.float64)
    valid = {"X": np.zeros((4, 7)), "Y": np.eye(3)[[0, 1, 2, 0]], "activation": "tanh", "loss": "cross_entropy"}
    with pytest.raises(ValueError, match=message):
        evaluate(params, **(valid | change))
    if message.startswith(("^X has", "X is", "activation")):
        with pytest.raises(ValueError, match=message):
            predict(params, **({"X": valid["X"], "activation": "tanh"} | change))


@pytest.mark.parametrize(("flip", "shifts"), [(True, False), (False, True), (True, True)])
def test_predict_averages_views_chunk_by_chunk(flip, shifts):
    """Bitwise the mean over the predictions of all views, with less memory than a copy of the images."""
    params = intial_weights(1, 4)
    X = np.random.default_rng(0).random((8 * CHUNK + 3, 784), np.float32)
    arguments = {"activation": "ReLU", "flip_tta": flip, "shift_tta": shifts}
    tracemalloc.start()
    try:
        mean = predict(params, X, **arguments)
        assert tracemalloc.get_traced_memory()[1] < X.nbytes
    finally:
        tracemalloc.stop()
    views = [shift(X, *move) if any(move) else X for move in (NEIGHBOURS if shifts else NEIGHBOURS[:1])]
    views += [horizontal_flip(view) for view in views] if flip else []
    expected = sum(predict(params, view, activation="ReLU") for view in views) / len(views)
    np.testing.assert_array_equal(mean, expected)
    assert mean.dtype == np.float32


@pytest.mark.parametrize("loss", LOSSES)
def test_layer_diagnostics(loss):
    """The norm is the derivative along the normalised gradient; a unit whose bias is very negative is dead."""
    rng = np.random.default_rng(0)
    X, labels = rng.random((9, 16)), np.eye(3)[rng.integers(0, 3, 9)]
    params = intial_weights(2, 4, "He", inputs=16, classes=3, dtype=np.float64)
    params.layers[0][1][:3] = -100
    config = Config(num_layers=2, hidden_size=4, loss=loss, weight_decay=0.1)
    values = layer_diagnostics(params, X, labels, config)
    names = ["gradient_norm/W1", "gradient_norm/W2", "gradient_norm/W3", "dead_units/layer1", "dead_units/layer2"]
    assert list(values) == names
    assert list(layer_diagnostics(params, X, labels, Config(activation="tanh"))) == names[:3]
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
