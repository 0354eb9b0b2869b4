"""The engines: bitwise the same parameters with NumPy and with Numba, and what happens without a working Numba."""

import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.nn import ACTIVATIONS, OPTIMIZERS, Config, Trainer, intial_weights, model_train, optimizers
from helpers.nn.engine import NumpyEngine, make_engine
from helpers.nn.network import backward_propagation, dropout_masks, forward_propagation
from tests.support.datasets import blobs
from tests.support.environment import run_python

compiled = pytest.importorskip("helpers.nn.compiled", reason="Numba is not installed, or --without-numba was given")

DTYPES = [np.float32, np.float64]
EVERYTHING = {
    "dropout": 0.2,
    "mixup": 0.2,
    "flip_probability": 0.5,
    "max_shift": 1,
    "decoupled_weight_decay": 0.01,
    "warmup": 1,
}


def train(engine, dtype=np.float32, threads=1, **hyperparameters):
    """Return theta and the last loss after two epochs; the last batch is smaller than the others."""
    data = blobs(210, inputs=25, dtype=dtype)
    values = {"epochs": 2, "batch_size": 16, "num_layers": 2, "hidden_size": 12} | hyperparameters
    params, history = model_train(data, engine=engine, threads=threads, **values)
    assert history.attrs["engine"] == engine
    return params.theta, history.train_loss.iloc[-1]


def assert_engines_agree(**arguments):
    (theta, loss), (other_theta, other_loss) = (train(engine, **arguments) for engine in ("numpy", "numba"))
    np.testing.assert_array_equal(theta, other_theta)
    assert loss == other_loss


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_engines_agree_for_every_rule(optimizer, dtype):
    assert optimizers.OPTIMIZERS[optimizer] in compiled.RULES
    assert_engines_agree(optimizer=optimizer, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_engines_agree_for_every_activation_and_loss(activation, loss, dtype):
    assert_engines_agree(activation=activation, loss=loss, dtype=dtype, weight_decay=0.01)


@pytest.mark.parametrize("hidden_size", [1, 2, 7, [1, 33], [130, 1]])
@pytest.mark.parametrize("batch_size", [1, 3, 209, 1000])
def test_engines_agree_for_odd_sizes(hidden_size, batch_size):
    assert_engines_agree(hidden_size=hidden_size, batch_size=batch_size, activation="tanh", **EVERYTHING)


@pytest.mark.parametrize("hyperparameters", [EVERYTHING, {"receptive_field": 2, "weight_init": "He"}])
def test_engines_agree_for_every_technique(hyperparameters):
    assert_engines_agree(**hyperparameters)


def test_engines_agree_after_divergence():
    """NaN and infinity take the same course: the error names the same step."""
    errors = []
    for engine in ("numpy", "numba"):
        with pytest.raises(ArithmeticError) as caught:
            train(engine, optimizer="sgd", learning_rate=1e38, activation="identity")
        errors.append((caught.value.epoch, caught.value.step))
    assert errors[0] == errors[1]


@given(st.integers(1, 40), st.integers(2, 12), st.sampled_from(sorted(ACTIVATIONS)), st.integers(0, 99))
def test_propagation_agrees_for_any_shape(N, width, activation, seed):
    rng = np.random.default_rng(seed)
    params = intial_weights(2, [width, 5], inputs=6, classes=3, seed=seed)
    params.theta[:] += rng.normal(0, 0.1, params.theta.size)
    X, Y = rng.normal(size=(N, 6)).astype(np.float32), np.eye(3, dtype=np.float32)[rng.integers(0, 3, N)]
    masks = [None, *dropout_masks(rng, 0.4, [(N, width), (N, 5)])]
    engine = compiled.CompiledEngine(params)
    for given_masks in (None, masks):
        expected = forward_propagation(params, X, activation, masks=given_masks)
        H = engine.forward_propagation(params, X, activation, masks=given_masks)
        assert all(np.array_equal(a, b) for a, b in zip(H, expected, strict=True))
        gradient = backward_propagation(params, H, Y, activation, "cross_entropy", masks=given_masks)
        ours = engine.backward_propagation(params, H, Y, activation, "cross_entropy", masks=given_masks)
        np.testing.assert_array_equal(ours.theta, gradient.theta)


def test_backward_propagation_accepts_other_activations():
    """Those of another forward pass, with dropout."""
    params = intial_weights(1, 4, inputs=6, classes=3)
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(5, 6)).astype(np.float32), np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]]
    masks = [None, *dropout_masks(rng, 0.5, [(5, 4)])]
    H = forward_propagation(params, X, "ReLU", masks=masks)
    expected = backward_propagation(params, H, Y, "ReLU", "cross_entropy", masks=masks)
    ours = compiled.CompiledEngine(params).backward_propagation(params, H, Y, "ReLU", "cross_entropy", masks=masks)
    np.testing.assert_array_equal(ours.theta, expected.theta)


