"""Config: names, defaults, limits, and the hyperparameters of the update rules."""

import inspect

import numpy as np
import pytest

from helpers.experiment.config import OWN, RULES, Config, hyperparameters
from helpers.nn import loop
from helpers.nn.optimizers import OPTIMIZERS
from helpers.nn.optimizers import hyperparameters as of_rule


def test_config_defaults_are_those_of_the_loop():
    """Also the names: what the loop has and a Config lacks are the hooks and the engine."""
    loop_defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(loop.train).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in ("hooks", "engine")
    }
    assert {name: getattr(Config(), name) for name in loop_defaults} == loop_defaults


def test_config_names_and_values():
    config = Config(num_layers=2, hidden_size=[8, 4], optimizer="AdaDelta", activation="relu", patience=3)
    assert list(vars(config)) == list(hyperparameters())
    assert list(vars(config))[: len(OWN | RULES)] == [*OWN, *RULES]  # then those of rules that a reader has added
    assert (config.hidden_size, config.optimizer, config.activation) == ((8, 4), "adadelta", "ReLU")
    assert Config(**vars(config)) == config


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("learning_rate", "1e-4", 1e-4), ("epochs", " 5 ", 5), ("patience", "null", None), ("patience", "3", 3),
        ("hidden_size", "128,64, 32", (128, 64, 32)), ("hidden_size", "[64]", (64,)), ("hidden_size", [64], (64,)),
        ("loss", "MSE", "mean_squared_error"), ("loss", "CrossEntropy", "cross_entropy"),
        ("optimizer", "Nesterov", "nag"), ("weight_init", "glorot_uniform", "Xavier"),
        ("activation", "logistic", "sigmoid"), ("dropout", np.float32(0.5), 0.5),
    ],
)  # fmt: skip
def test_config_reads_what_people_write(name, text, value):
    config = Config(**{name: text})
    assert getattr(config, name) == value
    assert type(getattr(config, name)) is type(value)
    assert Config(hidden_size=[8, 4]).num_layers == Config(hidden_size="8,4").num_layers == 2
    assert Config(hidden_size=[8]).num_layers == Config(hidden_size="[8]").num_layers == 1
    assert Config(hidden_size=8).num_layers == Config(hidden_size="8").num_layers == 3
    assert Config(hidden_size=[8], num_layers=2).hidden_size == 8
    assert Config(**vars(Config(hidden_size=[8]))) == Config(hidden_size=[8])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_config_uses_defaults_of_update_rule(optimizer):
    config, defaults = Config(optimizer=optimizer.upper()), of_rule(OPTIMIZERS[optimizer])
    expected = dict.fromkeys(RULES) | defaults
    assert {name: getattr(config, name) for name in expected} == expected
    assert config.rule is OPTIMIZERS[optimizer]
    assert config.rule_options == defaults


def test_config_given_value_replaces_default_of_update_rule():
    assert Config(optimizer="sgd", learning_rate=0.3).learning_rate == 0.3
    assert Config(optimizer="sgd", learning_rate=None).learning_rate == 0.01
    assert Config(optimizer="adadelta", epsilon=1e-3).rule_options == {
        "learning_rate": 1.0, "beta": 0.9, "epsilon": 1e-3
    }  # fmt: skip
    assert Config(optimizer="adam", beta=0.5).beta == 0.5  # kept, though adam does not use it
    assert "beta" not in Config(optimizer="adam", beta=0.5).rule_options


def test_config_accepts_wide_network_for_few_inputs():
    """The limit is that of the whole network, with the inputs and classes of the data."""
    assert Config(num_layers=1, hidden_size=1_000_000).hidden_size == 1_000_000
    with pytest.raises(ValueError, match="100,000,002 parameters; at most 50,000,000 are allowed"):
        Config(num_layers=1, hidden_size=25_000_000)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs=0 .*at least 1"),
        ({"learning_rate": 0}, "learning_rate=0 .*above 0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"weight_decay": -1e-4}, "weight_decay=-0.0001 .*at least 0"),
        ({"dropout": 1}, "dropout=1 .*at least 0 and below 1"),
        ({"momentum": 1.0}, "momentum=1.0"),
        ({"beta2": 2}, "beta2=2"),
        ({"epsilon": 1e-50}, "epsilon=1e-50 must be a finite number, at least 1e-30"),
        ({"patience": 0}, "patience=0"),
        ({"num_layers": 1001}, "num_layers=1001 must be an integer, at least 1 and at most 1,000"),
        ({"hidden_size": [4, 4], "num_layers": 3}, r"hidden_size=\(4, 4\) must be one integer, or a list of 3"),
        ({"hidden_size": "big"}, "hidden_size='big' must be one or more integers, such as 128 or 512,256"),
        ({"epochs": "1_0"}, "epochs='1_0' must be an integer"),
        ({"learning_rate": "٣"}, "learning_rate='٣' must be a finite number"),
        ({"flip_probability": 1}, "flip_probability=1 .*below 1"),
        ({"receptive_field": 0.4}, "receptive_field=0.4 must be 0, or a finite number, at least 0.5"),
        ({"warmup": float("inf")}, "warmup=inf"),
        ({"schedule": "step"}, "schedule='step'.*constant, cosine"),
        ({"optimizer": "eve"}, "optimizer='eve'.*sgd, momentum, nag, rmsprop, adam, nadam, adagrad, adadelta"),
        ({"activation": None}, "activation=None.*identity, sigmoid, tanh, ReLU"),
        ({"loss": "l2"}, "loss='l2'.*cross_entropy, mean_squared_error"),
        ({"seed": -3}, "seed=-3"),
        (
            {"lr": 0.1, "qqq": 1, "epochs": 0, "beta": 5},
            r"(?s)4 problems:\n  - lr is an unknown .*; did you mean learning_rate\?\n  - qqq is .* the names are: "
            r"epochs.*\n  - epochs=0 .*\n  - beta=5",
        ),
    ],
)
def test_config_invalid_value_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Config(**values)


def test_config_prediction_arguments():
    neither = {"activation": "tanh", "flip_tta": False, "shift_tta": False}
    assert Config(activation="tanh").prediction == neither
    assert Config(activation="tanh", flip_probability=0.5).prediction == neither | {"flip_tta": True}
    assert Config(activation="tanh", max_shift=2).prediction == neither | {"shift_tta": True}


def test_describe_names_limits_and_defaults():
    known = hyperparameters()
    assert known["momentum"].describe("momentum").endswith("(at least 0 and below 1; default: 0.9 for momentum, nag)")
    assert known["epochs"].describe("epochs") == "passes over the training set (default: 10)"
    assert ": cross_entropy, mean_squared_error (default: cross_entropy)" in known["loss"].describe("loss")
