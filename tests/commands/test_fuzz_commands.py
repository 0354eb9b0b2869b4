"""The command line with random arguments: they are accepted, or refused with a message and the exit code 2."""

import contextlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import train
from tests.support.fuzzing import many, numbers, words

flags = st.sampled_from(
    [option for action in train.build_parser()._actions for option in action.option_strings if action.dest != "help"]
)
texts = st.one_of(words, numbers.map(str), st.sampled_from(["", "-1", "nan", "1e999", "[64", "64,,", "٣", "0x10"]))


@pytest.mark.slow
@many
@given(st.lists(st.one_of(flags, texts, st.tuples(flags, texts).map("=".join)), max_size=6))
def test_train_read_arguments_random_arguments(arguments):
    errors, code = io.StringIO(), None
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            train.read_arguments(arguments)
        except SystemExit as end:
            code = end.code
    assert code in (None, 2)
    assert code is None or "error: " in errors.getvalue()
