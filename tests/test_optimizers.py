"""The optimizers, all driven by one table: against the papers' equations, an independent library and each other."""

import inspect
import re
import tracemalloc
from pathlib import Path

import numpy as np
import optax
import pytest
from jax import config

from helpers import optimizers
from helpers.optimizers import OPTIMIZERS, hyperparameters, memory
from helpers.training import model_train
from tests import textbook

config.update("jax_enable_x64", True)

# rule: (hyper-parameters unlike the defaults, the same rule in optax). textbook.py has the papers' form of most.
TABLE = {
    "sgd": ({"learning_rate": 0.05}, lambda h: optax.sgd(h["learning_rate"])),
    "momentum": (
        {"learning_rate": 0.02, "momentum": 0.8},
        lambda h: optax.sgd(h["learning_rate"], momentum=h["momentum"]),
    ),
    "nag": (
        {"learning_rate": 0.02, "momentum": 0.8},
        lambda h: optax.sgd(h["learning_rate"], momentum=h["momentum"], nesterov=True),
    ),
    "rmsprop": (
        {"learning_rate": 0.01, "beta": 0.8, "epsilon": 1e-3},
        lambda h: optax.rmsprop(h["learning_rate"], decay=h["beta"], eps=h["epsilon"], eps_in_sqrt=False),
    ),
    "adagrad": (
        {"learning_rate": 0.5, "epsilon": 1e-12},  # optax has ε inside the root, the paper outside
        lambda h: optax.adagrad(h["learning_rate"], initial_accumulator_value=0, eps=h["epsilon"]),
    ),
    "adadelta": (
        {"learning_rate": 0.7, "beta": 0.8, "epsilon": 1e-3},
        lambda h: optax.adadelta(h["learning_rate"], rho=h["beta"], eps=h["epsilon"]),
    ),
    "adam": (
        {"learning_rate": 0.03, "beta1": 0.7, "beta2": 0.95, "epsilon": 1e-3},
        lambda h: optax.adam(h["learning_rate"], b1=h["beta1"], b2=h["beta2"], eps=h["epsilon"]),
    ),
    "nadam": (
        {"learning_rate": 0.03, "beta1": 0.7, "beta2": 0.95, "epsilon": 1e-3},
        lambda h: optax.nadam(h["learning_rate"], b1=h["beta1"], b2=h["beta2"], eps=h["epsilon"]),
    ),
}
ROWS = [(OPTIMIZERS[name], settings, peer) for name, (settings, peer) in TABLE.items()]
every_rule = pytest.mark.parametrize(("rule", "settings", "peer"), ROWS, ids=TABLE)

FIRST = np.random.default_rng(0).normal(size=12)
CURVATURE = np.linspace(0.1, 5, 12)


def gradient(w):
    """Of a bowl that is steep one way and flat another, with a ripple."""
    return CURVATURE * w + 0.3 * np.cos(3 * w)


def run(rule, steps, dtype=np.float64, **settings):
    theta = FIRST.astype(dtype)
    state = memory(rule, theta)
    for t in range(1, steps + 1):
        rule(theta, gradient(theta).astype(dtype), t, *state, **settings)
    return theta


def test_the_table_has_every_rule():
    assert list(TABLE) == list(OPTIMIZERS)
    assert {"sgd", "momentum", "nag", "rmsprop", "adam", "nadam"} <= {name for name in TABLE if hasattr(textbook, name)}


@pytest.mark.parametrize("rule", [rule for rule in OPTIMIZERS.values() if hasattr(textbook, rule.__name__)])
def test_fifty_steps_equal_the_textbook(rule):
    settings, _ = TABLE[rule.__name__]
    expected = getattr(textbook, rule.__name__)(FIRST, gradient, 50, **settings)
    assert abs(expected - FIRST).max() > 0.1
    np.testing.assert_allclose(run(rule, 50, **settings), expected, rtol=0, atol=1e-12)


@every_rule
def test_fifty_steps_equal_an_independent_library(rule, settings, peer):
    optimizer = peer(settings)
    theta = FIRST
    state = optimizer.init(theta)
    for _ in range(50):
        updates, state = optimizer.update(gradient(theta), state, theta)
        theta = theta + np.asarray(updates)
    np.testing.assert_allclose(run(rule, 50, **settings), theta, rtol=0, atol=1e-12)


@every_rule
def test_the_minimum_of_a_bowl_is_reached(rule, settings, peer):
    theta, state = FIRST.copy(), memory(rule, FIRST)
    for t in range(1, 2001):
        first = 1.0 if rule.__name__ in ("adagrad", "adadelta") else 0.02  # those two shrink their steps themselves
        rate = first / (1 + t / 100)
        rule(theta, (0.5 + CURVATURE) * theta, t, *state, **(settings | {"learning_rate": rate}))
    assert abs(theta).max() < 0.02


@every_rule
def test_the_dtype_stays_and_the_gradient_is_left_alone(rule, settings, peer):
    theta, g = FIRST.astype(np.float32), np.ones(12, np.float32)
    state = memory(rule, theta)
    assert rule(theta, g, 1, *state, **settings) is None
    assert theta.dtype == np.float32
    assert all(vector.dtype == np.float32 and vector.shape == theta.shape for vector in state)
    np.testing.assert_array_equal(g, 1)
    np.testing.assert_allclose(run(rule, 10, np.float32, **settings), run(rule, 10, **settings), atol=1e-5)


