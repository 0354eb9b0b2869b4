"""Checkpoints and models: a resumed training equals an uninterrupted one; invalid files are refused."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import time
from types import SimpleNamespace

import numpy as np
import pytest

from helpers.experiment import stopping
from helpers.experiment.checkpoint import load_model, save_model
from helpers.experiment.config import Config
from helpers.experiment.run import model_train
from helpers.files import read_archive, write_archive
from helpers.nn.initialization import intial_weights
from helpers.nn.optimizers import OPTIMIZERS
from tests.support.datasets import blobs
from tests.support.environment import start_python, wait_until

ALL = {
    "epochs": 4, "batch_size": 32, "num_layers": 2, "hidden_size": 12, "dropout": 0.2, "flip_probability": 0.5,
    "mixup": 0.3, "receptive_field": 2, "schedule": "cosine", "warmup": 1.5, "decoupled_weight_decay": 0.05,
    "weight_decay": 0.001, "max_shift": 1,
}  # fmt: skip


@pytest.fixture
def file(tmp_path):
    return tmp_path / "run.ckpt"


def assert_same(a, b):
    (params_a, history_a), (params_b, history_b) = a, b
    np.testing.assert_array_equal(params_a.theta, params_b.theta)
    assert history_a.drop(columns="seconds").equals(history_b.drop(columns="seconds"))
    assert history_a.attrs == history_b.attrs


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_resumed_training_equals_uninterrupted_training(optimizer, file, stop_after):
    data, values = blobs(inputs=25, dtype=np.float32), ALL | {"optimizer": optimizer}
    expected = model_train(data, **values)
    for epoch in (1, 3):
        _, history = model_train(data, **values, checkpoint=file, resume=True, log=stop_after(epoch))
        assert len(history) == epoch  # `log` has the new epochs only: an earlier Ctrl-C does not come again
    assert_same(model_train(data, **values, checkpoint=file, resume=True), expected)
    assert_same(model_train(data, **values, checkpoint=file, resume=True), expected)  # at its end
    assert os.listdir(file.parent) == ["run.ckpt"]


@pytest.mark.parametrize("times", [1, 2])
def test_interrupt_in_any_step_leaves_a_checkpoint_that_continues(times, data, file, monkeypatch):
    """Once: the training ends after this step; twice: KeyboardInterrupt at once."""
    stop_at = None

    def interrupted(theta, g, t, u, *, learning_rate=0.01):
        u += g
        theta -= learning_rate * u
        if t == stop_at:
            stopping.FLAG.time = -stopping.AGAIN
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setitem(OPTIMIZERS, "interrupted", interrupted)
    values = {"epochs": 3, "hidden_size": 4, "dropout": 0.2, "optimizer": "interrupted"}
    expected = model_train(data, **values)
    for stop_at in range(1, 13):  # 4 steps in each epoch
        try:
            _, history = model_train(data, **values, checkpoint=file, resume=True)
            assert history.attrs["interrupted"] is (stop_at < 12)
            assert len(history) == stop_at // 4
        except KeyboardInterrupt:
            assert times == 2
    stop_at = None
    assert_same(model_train(data, **values, checkpoint=file, resume=True), expected)


def test_resumed_training_continues_early_stopping(data, file, stop_after):
    values = {"epochs": 40, "hidden_size": 8, "learning_rate": 0.05, "patience": 3}
    expected = model_train(data, **values)
    assert len(expected[1]) < 40
    model_train(data, **values, checkpoint=file, log=stop_after(len(expected[1]) - 1))
    assert_same(model_train(data, **values, checkpoint=file, resume=True), expected)


def test_training_is_extended_by_resuming_with_more_epochs(data, file):
    values = {"hidden_size": 8, "warmup": 1}
    expected = model_train(data, epochs=5, **values)
    model_train(data, epochs=2, checkpoint=file, **values)
    assert_same(model_train(data, epochs=5, checkpoint=file, resume=True, **values), expected)
    _, history = model_train(data, epochs=1, checkpoint=file, resume=True, **values)  # it has more already
    assert len(history) == 5


@pytest.mark.slow
def test_resumed_training_after_kills_equals_uninterrupted_training(tmp_path):
    """SIGKILL at ten moments, in an epoch or in a write."""
    program = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from helpers import model_train; from tests.support.datasets import blobs\n"
        "p, h = model_train(blobs(2000, inputs=25), epochs=60, batch_size=8, hidden_size=16, dropout=0.1,"
        "                   flip_probability=0.5, checkpoint=sys.argv[1], resume=True,"
        "                   log=lambda row: Path(sys.argv[3]).touch())\n"
        "np.save(sys.argv[2], p.theta); print('done', len(h), flush=True)\n"
    )
    rng, started = np.random.default_rng(0), tmp_path / "started"

    def start(name):
        started.unlink(missing_ok=True)
        return start_python(program, tmp_path / name, tmp_path / f"{name}.npy", started, stdout=subprocess.PIPE)

    for _ in range(10):
        process = start("killed")
        try:
            wait_until(lambda process=process: started.exists() or process.poll() is not None)
            time.sleep(rng.uniform(0, 0.1))
        finally:
            process.kill()
            process.communicate(timeout=600)
    for name in ("killed", "alone"):
        process = start(name)
        try:
            assert "done 60" in process.communicate(timeout=200)[0]
        finally:
            process.kill()
            process.wait(timeout=600)
    np.testing.assert_array_equal(np.load(tmp_path / "killed.npy"), np.load(tmp_path / "alone.npy"))


def test_checkpoint_of_other_training_refused_with_differences(data, file):
    values = {"epochs": 2, "hidden_size": 4, "checkpoint": file, "schedule": "cosine"}
    model_train(data, **values)
    with pytest.raises(
        ValueError, match=r"run\.ckpt' exists: continue from it with resume=True \(--resume\), or delete it"
    ):
        model_train(data, **values)
    for change, message in (
        ({"learning_rate": 0.5}, r"learning_rate is 0\.001 in the checkpoint and 0\.5 here$"),
        ({"epochs": 3, "seed": 1}, "epochs is 2 in the checkpoint and 3 here; seed is 0 in the checkpoint and 1 here$"),
        ({"hidden_size": [4, 4, 4]}, r"hidden_size is 4 in the checkpoint and \(4, 4, 4\) here"),
    ):
        with pytest.raises(ValueError, match=message):
            model_train(data, **(values | change), resume=True)
    other = dataclasses.replace(data, x_train=data.x_train + 1e-9)
    with pytest.raises(ValueError, match=r"x_train is \[200, 20, 'float64', \d+\] in the checkpoint"):
        model_train(other, **values, resume=True)
    with pytest.raises(ValueError, match=r"x_val is .* in the checkpoint and None here"):
        model_train(dataclasses.replace(data, x_val=None, y_val=None), **values, resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda metadata, arrays: metadata.pop("t"), "does not hold a training state: 't' is missing"),
        (lambda metadata, arrays: arrays.pop("state_m"), "does not hold a training state: 'state_m' is missing"),
        (lambda metadata, arrays: arrays.update(theta=np.zeros(3)), r"theta is float64 of shape \(3,\), not \(\d+,\)"),
        (lambda metadata, arrays: metadata.update(rng=None), "cannot be continued"),
    ],
)
def test_checkpoint_with_invalid_content_refused(data, file, stop_after, change, message):
    """The rule of this name may have another state, for example."""
    values = {"epochs": 10, "hidden_size": 4, "checkpoint": file}
    model_train(data, **values, log=stop_after(1))
    metadata, arrays = read_archive(file, "checkpoint")
    change(metadata, arrays)
    write_archive(file, "checkpoint", metadata, arrays)
    with pytest.raises(ValueError, match=rf"run\.ckpt .*{message}"):
        model_train(data, **values, resume=True)


def test_checkpoint_that_cannot_be_written_is_one_warning_per_epoch(data, tmp_path):
    def remove(row):
        shutil.rmtree(folder, ignore_errors=True)

    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.warns(UserWarning, match=r"run\.ckpt' could not be written.*training continues") as warned:
        _, history = model_train(data, epochs=3, hidden_size=4, checkpoint=folder / "run.ckpt", log=remove)
    assert (len(history), len(warned)) == (3, 2)


def trained_on(class_names):
    return SimpleNamespace(class_names=class_names, name="data")


@pytest.fixture
def model(tmp_path):
    params, config = intial_weights(1, 2, inputs=4, classes=3), Config(num_layers=1, hidden_size=2)
    save_model(tmp_path / "a.model", params, config, trained_on("abc"))
    return tmp_path / "a.model"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_model_round_trip(tmp_path, dtype):
    params = intial_weights(2, [5, 4], inputs=9, classes=3, seed=3, dtype=dtype)
    config = Config(num_layers=2, hidden_size=(5, 4), activation="tanh", flip_probability=0.5, learning_rate=0.1 + 0.2)
    save_model(tmp_path / "a.model", params, config, trained_on(("x", "y", "ö")))
    loaded, loaded_config, names, name = load_model(tmp_path / "a.model")
    np.testing.assert_array_equal(loaded.theta, params.theta)
    assert loaded.theta.dtype == dtype
    assert loaded.sizes == [9, 5, 4, 3]
    assert (loaded_config, names, name) == (config, ["x", "y", "ö"], "data")


def test_model_loads_where_another_rule_is_not_registered(model, monkeypatch):
    def own(theta, g, t, *, learning_rate=0.1, rho=0.5):
        pass

    with monkeypatch.context() as patch:
        patch.setitem(OPTIMIZERS, "own", own)
        params, config, names, _ = load_model(model)
        assert config.rho is None
        save_model(model, params, config, trained_on(names))
        own_config = Config(num_layers=1, hidden_size=2, activation="tanh", optimizer="own")
        save_model(model.with_name("own.model"), params, own_config, trained_on(names))
    assert load_model(model)[1] == Config(num_layers=1, hidden_size=2)
    config = load_model(model.with_name("own.model"))[1]
    assert config.prediction == own_config.prediction
    assert (config.optimizer, config.rho, config.beta1) == ("own", 0.5, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, a: a.update(W_1=np.full((4, 2), np.nan, np.float32)), "its parameters are not finite"),
        (lambda m, a: a.update(W_2=np.zeros((3, 2), np.float32)), r"W_2 is float32 of shape \(3, 2\), not \(2, 3\)"),
        (lambda m, a: a.pop("b_2"), "'b_2'"),
        (lambda m, a: m.update(class_names=None), "not iterable"),
        (lambda m, a: m["config"].update(hidden_size=10**9), "parameters; at most"),
    ],
)
def test_model_with_invalid_content_refused(model, change, message):
    metadata, arrays = read_archive(model, "model")
    change(metadata, arrays)
    write_archive(model, "model", metadata, arrays)
    with pytest.raises(ValueError, match=rf"a\.model does not hold a network: .*({message})"):
        load_model(model)


def test_file_of_another_kind_or_version_refused(model, data, file):
    model_train(data, epochs=1, hidden_size=4, checkpoint=file)
    with pytest.raises(ValueError, match=r"run\.ckpt is a checkpoint, not a model$"):
        load_model(file)
    values = {"epochs": 1, "hidden_size": 4, "resume": True}
    with pytest.raises(ValueError, match=r"a\.model is a model, not a checkpoint$"):
        model_train(data, checkpoint=model, **values)
    with np.load(file, allow_pickle=False) as archive:
        arrays = dict(archive)
    header = json.loads(arrays.pop("metadata").item()) | {"version": 2}
    with open(file, "wb") as stream:
        np.savez(stream, metadata=np.array(json.dumps(header)), **arrays)
    with pytest.raises(ValueError, match=r"run\.ckpt was written by another version of this project") as caught:
        model_train(data, checkpoint=file, **values)
    assert "\n" not in str(caught.value)
