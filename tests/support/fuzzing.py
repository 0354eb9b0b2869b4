"""Strategies of the fuzz tests, and the check that they share.

FUZZ_CASES sets the number of cases of each fuzz test, 300 by default.
"""

import contextlib
import os
import warnings

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from helpers.experiment.config import hyperparameters

many = settings(
    max_examples=int(os.environ.get("FUZZ_CASES", 300)), deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip

FIELDS = list(hyperparameters())

numbers = st.one_of(
    st.integers(-3, 12), st.integers(), st.floats(), st.floats(0, 1), st.sampled_from([1e-8, 1e3, 1e38, 1e300, 2**70])
)
words = st.one_of(
    st.text(max_size=6),
    st.sampled_from(["relu", "Xavier", "adam", "sgd", "adadelta", "tanh", "cosine", "mnist", "mean_squared_error"]),
)
junk = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, words, st.binary(max_size=4), st.just(np.ones(2)), st.just(object)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.tuples(inner, inner), st.dictionaries(words, inner)),
    max_leaves=4,
)


@contextlib.contextmanager
def value_error_names(*names):
    """Allow one exception in the block, a ValueError whose message contains one of the names; no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        message = None
        try:
            yield
        except ValueError as error:
            message = str(error)
    assert message is None or any(name in message for name in names), f"{message!r} contains none of {names}"
