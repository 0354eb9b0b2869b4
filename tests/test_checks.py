"""Checks: what passes, and what the messages say."""

import numpy as np
import pytest

from helpers import checks
from helpers.config import Config


def test_what_fits_passes():
    assert checks.choice("x", "ADAM", ["adam"]) == "adam"
    assert checks.whole("x", np.int64(3)) == 3
    assert checks.number("x", np.float32(0.5), above=0, below=1) == 0.5
    assert checks.number("x", 2) == 2.0


@pytest.mark.parametrize(
    ("limits", "value", "words"),
    [
        ({"above": 0}, 0, "x=0 must be a finite number above 0$"),
        ({"least": 0, "below": 1}, 1, "x=1 must be a finite number at least 0 and below 1$"),
        ({"least": 0}, True, "x=True"),
        ({}, "1", "x='1' must be a finite number$"),
        ({}, None, "x=None"),
        ({}, 1j, "x=1j"),
        ({}, float("-inf"), "x=-inf"),
        ({}, 10**400, "x=1000.* must be a finite number"),
    ],
)
def test_numbers_out_of_their_limits_are_named(limits, value, words):
    with pytest.raises(ValueError, match=words):
        checks.number("x", value, **limits)


def test_a_list_of_sizes_is_kept_as_a_tuple():
    assert Config(num_layers=2, hidden_size=[8, 4]).hidden_size == (8, 4)
    assert Config(hidden_size=32).hidden_size == 32


def test_names_are_kept_in_their_own_spelling():
    config = Config(activation="RELU", optimizer="NAdam", weight_init="xavier", loss="Cross_Entropy")
    assert (config.activation, config.optimizer) == ("ReLU", "nadam")
    assert (config.weight_init, config.loss) == ("Xavier", "cross_entropy")
