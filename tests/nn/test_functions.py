"""Activations and losses: values, derivatives, and finite results for every finite input; lookup by name."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from helpers.nn.functions import ACTIVATIONS, LOSSES, Registry, softmax

logits = arrays(np.float64, st.tuples(st.integers(1, 6), st.just(10)), elements=st.floats(-1e4, 1e4))

VALUES = {  # f(-1), f(0), f(2)
    "identity": [-1, 0, 2],
    "sigmoid": [0.26894142137, 0.5, 0.88079707798],
    "tanh": [-0.76159415596, 0, 0.96402758008],
    "ReLU": [0, 0, 2],
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_values(name):
    f, _ = ACTIVATIONS[name]
    np.testing.assert_allclose(f(np.array([[-1.0, 0.0, 2.0]])), [VALUES[name]], atol=1e-10)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_derivative_matches_central_differences(name):
    f, d_f = ACTIVATIONS[name]
    A = np.array([[-3.0, -0.7, -0.1, 0.2, 1.0, 4.0]])
    step = 1e-6
    slope = (f(A + step) - f(A - step)) / (2 * step)
    np.testing.assert_allclose(d_f(f(A)), slope, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("which", [0, 1])
def test_activation_input_unchanged(name, which):
    """The result is a new array, also that of the identity."""
    function = ACTIVATIONS[name][which]
    A = np.linspace(-0.9, 0.9, 12).reshape(3, 4)
    before = A.copy()
    result = function(A)
    np.testing.assert_array_equal(A, before)
    assert not np.shares_memory(result, A)


@given(logits, st.floats(-1e4, 1e4))
def test_softmax_rows_sum_to_one_and_are_shift_invariant(A, shift):
    Y_hat = softmax(A)
    np.testing.assert_allclose(Y_hat.sum(axis=1), 1, rtol=1e-12)
    assert (Y_hat >= 0).all()
    np.testing.assert_allclose(softmax(A + shift), Y_hat, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", LOSSES)
@given(logits)
def test_loss_and_gradient_finite_for_huge_logits(loss, dtype, A):
    value, derivative = LOSSES[loss]
    Y = np.eye(10, dtype=dtype)[np.arange(len(A)) % 10]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Y_hat = softmax(A.astype(dtype))
        assert np.isfinite(value(Y_hat, Y))
        gradient = derivative(Y_hat, Y)
    assert np.isfinite(gradient).all()
    assert gradient.dtype == dtype


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_derivative_matches_central_differences(loss):
    """With respect to the logits."""
    value, derivative = LOSSES[loss]
    rng = np.random.default_rng(0)
    A, Y = rng.normal(size=(4, 10)), np.eye(10)[[3, 1, 4, 1]]
    numeric = np.empty_like(A)
    for place in np.ndindex(*A.shape):
        up, down = A.copy(), A.copy()
        up[place] += 1e-5
        down[place] -= 1e-5
        numeric[place] = (value(softmax(up), Y) - value(softmax(down), Y)) / 2e-5
    np.testing.assert_allclose(derivative(softmax(A), Y), numeric, rtol=1e-7, atol=1e-11)


def test_registry_lookup_ignores_case():
    registry = Registry("optimizer", adam=1, ReLU=2)
    for name, value in (("adam", 1), ("Adam", 1), ("relu", 2)):
        assert registry[name] == value
        assert name in registry
    assert list(registry) == ["adam", "ReLU"]  # a lookup adds no entry
    registry["Adam"] = 3  # an exact name comes first
    assert (registry["Adam"], registry["adam"], registry["ADAM"]) == (3, 1, 1)


@pytest.mark.parametrize("name", ["eve", None, 3, "", b"adam", ["adam"], {}])
def test_registry_unknown_name_lists_choices(name):
    registry = Registry("optimizer", adam=1, sgd=2)
    assert name not in registry
    with pytest.raises(ValueError, match=r"optimizer=.* is unknown; choose one of: adam, sgd$"):
        registry[name]
