"""Random arguments and files: the outcome is a valid result, or a ValueError that names the cause."""

import contextlib
import dataclasses
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.nn.checkpoint import load_checkpoint, load_model
from helpers.nn.config import Config
from helpers.nn.initialization import WEIGHT_INITS, intial_weights
from helpers.nn.network import count_params
from helpers.nn.optimizers import OPTIMIZERS
from helpers.nn.training import Trainer, TrainingDiverged, model_train
from helpers.storage import write_archive
from tests.support.datasets import blobs
from tests.support.fuzzing import FIELDS, junk, many, value_error_names

pytestmark = pytest.mark.slow


@many
@given(
    st.dictionaries(st.sampled_from(["num_layers", "hidden_size", "weight_init", "inputs", "classes", "seed"]), junk)
)
def test_intial_weights_random_arguments(arguments):
    with value_error_names(*arguments, "parameters"):
        params = intial_weights(**{"num_layers": 2, "hidden_size": 8} | arguments)
        assert np.isfinite(params.theta).all()


@many
@given(st.dictionaries(st.sampled_from([*FIELDS, "log", "progress", "checkpoint", "resume"]), junk, max_size=4))
def test_model_train_random_arguments(tmp_path_factory, arguments):
    arguments.pop("epochs", None)  # a large number is valid, but takes long
    if callable(arguments.get("log")):
        del arguments["log"]
    if isinstance(arguments.get("checkpoint"), (str, bytes)):
        arguments["checkpoint"] = str(tmp_path_factory.mktemp("c")) + "/" + str(arguments["checkpoint"])
    small = {"epochs": 1, "num_layers": 1, "hidden_size": 4}
    with value_error_names(*arguments, "parameters"), contextlib.suppress(TrainingDiverged):
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
            "optimizer": st.sampled_from(list(OPTIMIZERS)), "flip_probability": st.floats(0, 0.99),
            "activation": st.sampled_from(["identity", "sigmoid", "tanh", "ReLU"]), "mixup": st.floats(0, 1e6),
            "loss": st.sampled_from(["cross_entropy", "mean_squared_error"]), "beta2": st.floats(0, 0.999999),
            "decoupled_weight_decay": st.floats(0, 1e6), "warmup": st.floats(0, 1e9), "epsilon": st.floats(1e-30, 1e9),
            "dropout": st.floats(0, 0.999), "weight_init": st.sampled_from(list(WEIGHT_INITS)),
            "schedule": st.sampled_from(["constant", "cosine"]), "receptive_field": st.sampled_from([0, 0.5, 4, 1e300]),
            "max_shift": st.integers(0, 4),
        },
    ),
    st.sampled_from(["unchanged", "black", "one class"]),
)  # fmt: skip
def test_model_train_extreme_hyperparameters_end_finite(arguments, kind):
    data = blobs(60, inputs=25, dtype=np.float32)
    if kind == "black":
        data = dataclasses.replace(data, x_train=data.x_train * 0, x_val=data.x_val * 0)
    if kind == "one class":
        data = dataclasses.replace(data, y_train=np.tile(data.y_train[:1], (60, 1)))
    with value_error_names(*arguments):
        assert_finite(data, epochs=2, **arguments)


@pytest.mark.parametrize("width", [1, 2048])
@pytest.mark.parametrize("depth", [1, 20])
@pytest.mark.parametrize("batch_size", [1, 60])
@pytest.mark.parametrize("learning_rate", [1e-8, 1e3])
def test_model_train_limits_of_sizes_end_finite(width, depth, batch_size, learning_rate):
    data = blobs(60, inputs=25, dtype=np.float32)
    values = {"num_layers": depth, "hidden_size": width, "batch_size": batch_size, "learning_rate": learning_rate}
    with value_error_names("parameters"):
        assert_finite(data, epochs=1, weight_decay=0.5, **values)


def assert_finite(data, **arguments):
    """Train; the parameters and the losses must be finite, those of TrainingDiverged too."""
    try:
        params, history = model_train(data, **arguments)
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
def test_model_train_random_data(parts, whole, other):
    data = dataclasses.replace(blobs(30, dtype=np.float32), **parts) if whole else other
    with (
        value_error_names("x_train", "y_train", "x_val", "y_val", "data"),
        contextlib.suppress(TrainingDiverged),
    ):
        params, _ = model_train(data, epochs=1, num_layers=1, hidden_size=4)
        assert np.isfinite(params.theta).all()


members = st.dictionaries(
    st.sampled_from(["W_1", "b_1", "W_2", "b_2"]),
    st.one_of(
        st.lists(st.integers(0, 5), max_size=3).map(lambda shape: np.zeros(shape, np.float32)),
        st.just(np.array(["a"])),
        st.just(np.full((4, 2), np.nan)),
    ),
)


@many
@given(st.dictionaries(st.sampled_from(["config", "class_names", "inputs"]), junk), members)
def test_load_model_random_content(tmp_path_factory, metadata, arrays):
    """Valid archives with the content of another program."""
    path = tmp_path_factory.mktemp("model") / "odd.model"
    try:
        write_archive(path, "model", metadata, arrays)
    except TypeError:
        return  # JSON cannot represent it
    with value_error_names("odd.model"):
        load_model(path)


@many
@given(st.data())
def test_load_checkpoint_random_content(tmp_path_factory, draw):
    """One part of the state is replaced or missing; the outcome may also be a training that continues."""
    data, config = blobs(30), Config(epochs=2, num_layers=1, hidden_size=2, optimizer="momentum")
    trainer = Trainer(data, config)
    if draw.draw(st.booleans()):
        with contextlib.suppress(KeyboardInterrupt):
            trainer.fit(log=interrupt, progress=False)
    state = trainer.state_dict()
    name = draw.draw(st.sampled_from(list(state)))
    del state[name]
    if draw.draw(st.booleans()):
        state[name] = draw.draw(arrays | junk)
    path = tmp_path_factory.mktemp("checkpoint") / "odd.ckpt"
    parts = {key: value for key, value in state.items() if isinstance(value, np.ndarray) and value.dtype != object}
    try:
        write_archive(path, "checkpoint", {key: value for key, value in state.items() if key not in parts}, parts)
    except TypeError:
        return  # JSON cannot represent it
    trainer = Trainer(data, config)
    with value_error_names("odd.ckpt"), contextlib.suppress(TrainingDiverged):
        warnings.filterwarnings("ignore", message="training continues with")
        load_checkpoint(path, trainer)
        trainer.fit(progress=False)


def interrupt(row):
    raise KeyboardInterrupt


@pytest.mark.parametrize("sizes", [{"hidden_size": 10**7}, {"num_layers": 10**9}, {"hidden_size": [10**5, 10**5]}])
def test_intial_weights_too_many_parameters_refused_before_allocation(sizes):
    with pytest.raises(ValueError, match=r"parameters|num_layers=1000000000"):
        intial_weights(**{"num_layers": 2, "hidden_size": 8} | sizes)
    assert count_params([784, 10**7, 10]) > 10**9
