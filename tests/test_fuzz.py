"""Nonsense by the thousand: the outcome is a result or a ValueError that names the culprit, and nothing else.

FUZZ_CASES sets how many cases each test makes (300 by default, 2,400 in all).
"""

import contextlib
import dataclasses
import io
import math
import os
import warnings

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import space, train
from helpers.checkpoint import load_model, write
from helpers.config import Config
from helpers.data import load_data
from helpers.learner import TrainingDiverged
from helpers.network import count_params, intial_weights
from helpers.training import model_train
from tests.conftest import blobs

many = settings(
    max_examples=int(os.environ.get("FUZZ_CASES", 300)), deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip

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
FIELDS = [field.name for field in dataclasses.fields(Config)]


@contextlib.contextmanager
def refused(*names):
    """What happens inside is right, or a ValueError that says one of these names; no warning either."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = None
        try:
            yield
        except ValueError as error:
            said = str(error)
    assert said is None or any(name in said for name in names), f"{said} names none of {names}"


@many
@given(
    st.dictionaries(st.sampled_from(["num_layers", "hidden_size", "weight_init", "inputs", "classes", "seed"]), junk)
)
def test_intial_weights(arguments):
    with refused(*arguments, "parameters"):
        params = intial_weights(**{"num_layers": 2, "hidden_size": 8} | arguments)
        assert np.isfinite(params.theta).all()


@many
@given(st.dictionaries(st.sampled_from([*FIELDS, "log", "progress", "checkpoint", "resume"]), junk, max_size=4))
def test_model_train_with_junk_settings(tmp_path_factory, arguments):
    arguments.pop("epochs", None)  # a large number is right, and takes its time
    if callable(arguments.get("log")):
        del arguments["log"]  # what it does with a row is its own affair
    if isinstance(arguments.get("checkpoint"), (str, bytes)):
        arguments["checkpoint"] = str(tmp_path_factory.mktemp("c")) + "/" + str(arguments["checkpoint"])
    small = {"epochs": 1, "num_layers": 1, "hidden_size": 4}
    with refused(*arguments, "parameters"), contextlib.suppress(TrainingDiverged):
        params, history = model_train(blobs(inputs=25, dtype=np.float32), **(small | arguments))
        assert np.isfinite(params.theta).all()
        assert np.isfinite(history.train_loss).all()


@many
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "learning_rate": st.floats(1e-8, 1e3), "num_layers": st.integers(1, 20), "hidden_size": st.integers(1, 64),
            "batch_size": st.sampled_from([1, 7, 100, 10**9]), "weight_decay": st.sampled_from([0.0, 0.5, 1e4]),
            "optimizer": st.sampled_from(["sgd", "momentum", "nag", "rmsprop", "adagrad", "adadelta", "adam", "nadam"]),
            "activation": st.sampled_from(["identity", "sigmoid", "tanh", "ReLU"]), "flip": st.floats(0, 0.99),
            "loss": st.sampled_from(["cross_entropy", "mean_squared_error"]), "mixup": st.floats(0, 1e6),
            "decoupled_weight_decay": st.floats(0, 1e6), "warmup": st.floats(0, 1e9), "epsilon": st.floats(1e-30, 1e9),
            "dropout": st.floats(0, 0.999), "weight_init": st.sampled_from(["random", "Xavier", "He"]),
            "schedule": st.sampled_from(["constant", "cosine"]), "beta2": st.floats(0, 0.999999),
            "receptive_field": st.sampled_from([0, 0.5, 4, 1e300]),
        },
    ),
    st.sampled_from(["as it is", "black", "one class"]),
)  # fmt: skip
def test_extreme_settings_end_finite_or_are_refused(arguments, kind):
    data = blobs(60, inputs=25, dtype=np.float32)
    if kind == "black":
        data = dataclasses.replace(data, x_train=data.x_train * 0, x_val=data.x_val * 0)
    if kind == "one class":
        data = dataclasses.replace(data, y_train=np.tile(data.y_train[:1], (60, 1)))
    with refused(*arguments):
        try:
            params, history = model_train(data, epochs=2, **arguments)
        except TrainingDiverged as error:
            params, history = error.params, error.history
        assert np.isfinite(params.theta).all()
        assert np.isfinite(history[["train_loss", "val_loss"]].to_numpy(float)).all()


@pytest.mark.parametrize("width", [1, 2048])
@pytest.mark.parametrize("depth", [1, 20])
@pytest.mark.parametrize("batch_size", [1, 60])
@pytest.mark.parametrize("learning_rate", [1e-8, 1e3])
def test_the_corners_of_what_is_allowed(width, depth, batch_size, learning_rate):
    data = blobs(60 if width * depth < 10_000 else 1, inputs=25, dtype=np.float32)
    settings = {"num_layers": depth, "hidden_size": width, "batch_size": batch_size, "learning_rate": learning_rate}
    with refused("parameters"):
        try:
            params, history = model_train(data, epochs=1, weight_decay=0.5, **settings)
        except TrainingDiverged as error:
            params, history = error.params, error.history
        assert np.isfinite(params.theta).all()
        assert np.isfinite(history[["train_loss", "val_loss"]].to_numpy(float)).all()


arrays = st.one_of(
    junk,
    st.sampled_from([np.float32, np.float64, int, bool, object, "U1"]).map(lambda kind: np.zeros((3, 4), kind)),
    st.tuples(st.integers(0, 5), st.integers(0, 5)).map(lambda shape: np.full(shape, 0.5, np.float32)),
    st.sampled_from([math.nan, math.inf, -1.0, 1e30]).map(lambda value: np.full((6, 4), value, np.float32)),
    st.integers(2, 4).map(lambda classes: np.eye(classes, dtype=np.float32)),
)


@many
@given(st.dictionaries(st.sampled_from(["x_train", "y_train", "x_val", "y_val"]), arrays), st.booleans(), junk)
def test_model_train_with_junk_data(parts, whole, other):
    data = dataclasses.replace(blobs(30, dtype=np.float32), **parts) if whole else other
    with refused("x_train", "y_train", "x_val", "y_val", "data"), contextlib.suppress(TrainingDiverged):
        params, _ = model_train(data, epochs=1, num_layers=1, hidden_size=4)
        assert np.isfinite(params.theta).all()


@many
@given(st.dictionaries(st.sampled_from(["dataset", "validation_split", "seed"]), junk, min_size=1))
def test_load_data(monkeypatch, arguments):
    monkeypatch.setattr("helpers.data.find", lambda dataset, allow: (toy_files(), "toys", False))
    with refused(*arguments), contextlib.redirect_stdout(io.StringIO()):
        data = load_data(**arguments)
        assert len(data.x_train) + (0 if data.x_val is None else len(data.x_val)) == 100


def toy_files():
    images, labels = np.zeros((100, 28, 28), np.uint8), np.arange(100, dtype=np.uint8) % 10
    return images, labels, images[:10], labels[:10]


flags = st.sampled_from(
    [option for action in train.build_parser()._actions for option in action.option_strings if action.dest != "help"]
)
texts = st.one_of(words, numbers.map(str), st.sampled_from(["", "-1", "nan", "1e999", "[64", "64,,", "٣", "0x10"]))


@many
@given(st.lists(st.one_of(flags, texts, st.tuples(flags, texts).map("=".join)), max_size=6))
def test_the_command_line(arguments):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = None
        try:
            train.read_arguments(arguments)
        except SystemExit as end:
            code = end.code
    assert code in (None, 2)
    assert code is None or "error: " in said.getvalue()


yamls = st.one_of(
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


@many
@given(yamls)
def test_sweep_yaml(tmp_path_factory, content):
    if isinstance(content, dict):
        try:
            content = yaml.safe_dump(content)
        except yaml.YAMLError:
            return  # it holds what YAML cannot
    path = tmp_path_factory.mktemp("sweep") / "sweep.yaml"
    path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    with refused("sweep.yaml", *FIELDS, "dataset", "x", "method", "metric", "parameters", "early_terminate"):
        space.read(path)


@many
@given(
    st.dictionaries(st.sampled_from(["config", "class_names", "inputs", "classes"]), junk),
    st.one_of(st.just(None), st.integers(0, 30).map(np.zeros), st.just(np.array(["a"]))),
)
def test_a_model_file_with_a_right_checksum_and_a_wrong_content(tmp_path_factory, facts, theta):
    path = tmp_path_factory.mktemp("model") / "odd.model"
    try:
        write(path, "model", facts, {} if theta is None else {"theta": theta})
    except TypeError:
        return  # JSON cannot hold it
    with refused("odd.model"):
        load_model(path)


@pytest.mark.parametrize("sizes", [{"hidden_size": 10**7}, {"num_layers": 10**9}, {"hidden_size": [10**5, 10**5]}])
def test_a_network_beyond_the_memory_is_refused_before_it_is_made(sizes):
    with pytest.raises(ValueError, match=r"parameters|num_layers=1000000000"):
        intial_weights(**{"num_layers": 2, "hidden_size": 8} | sizes)
    assert count_params([784, 10**7, 10]) > 10**9