def test_new_rule_and_new_activation_run_in_numpy(monkeypatch):
    """They have no compiled loop, and need none."""

    def slow(theta, g, t, *, learning_rate=0.01):
        theta -= learning_rate * g

    monkeypatch.setitem(OPTIMIZERS, "slow", slow)
    monkeypatch.setitem(ACTIVATIONS, "softsign", (lambda A: A / (1 + abs(A)), lambda H: (1 - abs(H)) ** 2))
    assert_engines_agree(optimizer="slow", activation="softsign")
    np.testing.assert_array_equal(train("numba", optimizer="slow")[0], train("numba", optimizer="sgd")[0])


def test_denormals_are_flushed_alike():
    vector = np.array([0, 1e-40, -1e-40, 1e-32, -1e-32, 1.2e-32, -1.0, np.nan, np.inf], np.float32)
    expected, ours = vector.copy(), vector.copy()
    NumpyEngine().flush_denormals(expected)
    compiled.CompiledEngine(intial_weights(1, 2)).flush_denormals(ours)
    np.testing.assert_array_equal(ours, expected)
    assert (expected == 0).sum() == 5


def test_engine_defaults_to_numba():
    assert make_engine("auto", intial_weights(1, 2)).name == "numba"
    assert make_engine("NumPy", intial_weights(1, 2)).name == "numpy"


@pytest.mark.parametrize("engine", ["cuda", None, 3])
def test_unknown_engine_is_refused(engine, data):
    with pytest.raises(ValueError, match=rf"engine={engine!r} is unknown; choose one of: auto, numpy, numba"):
        Trainer(data, Config(), engine=engine)


def test_missing_numba_is_silent_unless_requested(data, monkeypatch):
    monkeypatch.delitem(sys.modules, "helpers.nn.compiled")
    monkeypatch.setitem(sys.modules, "numba", None)
    assert Trainer(data, Config()).engine.name == "numpy"
    with pytest.raises(ValueError, match=r"engine='numba' needs Numba .*; install it with: pip install numba"):
        Trainer(data, Config(), engine="numba")


def test_broken_numba_is_one_warning(data, monkeypatch):
    """Its import may raise anything."""
    monkeypatch.delitem(sys.modules, "helpers.nn.compiled")
    monkeypatch.setitem(sys.modules, "numba", SimpleNamespace())  # it has no njit
    with pytest.warns(UserWarning, match="Numba is installed but cannot be imported .*training uses NumPy") as caught:
        assert Trainer(data, Config()).engine.name == "numpy"
    assert len(caught) == 1
    with pytest.raises(ValueError, match="engine='numba' needs Numba"):
        Trainer(data, Config(), engine="numba")


@pytest.mark.slow
def test_training_without_writable_cache(tmp_path):
    """The loops are then compiled in memory."""
    locked = tmp_path / "file"
    locked.write_text("no folder")
    code = (
        "from helpers.nn import compiled, model_train; from tests.support.datasets import blobs\n"
        "_, history = model_train(blobs(), epochs=1, hidden_size=4); print(history.attrs['engine'])"
    )
    environment = {"NUMBA_CACHE_DIR": str(locked / "none"), "HOME": "/proc/nowhere"}
    result = run_python(code, env=os.environ | environment)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "numba"


@pytest.mark.slow
def test_compiled_function_with_a_full_cache_disk(tmp_path):
    """The limit of the size of a file is an OSError when Numba writes its cache, as is a full disk."""
    pytest.importorskip("resource", reason="Windows has no limits for a process")
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "import numpy as np; from helpers.nn import compiled\n"
        "A = np.array([[-1.0, 2.0]]); compiled.add_bias_relu(A, np.zeros(2)); print(A)"
    )
    result = run_python(code, env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)})
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[[0. 2.]]"


@pytest.mark.slow
def test_import_of_nn_does_not_import_numba():
    result = run_python("import sys, helpers.nn; print('numba' in sys.modules)")
    assert result.stdout.strip() == "False", result.stderr