@every_rule
def test_no_gradient_no_step(rule, settings, peer):
    theta = FIRST.copy()
    rule(theta, np.zeros(12), 1, *memory(rule, theta), **settings)
    np.testing.assert_array_equal(theta, FIRST)


@every_rule
def test_hyperparameters_have_defaults_and_a_misspelt_one_is_an_error(rule, settings, peer):
    assert set(hyperparameters(rule)) == set(settings)
    with pytest.raises(TypeError, match="learning_rat"):
        rule(FIRST.copy(), FIRST, 1, *memory(rule, FIRST), learning_rat=0.1)
    assert inspect.getdoc(rule).count("←") >= 1


RELATIONS = {
    "momentum with β = 0 is sgd": (("momentum", {"momentum": 0}), ("sgd", {})),
    "nag with β = 0 is sgd": (("nag", {"momentum": 0}), ("sgd", {})),
    "nadam with β₁ = 0 is adam with β₁ = 0": (
        ("nadam", {"beta1": 0, "beta2": 0.9}),
        ("adam", {"beta1": 0, "beta2": 0.9}),
    ),
    "rmsprop with β = 0 is adam with β₁ = β₂ = 0": (("rmsprop", {"beta": 0}), ("adam", {"beta1": 0, "beta2": 0})),
}


@pytest.mark.parametrize("relation", RELATIONS)
def test_one_rule_is_another_in_a_special_case(relation):
    (name, settings), (other, other_settings) = RELATIONS[relation]
    a = run(OPTIMIZERS[name], 30, learning_rate=0.01, **settings)
    b = run(OPTIMIZERS[other], 30, learning_rate=0.01, **other_settings)
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def test_the_defaults_are_those_of_the_papers_or_of_keras():
    rate = {"learning_rate": 0.01}
    by_size = {"learning_rate": 0.001, "epsilon": 1e-8}
    defaults = {
        "sgd": rate, "momentum": rate | {"momentum": 0.9}, "nag": rate | {"momentum": 0.9},
        "rmsprop": by_size | {"beta": 0.9}, "adagrad": rate | {"epsilon": 1e-8},
        "adadelta": {"learning_rate": 1, "beta": 0.9, "epsilon": 1e-6},
        "adam": by_size | {"beta1": 0.9, "beta2": 0.999}, "nadam": by_size | {"beta1": 0.9, "beta2": 0.999},
    }  # fmt: skip
    assert {name: hyperparameters(OPTIMIZERS[name]) for name in defaults} == defaults


@every_rule
def test_a_step_allocates_no_vector(rule, settings, peer):
    theta = np.ones(100_000)
    g, state = np.ones_like(theta), memory(rule, theta)
    tracemalloc.start()
    rule(theta, g, 1, *state, **settings)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < theta.nbytes / 2


def test_a_rule_keeps_its_name():
    assert all(getattr(optimizers, name) is rule for name, rule in OPTIMIZERS.items())


def test_the_cosine_goes_from_one_to_zero():
    cosine = optimizers.SCHEDULES["cosine"]
    assert [cosine(p) for p in (0, 1 / 3, 1 / 2, 1)] == pytest.approx([1, 3 / 4, 1 / 2, 0])


def test_rmsprop_with_bias_correction_is_adam_without_a_mean():
    """η√(1−βᵗ) and ε√(1−βᵗ) at step t put adam's correction into rmsprop."""
    theta, state, beta = FIRST.copy(), memory(OPTIMIZERS["rmsprop"], FIRST), 0.9
    for t in range(1, 31):
        c = np.sqrt(1 - beta**t)
        OPTIMIZERS["rmsprop"](theta, gradient(theta), t, *state, learning_rate=0.01 * c, beta=beta, epsilon=1e-6 * c)
    expected = run(OPTIMIZERS["adam"], 30, learning_rate=0.01, beta1=0, beta2=beta, epsilon=1e-6)
    np.testing.assert_allclose(theta, expected, rtol=0, atol=1e-12)


def test_the_new_rule_of_the_readme_works(data):
    """The README's Lion, as printed: the function, its row of this table, and under 15 lines in all."""
    readme = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
    function, row = re.findall(r"```python\n(.*?)```", readme[readme.index("## Add an optimizer") :], re.DOTALL)[:2]
    assert len((function + row).splitlines()) + 1 < 15
    names = vars(optimizers).copy()
    try:
        exec(function, names)
        rule, (settings, peer) = OPTIMIZERS["lion"], eval("{" + row + "}")["lion"]
        test_fifty_steps_equal_an_independent_library(rule, settings, peer)
        test_a_step_allocates_no_vector(rule, settings, peer)
        _, history = model_train(data, epochs=20, optimizer="Lion", learning_rate=0.003)
    finally:
        OPTIMIZERS.pop("lion", None)
    assert history["val_accuracy"].max() > 0.95


def test_a_rule_may_have_settings_of_its_own_or_none(data):
    """Settings that Config does not list keep the rule's defaults."""

    def own(theta, g, t, *, learning_rate=0.01, rho=0.5):
        theta -= rho * learning_rate * g

    def none(theta, g, t):
        theta -= 0.01 * g

    for rule in (own, none):
        try:
            optimizers.optimizer(rule)
            _, history = model_train(data, epochs=2, optimizer=rule.__name__)
            assert history["train_loss"].iloc[1] < history["train_loss"].iloc[0]
        finally:
            OPTIMIZERS.pop(rule.__name__, None)
