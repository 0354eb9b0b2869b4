"""The optimizers against the papers' equations, an independent library and each other; new rules."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from helpers import train
from helpers.experiment.config import OWN, Config
from helpers.experiment.run import TrainingDiverged, model_train
from helpers.nn import optimizers
from helpers.nn.optimizers import OPTIMIZERS, RESERVED, hyperparameters, init_state, optimizer
from tests.support import textbook

# rule: (hyperparameters that are not the defaults, the same rule in optax); textbook.py has the papers' form
TABLE = {
    "sgd": ({"learning_rate": 0.05}, lambda optax, h: optax.sgd(h["learning_rate"])),
    "momentum": (
        {"learning_rate": 0.02, "momentum": 0.8},
        lambda optax, h: optax.sgd(h["learning_rate"], momentum=h["momentum"]),
    ),
    "nag": (
        {"learning_rate": 0.02, "momentum": 0.8},
        lambda optax, h: optax.sgd(h["learning_rate"], momentum=h["momentum"], nesterov=True),
    ),
    "rmsprop": (
        {"learning_rate": 0.01, "beta": 0.8, "epsilon": 1e-3},
        lambda optax, h: optax.rmsprop(h["learning_rate"], decay=h["beta"], eps=h["epsilon"], eps_in_sqrt=False),
    ),
    "adagrad": (
        {"learning_rate": 0.5, "epsilon": 1e-12},  # optax has ε inside the root, the paper outside
        lambda optax, h: optax.adagrad(h["learning_rate"], initial_accumulator_value=0, eps=h["epsilon"]),
    ),
    "adadelta": (
        {"learning_rate": 0.7, "beta": 0.8, "epsilon": 1e-3},
        lambda optax, h: optax.adadelta(h["learning_rate"], rho=h["beta"], eps=h["epsilon"]),
    ),
    "adam": (
        {"learning_rate": 0.03, "beta1": 0.7, "beta2": 0.95, "epsilon": 1e-3},
        lambda optax, h: optax.adam(h["learning_rate"], b1=h["beta1"], b2=h["beta2"], eps=h["epsilon"]),
    ),
    "nadam": (
        {"learning_rate": 0.03, "beta1": 0.7, "beta2": 0.95, "epsilon": 1e-3},
        lambda optax, h: optax.nadam(h["learning_rate"], b1=h["beta1"], b2=h["beta2"], eps=h["epsilon"]),
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


@pytest.mark.parametrize("rule", [rule for rule in OPTIMIZERS.values() if hasattr(textbook, rule.__name__)])
def test_optimizer_matches_textbook(rule):
    values, _ = TABLE[rule.__name__]
    expected = getattr(textbook, rule.__name__)(INITIAL, gradient, 50, **values)
    assert abs(expected - INITIAL).max() > 0.1
    np.testing.assert_allclose(run(rule, 50, **values), expected, rtol=0, atol=1e-12)


@pytest.mark.slow
@every_rule
def test_optimizer_matches_optax(rule, values, reference, optax):
    check_against(reference(optax, values), rule, values)


def check_against(transformation, rule, values):
    """Compare 50 steps of a rule with those of optax."""
    theta = INITIAL
    state = transformation.init(theta)
    for _ in range(50):
        updates, state = transformation.update(gradient(theta), state, theta)
        theta = theta + np.asarray(updates)
    np.testing.assert_allclose(run(rule, 50, **values), theta, rtol=0, atol=1e-12)


@every_rule
def test_optimizer_keeps_dtype_and_gradient(rule, values, reference):
    theta, g = INITIAL.astype(np.float32), np.ones(12, np.float32)
    state = init_state(rule, theta)
    assert rule(theta, g, 1, *state, **values) is None
    assert theta.dtype == np.float32
    assert all(vector.dtype == np.float32 and vector.shape == theta.shape for vector in state)
    np.testing.assert_array_equal(g, 1)
    np.testing.assert_allclose(run(rule, 10, np.float32, **values), run(rule, 10, **values), atol=1e-5)


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
    assert {name: hyperparameters(OPTIMIZERS[name]) for name in TABLE} == defaults  # a reader may have added others
    assert OPTIMIZERS["Adam"] is optimizers.adam
    assert "Adam" in OPTIMIZERS


@pytest.fixture
def new_rules():
    """Restore the registry after a test that adds an optimizer."""
    before = dict(OPTIMIZERS)
    yield
    OPTIMIZERS.clear()
    OPTIMIZERS.update(before)


@pytest.fixture
def readme_rules(new_rules, data):
    """Run the README's code that adds Lion, and AdamW with a hyperparameter of its own; return its variables."""
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    variables = {"data": data}
    code = next(code for code in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "@optimizer" in code)
    exec(code, variables)
    return variables


def test_optimizers_of_the_readme_learn(readme_rules, data):
    assert readme_rules["history"].attrs["config"]["decay"] == 0.1
    for name in ("Lion", "AdamW"):
        _, history = model_train(data, epochs=20, optimizer=name, learning_rate=0.003)
        assert history["val_accuracy"].max() > 0.95
    with pytest.raises(ValueError, match="decay='x' must be a finite number"):
        model_train(data, optimizer="adamw", decay="x")


