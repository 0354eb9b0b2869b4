"""Config: names, defaults and the defaults of the update rules."""

from dataclasses import asdict, fields

import pytest

from helpers.nn.config import HYPERPARAMETERS, Config, rule_defaults
from helpers.nn.optimizers import OPTIMIZERS, hyperparameters

OPTIMIZER_FIELDS = ["learning_rate", "momentum", "beta", "beta1", "beta2", "epsilon"]


def test_config_keeps_list_of_sizes_as_tuple():
    assert Config(num_layers=2, hidden_size=[8, 4]).hidden_size == (8, 4)
    assert Config(hidden_size=32).hidden_size == 32


def test_config_normalizes_case_of_names():
    config = Config(activation="RELU", optimizer="NAdam", weight_init="xavier", loss="Cross_Entropy")
    assert (config.activation, config.optimizer) == ("ReLU", "nadam")
    assert (config.weight_init, config.loss) == ("Xavier", "cross_entropy")


def test_config_from_dict_round_trip():
    config = Config(num_layers=2, hidden_size=[8, 4], optimizer="adadelta", patience=3)
    assert Config.from_dict(asdict(config)) == config


def test_config_from_dict_unknown_name_lists_known_ones():
    with pytest.raises(ValueError, match=r"lr is an unknown hyperparameter.*learning_rate"):
        Config.from_dict({"lr": 0.1})
    assert list(HYPERPARAMETERS) == [field.name for field in fields(Config)]


def test_config_adadelta_defaults():
    config = Config(optimizer="adadelta")
    assert (config.learning_rate, config.epsilon, config.beta) == (1.0, 1e-6, 0.9)
    assert (config.beta1, config.beta2, config.momentum) == (None, None, None)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_config_uses_defaults_of_update_rule(optimizer):
    config, defaults = Config(optimizer=optimizer.upper()), hyperparameters(OPTIMIZERS[optimizer])
    assert {name: getattr(config, name) for name in OPTIMIZER_FIELDS} == dict.fromkeys(OPTIMIZER_FIELDS) | defaults


def test_config_explicit_value_overrides_default_of_update_rule():
    assert Config(optimizer="sgd").learning_rate == 0.01
    assert Config(optimizer="sgd", learning_rate=0.3).learning_rate == 0.3
    config = Config(optimizer="adadelta", epsilon=1e-3)
    assert (config.epsilon, config.learning_rate) == (1e-3, 1.0)
    assert Config(optimizer="adam", beta=0.5).beta == 0.5  # kept, though adam does not use it


def test_config_explicit_none_takes_default_of_update_rule():
    assert Config(optimizer="sgd", learning_rate=None).learning_rate == 0.01


def test_rule_defaults_lists_rules_with_hyperparameter():
    assert rule_defaults("momentum") == {"momentum": 0.9, "nag": 0.9}
    assert rule_defaults("beta1").items() >= {"adam": 0.9, "nadam": 0.9}.items()
    assert list(rule_defaults("learning_rate")) == list(OPTIMIZERS)
    assert rule_defaults("dropout") == {}


def test_config_epsilon_that_float32_cannot_represent():
    with pytest.raises(ValueError, match="epsilon=1e-50 must be a finite number, at least 1e-30"):
        Config(epsilon=1e-50)


def test_config_prediction_arguments():
    neither = {"activation": "tanh", "flip_tta": False, "shift_tta": False}
    assert Config(activation="tanh").prediction == neither
    assert Config(activation="tanh", flip_probability=0.5).prediction == neither | {"flip_tta": True}
    assert Config(activation="tanh", max_shift=2).prediction == neither | {"shift_tta": True}
