"""load_data with random arguments: the outcome is a valid data set, or a ValueError that names the cause."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.data import load_data
from tests.support.fuzzing import junk, many, value_error_names


@pytest.mark.slow
@many
@given(st.dictionaries(st.sampled_from(["dataset", "validation_split", "seed"]), junk, min_size=1))
def test_load_data_random_arguments(monkeypatch, arguments):
    images, labels = np.zeros((100, 28, 28), np.uint8), np.arange(100, dtype=np.uint8) % 10
    arrays = images, labels, images[:10], labels[:10]
    monkeypatch.setattr("helpers.data.load_raw", lambda dataset, allow_sample: (arrays, "a test", ""))
    with value_error_names(*arguments), contextlib.redirect_stdout(io.StringIO()):
        data = load_data(**arguments)
        assert len(data.x_train) + (0 if data.x_val is None else len(data.x_val)) == 100
