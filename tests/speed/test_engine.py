"""The engines: bitwise the same parameters with NumPy and with Numba, and what happens without a working Numba."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.experiment.regularization import dropout_masks
from helpers.experiment.run import make_engine, model_train
from helpers.nn import ACTIVATIONS, LOSSES, OPTIMIZERS, intial_weights
from helpers.nn.network import backward_propagation, forward_propagation
from helpers.speed.threads import ThreadedEngine
from tests.support.datasets import blobs
from tests.support.environment import run_python

engine = pytest.importorskip("helpers.speed.engine", reason="Numba is not installed, or --without-numba was given")

DTYPES = [np.float32, np.float64]
EVERYTHING = {
    "dropout": 0.2, "mixup": 0.2, "flip_probability": 0.5, "max_shift": 1, "decoupled_weight_decay": 0.01, "warmup": 1,
    "weight_decay": 0.01, "schedule": "cosine",
}  # fmt: skip


def assert_engines_agree(dtype=np.float32, **hyperparameters):
    """Two epochs; the last batch is smaller than the others."""
    data = blobs(210, inputs=25, dtype=dtype)
    values = {"epochs": 2, "batch_size": 16, "num_layers": 2, "hidden_size": 12} | hyperparameters
    (params, history), (others, other) = (model_train(data, engine=name, **values) for name in ("numpy", "numba"))
    assert (history.attrs["engine"], other.attrs["engine"]) == ("numpy", "numba")
    np.testing.assert_array_equal(params.theta, others.theta)
    assert history.drop(columns="seconds").equals(other.drop(columns="seconds"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_engines_agree_for_every_rule(optimizer, dtype):
    assert_engines_agree(optimizer=optimizer, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_engines_agree_for_every_activation_and_loss(activation, loss, dtype):
    assert_engines_agree(activation=activation, loss=loss, dtype=dtype, weight_decay=0.01)


@pytest.mark.parametrize("hidden_size", [1, 2, [1, 33], [130, 1]])
@pytest.mark.parametrize("batch_size", [1, 3, 209, 1000])
def test_engines_agree_for_odd_sizes_and_every_technique(hidden_size, batch_size):
    assert_engines_agree(hidden_size=hidden_size, batch_size=batch_size, activation="tanh", **EVERYTHING)


def test_engines_agree_after_divergence():
    """NaN and infinity take the same course: the error names the same step."""
    errors = []
    for name in ("numpy", "numba"):
        with pytest.raises(ArithmeticError) as caught:
            model_train(
                blobs(dtype=np.float32), engine=name, optimizer="sgd", learning_rate=1e38, activation="identity"
            )
        errors.append((caught.value.epoch, caught.value.step))
    assert errors[0] == errors[1]


@given(st.integers(1, 40), st.integers(2, 12), st.sampled_from(sorted(ACTIVATIONS)), st.integers(0, 99))
def test_propagation_agrees_for_any_shape(N, width, activation, seed):
    rng = np.random.default_rng(seed)
    params = intial_weights(2, [width, 5], inputs=6, classes=3, seed=seed)
    params.theta[:] += rng.normal(0, 0.1, params.theta.size)
    X, Y = rng.normal(size=(N, 6)).astype(np.float32), np.eye(3, dtype=np.float32)[rng.integers(0, 3, N)]
    compiled = engine.CompiledEngine()
    for masks in (None, dropout_masks(rng, 0.4, N, params)):
        compiled.new_step()
        expected = forward_propagation(params, X, activation, masks=masks)
        H = forward_propagation(params, X, activation, masks=masks, engine=compiled)
        assert all(np.array_equal(a, b) for a, b in zip(H, expected, strict=True))
        gradient = backward_propagation(params, expected, Y, activation, "cross_entropy", masks=masks)
        ours = backward_propagation(params, H, Y, activation, "cross_entropy", masks=masks, engine=compiled)
        np.testing.assert_array_equal(ours.theta, gradient.theta)


@pytest.mark.parametrize(
    ("f", "derivative"),
    [
        (lambda A: A / (1 + abs(A)), lambda H: (1 - abs(H)) ** 2),
        (lambda A: np.maximum(A, 0.01 * A), lambda H: np.where(H > 0, 1.0, 0.01)),  # its derivative is float64
        (lambda A: np.where(A > 0, 1.0, 0.0), lambda H: H),  # float64, too
        (lambda A: A, lambda H: 1),
    ],
)
def test_new_activation_runs_with_both_engines(f, derivative, monkeypatch):
    monkeypatch.setitem(ACTIVATIONS, "new", (f, derivative))
    assert_engines_agree(activation="new")


def test_new_loss_runs_with_both_engines(monkeypatch):
    gradient = lambda Y_hat, Y: (Y_hat - Y) / np.float64(len(Y))  # noqa: E731 (float64)
    monkeypatch.setitem(LOSSES, "new", (LOSSES["cross_entropy"][0], gradient))
    assert_engines_agree(loss="new")


@pytest.mark.parametrize("numba", [None, SimpleNamespace()])  # not installed; installed, but it has no njit
def test_without_a_working_numba_training_uses_numpy(numba, monkeypatch, recwarn):
    assert isinstance(make_engine("auto"), engine.CompiledEngine)
    for name in ("helpers.speed.engine", "helpers.speed.compile"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numba", numba)
    assert type(make_engine("auto")) is ThreadedEngine
    messages = [str(warning.message) for warning in recwarn]
    assert len(messages) == (numba is not None)  # silent where it is not installed
    assert all("Numba is installed but cannot be imported" in message for message in messages)
    with pytest.raises(ValueError, match=r"engine='numba' needs Numba .*; install it with: pip install numba"):
        make_engine("numba")


@pytest.mark.slow
def test_without_the_folder_speed_training_works():
    code = (
        "import sys; sys.modules['helpers.speed'] = None\n"
        "from helpers import model_train; from tests.support.datasets import blobs\n"
        "_, history = model_train(blobs(), epochs=1, hidden_size=4)\n"
        "print(history.attrs['engine'], 'numba' in sys.modules)"
    )
    assert run_python(code).stdout.split() == ["numpy", "False"]
