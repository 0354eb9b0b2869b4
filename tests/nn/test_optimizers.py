"""The optimizers against the papers' equations, an independent library and each other, all from one table."""

import inspect
import re
from pathlib import Path

import numpy as np
import optax
import pytest
from jax import config

from helpers.nn import optimizers
from helpers.nn.optimizers import OPTIMIZERS, hyperparameters, init_state, state_names
from helpers.nn.training import TrainingDiverged, model_train
from tests.support import textbook

config.update("jax_enable_x64", True)

# rule: (hyperparameters that are not the defaults, the same rule in optax); textbook.py has the papers' form
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
ROWS = [(OPTIMIZERS[name], values, reference) for name, (values, reference) in TABLE.items()]
every_rule = pytest.mark.parametrize(("rule", "values", "reference"), ROWS, ids=TABLE)

INITIAL = np.random.default_rng(0).normal(size=12)
CURVATURE = np.linspace(0.1, 5, 12)


def gradient(w):
    """Return the gradient of a bowl of different curvatures, plus a ripple."""
    return CURVATURE * w + 0.3 * np.cos(3 * w)


def run(rule, steps, dtype=np.float64, **values):
    theta = INITIAL.astype(dtype)
    state = init_state(rule, theta)
    for t in range(1, steps + 1):
        rule(theta, gradient(theta).astype(dtype), t, *state, **values)
    return theta


def test_table_has_every_optimizer():
    assert list(TABLE) == list(OPTIMIZERS)
    assert {"sgd", "momentum", "nag", "rmsprop", "adagrad", "adadelta", "adam", "nadam"} <= vars(textbook).keys()


@pytest.mark.parametrize("rule", [rule for rule in OPTIMIZERS.values() if hasattr(textbook, rule.__name__)])
def test_optimizer_matches_textbook(rule):
    values, _ = TABLE[rule.__name__]
    expected = getattr(textbook, rule.__name__)(INITIAL, gradient, 50, **values)
    assert abs(expected - INITIAL).max() > 0.1
    np.testing.assert_allclose(run(rule, 50, **values), expected, rtol=0, atol=1e-12)


@every_rule
def test_optimizer_matches_optax(rule, values, reference):
    optimizer = reference(values)
    theta = INITIAL
    state = optimizer.init(theta)
    for _ in range(50):
        updates, state = optimizer.update(gradient(theta), state, theta)
        theta = theta + np.asarray(updates)
    np.testing.assert_allclose(run(rule, 50, **values), theta, rtol=0, atol=1e-12)


@every_rule
def test_optimizer_reaches_minimum(rule, values, reference):
    theta, state = INITIAL.copy(), init_state(rule, INITIAL)
    initial_rate = 1.0 if rule.__name__ in ("adagrad", "adadelta") else 0.02  # these two reduce their steps themselves
    for t in range(1, 2001):
        rate = initial_rate / (1 + t / 100)
        rule(theta, (0.5 + CURVATURE) * theta, t, *state, **(values | {"learning_rate": rate}))
    assert abs(theta).max() < 0.02


@every_rule
def test_optimizer_keeps_dtype_and_gradient(rule, values, reference):
    theta, g = INITIAL.astype(np.float32), np.ones(12, np.float32)
    state = init_state(rule, theta)
    assert rule(theta, g, 1, *state, **values) is None
    assert theta.dtype == np.float32
    assert all(vector.dtype == np.float32 and vector.shape == theta.shape for vector in state)
    np.testing.assert_array_equal(g, 1)
    np.testing.assert_allclose(run(rule, 10, np.float32, **values), run(rule, 10, **values), atol=1e-5)


@every_rule
def test_optimizer_zero_gradient_no_step(rule, values, reference):
    theta = INITIAL.copy()
    rule(theta, np.zeros(12), 1, *init_state(rule, theta), **values)
    np.testing.assert_array_equal(theta, INITIAL)


@every_rule
def test_optimizer_hyperparameters_have_defaults(rule, values, reference):
    assert set(hyperparameters(rule)) == set(values)
    assert inspect.getdoc(rule).count("←") >= 1


@every_rule
def test_optimizer_misspelt_hyperparameter_refused(rule, values, reference):
    with pytest.raises(TypeError, match="learning_rat"):
        rule(INITIAL.copy(), INITIAL, 1, *init_state(rule, INITIAL), learning_rat=0.1)


def test_state_names_of_each_optimizer():
    """A checkpoint stores the state under these names."""
    names = {
        "sgd": [], "momentum": ["u"], "nag": ["u"], "rmsprop": ["v"], "adagrad": ["v"], "adadelta": ["v", "w"],
        "adam": ["m", "v"], "nadam": ["m", "v"],
    }  # fmt: skip
    assert {name: state_names(OPTIMIZERS[name]) for name in names} == names


EQUIVALENT = {
    "momentum with β = 0 and sgd": (("momentum", {"momentum": 0}), ("sgd", {})),
    "nag with β = 0 and sgd": (("nag", {"momentum": 0}), ("sgd", {})),
    "nadam and adam with β₁ = 0": (("nadam", {"beta1": 0, "beta2": 0.9}), ("adam", {"beta1": 0, "beta2": 0.9})),
    "rmsprop with β = 0 and adam with β₁ = β₂ = 0": (("rmsprop", {"beta": 0}), ("adam", {"beta1": 0, "beta2": 0})),
}


