"""Sweep files with random content: they are accepted, or refused with a ValueError that names the cause."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from helpers.search.sweep_file import read_sweep
from tests.support.fuzzing import FIELDS, junk, many, value_error_names

contents = st.one_of(
    st.text(max_size=40),
    st.binary(max_size=40),
    st.fixed_dictionaries(
        {},
        optional={
            "method": st.one_of(junk, st.sampled_from(["grid", "random", "bayes"])),
            "metric": st.one_of(junk, st.just({"name": "val_accuracy", "goal": "maximize"})),
            "parameters": st.one_of(
                junk,
                st.dictionaries(
                    st.sampled_from([*FIELDS, "dataset", "x"]),
                    st.one_of(
                        junk,
                        st.dictionaries(st.sampled_from(["value", "values", "min", "max", "distribution", "q"]), junk),
                    ),
                ),
            ),
            "early_terminate": st.one_of(junk, st.just({"type": "hyperband", "min_iter": 3})),
            "command": junk,
        },
    ),
)  # fmt: skip


@pytest.mark.slow
@many
@given(contents)
def test_read_sweep_random_content(tmp_path_factory, content):
    if isinstance(content, dict):
        try:
            content = yaml.safe_dump(content)
        except yaml.YAMLError:
            return  # YAML cannot represent it
    path = tmp_path_factory.mktemp("sweep") / "sweep.yaml"
    path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    with value_error_names("sweep.yaml", *FIELDS, "dataset", "x", "method", "metric", "parameters", "early_terminate"):
        read_sweep(path)