@pytest.mark.slow
@pytest.mark.usefixtures("readme_rules")
@pytest.mark.parametrize(("name", "own"), [("lion", {}), ("adamw", {"decay": 0.2})])
def test_optimizers_of_the_readme_match_optax(name, own, optax):
    expected = getattr(optax, name)(0.01, b1=0.8, b2=0.9, weight_decay=own.get("decay", 0))
    check_against(expected, OPTIMIZERS[name], {"learning_rate": 0.01, "beta1": 0.8, "beta2": 0.9} | own)


def eve(
    theta, g, t, m, v, d, f, *, loss, learning_rate=0.001, beta1=0.9, beta2=0.999, beta3=0.999, c=10.0, epsilon=1e-8
):
    """Koushik & Hayashi 2016: Adam's step, divided by a moving average d of the relative change of the loss"""
    m *= beta1
    m += (1 - beta1) * g
    v *= beta2
    v += (1 - beta2) * g**2
    change = np.clip(np.abs(loss - f) / np.maximum(np.minimum(loss, f), 1e-30), 1 / c, c)
    d[:] = beta3 * d + (1 - beta3) * change if t > 1 else 1
    f[:] = loss
    theta -= learning_rate * m / (1 - beta1**t) / (d * (np.sqrt(v / (1 - beta2**t)) + epsilon))


@pytest.mark.usefixtures("new_rules")
def test_new_optimizer_with_loss_and_own_hyperparameters(data):
    """They have the rule's defaults, can be given, and are checked."""
    optimizer(eve)
    params, history = model_train(data, epochs=20, optimizer="Eve", learning_rate=0.01)
    assert history["val_accuracy"].max() > 0.95
    config = history.attrs["config"]
    assert (config["beta3"], config["c"], config["loss"], config["momentum"]) == (0.999, 10.0, "cross_entropy", None)
    other, history = model_train(data, epochs=20, optimizer="eve", learning_rate=0.01, beta3=0.5, c=3)
    assert (history.attrs["config"]["beta3"], history.attrs["config"]["c"]) == (0.5, 3.0)
    assert (params.theta != other.theta).any()
    for value in ("x", np.nan, True):
        with pytest.raises(ValueError, match=f"c={value!r} must be a finite number"):
            model_train(data, optimizer="eve", c=value)
    assert Config(optimizer="adam").c is None


@pytest.mark.usefixtures("new_rules")
@pytest.mark.parametrize("engine", ["numpy", "auto"])
def test_new_optimizer_with_unusual_names(data, engine):
    """Those of parameters and variables of the functions on the way, among them."""

    @optimizer
    def unusual(theta, g, t, i, v_g, *, function=0.02, self=1.0, state=1.0, s0=1.0, c1=1.0, X=1.0, options=1.0, nest=1):
        theta -= function * s0 * c1 * self * state * X * options * nest * g
        i += g
        v_g += i

    values = {"epochs": 2, "hidden_size": 8, "engine": engine}
    ours, _ = model_train(data, **values, optimizer="unusual", s0=2.0, self=0.5)
    expected, _ = model_train(data, **values, optimizer="sgd", learning_rate=0.02)
    np.testing.assert_allclose(ours.theta, expected.theta, rtol=1e-12)


@pytest.mark.usefixtures("new_rules")
def test_new_optimizer_without_learning_rate_can_diverge(data):
    @optimizer
    def explode(theta, g, t):
        theta *= -1e300

    with pytest.raises(TrainingDiverged, match="epoch 1") as caught:
        model_train(data, epochs=2, optimizer="explode", decoupled_weight_decay=0.1)
    assert caught.value.learning_rate is None


@pytest.mark.usefixtures("new_rules")
@pytest.mark.parametrize(
    ("parameters", "message"),
    [(f"theta, g, t, *, rate=0.1, {name}=0.1", f"{name} already has another meaning") for name in RESERVED]
    + [
        (parameters, r"must have the form rule\(theta, g, t, v, \*, learning_rate=0.1\)")
        for parameters in (
            "theta, g, t, *, loss=0.1", "theta, g, t, *, rate", "theta, g, m", "theta, g, t, m, rate=0.1",
            "theta, g, t, *state", "theta, g, t, **hyperparameters",
        )
    ],
)  # fmt: skip
def test_rule_of_another_form_refused_when_registered(parameters, message):
    namespace = {}
    exec(f"def mine({parameters}): pass", namespace)
    with pytest.raises(ValueError, match=f"mine:? {message}"):
        optimizer(namespace["mine"])
    assert "mine" not in OPTIMIZERS


def test_reserved_names_are_those_of_all_options():
    """A new hyperparameter, argument of model_train or flag of the command must be added to RESERVED."""
    own = {*OWN} - {"loss"}  # which a rule may receive
    names_of_rules = {name for rule in OPTIMIZERS.values() for name in hyperparameters(rule)}
    arguments = {*inspect.signature(model_train).parameters} - {"hyperparameters"}
    flags = {*vars(train.build_parser().parse_args([]))} - {"loss", *names_of_rules}
    attributes = {name for name, member in vars(Config).items() if isinstance(member, property)}
    others = {"config", "help", "hooks", "name"}
    assert len(RESERVED) == len({*RESERVED})
    assert {*RESERVED} == own | arguments | flags | attributes | others