@pytest.mark.parametrize("pair", EQUIVALENT)
def test_optimizer_special_case_equals_other_optimizer(pair):
    (name, values), (other, other_values) = EQUIVALENT[pair]
    a = run(OPTIMIZERS[name], 30, learning_rate=0.01, **values)
    b = run(OPTIMIZERS[other], 30, learning_rate=0.01, **other_values)
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def test_optimizer_defaults():
    """The defaults are those of the papers, or of Keras."""
    rate = {"learning_rate": 0.01}
    adaptive = {"learning_rate": 0.001, "epsilon": 1e-8}
    defaults = {
        "sgd": rate, "momentum": rate | {"momentum": 0.9}, "nag": rate | {"momentum": 0.9},
        "rmsprop": adaptive | {"beta": 0.9}, "adagrad": rate | {"epsilon": 1e-8},
        "adadelta": {"learning_rate": 1, "beta": 0.9, "epsilon": 1e-6},
        "adam": adaptive | {"beta1": 0.9, "beta2": 0.999}, "nadam": adaptive | {"beta1": 0.9, "beta2": 0.999},
    }  # fmt: skip
    assert {name: hyperparameters(OPTIMIZERS[name]) for name in defaults} == defaults


def test_optimizers_registered_under_function_name():
    assert all(getattr(optimizers, name) is rule for name, rule in OPTIMIZERS.items())


def test_optimizers_lookup_ignores_case_and_lists_choices():
    assert OPTIMIZERS["NAdam"] is optimizers.nadam
    with pytest.raises(
        ValueError, match=r"optimizer='eve'.*sgd, momentum, nag, rmsprop, adagrad, adadelta, adam, nadam"
    ):
        OPTIMIZERS["eve"]


def test_cosine_schedule_values():
    cosine = optimizers.SCHEDULES["cosine"]
    assert [cosine(p) for p in (0, 1 / 3, 1 / 2, 1)] == pytest.approx([1, 3 / 4, 1 / 2, 0])


def test_rmsprop_with_bias_correction_equals_adam_without_momentum():
    """The factor √(1−βᵗ) on η and on ε in step t adds Adam's bias correction to RMSprop."""
    theta, state, beta = INITIAL.copy(), init_state(OPTIMIZERS["rmsprop"], INITIAL), 0.9
    for t in range(1, 31):
        c = np.sqrt(1 - beta**t)
        OPTIMIZERS["rmsprop"](theta, gradient(theta), t, *state, learning_rate=0.01 * c, beta=beta, epsilon=1e-6 * c)
    expected = run(OPTIMIZERS["adam"], 30, learning_rate=0.01, beta1=0, beta2=beta, epsilon=1e-6)
    np.testing.assert_allclose(theta, expected, rtol=0, atol=1e-12)


@pytest.fixture
def restore_optimizers():
    """Restore the registry after a test that adds an optimizer."""
    before = dict(OPTIMIZERS)
    yield
    OPTIMIZERS.clear()
    OPTIMIZERS.update(before)


@pytest.mark.usefixtures("restore_optimizers")
def test_readme_optimizer_matches_optax_and_learns(data):
    """The example of the README, Lion: the function and its row of TABLE, as printed, in fewer than 15 lines."""
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    function, row = (next(block for block in blocks if word in block) for word in ("@optimizer", "optax.lion"))
    assert len((function + row).splitlines()) + 1 < 15
    exec(function, vars(optimizers).copy())
    values, reference = eval("{" + row + "}")["lion"]
    test_optimizer_matches_optax(OPTIMIZERS["lion"], values, reference)
    _, history = model_train(data, epochs=20, optimizer="Lion", learning_rate=0.003)
    assert history["val_accuracy"].max() > 0.95


def own_hyperparameter(theta, g, t, *, learning_rate=0.01, rho=0.5):
    theta -= rho * learning_rate * g


def no_hyperparameters(theta, g, t):
    theta -= 0.01 * g


@pytest.mark.usefixtures("restore_optimizers")
@pytest.mark.parametrize("rule", [own_hyperparameter, no_hyperparameters])
def test_new_optimizer_with_hyperparameters_unknown_to_config(data, rule):
    """A hyperparameter that is not in Config keeps the rule's default; a rule may have none at all."""
    optimizers.optimizer(rule)
    _, history = model_train(data, epochs=2, optimizer=rule.__name__)
    assert history["train_loss"].iloc[1] < history["train_loss"].iloc[0]


@pytest.mark.usefixtures("restore_optimizers")
def test_new_optimizer_without_learning_rate_can_diverge(data):
    @optimizers.optimizer
    def explode(theta, g, t):
        theta *= -1e300

    with pytest.raises(TrainingDiverged, match="epoch 1") as caught:
        model_train(data, epochs=2, optimizer="explode", decoupled_weight_decay=0.1)
    assert caught.value.learning_rate is None
