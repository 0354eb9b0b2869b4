"""model_train: learning, reproducibility, the returned epoch, interrupts, divergence, and refused arguments."""

import dataclasses
import gc
import io
import math
import pickle
import sys
import weakref

import numpy as np
import pytest

from helpers.experiment import run
from helpers.experiment.config import OWN, RULES, Config
from helpers.experiment.metrics import evaluate
from helpers.experiment.run import TrainingDiverged, last_epochs, model_train, train, train_each
from helpers.nn.network import backward_propagation, forward_propagation
from helpers.nn.optimizers import OPTIMIZERS
from tests.support.datasets import blobs

SMALL = {"epochs": 3, "batch_size": 32, "num_layers": 2, "hidden_size": 16}
TINY = {"num_layers": 1, "hidden_size": 4, "epochs": 2}


def test_history_columns_rows_and_attributes(data):
    """A callback gets copies of the rows."""
    rows = []

    def log(row):
        rows.append(dict(row))
        row.update(val_accuracy=-1.0, val_loss=0.0, extra="x")

    params, history = model_train(data, **SMALL, log=log, engine="numpy")
    again, _ = model_train(data, **SMALL)
    np.testing.assert_array_equal(params.theta, again.theta)
    assert list(history.columns) == run.COLUMNS
    assert list(history.epoch) == [1, 2, 3]
    assert history.to_dict("records") == rows
    assert (history.seconds > 0).all()
    assert history.attrs == {
        "data": "blobs", "best_epoch": history.val_accuracy.idxmax() + 1, "interrupted": False,
        "config": vars(Config(**SMALL)), "engine": "numpy",
    }  # fmt: skip
    assert params.theta.dtype == np.float64


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_learns(data, optimizer):
    """The default learning rates are for more updates than there are here."""
    rate = {"sgd": 0.1, "momentum": 0.02, "nag": 0.02, "adagrad": 0.05, "adadelta": 1}.get(optimizer, 0.01)
    _, history = model_train(data, epochs=30, batch_size=20, hidden_size=16, learning_rate=rate, optimizer=optimizer)
    assert history.val_accuracy.max() > 0.95
    assert history.train_loss.iloc[-1] < history.train_loss.iloc[0] / 2


def test_metrics_of_an_epoch_are_means_over_samples(data):
    """More batches than CHECK_EVERY, a short last one, each evaluated before its update and without the L2 term."""
    values = {"hidden_size": 8, "batch_size": 3, "learning_rate": 0.01, "optimizer": "sgd", "weight_decay": 0.1}
    _, history = model_train(data, **values, epochs=1)
    replay, losses, correct = run.initial_state(data, Config(**values)), 0, 0
    order = replay.rng.permutation(200)
    for start in range(0, 200, 3):
        X, Y = data.x_train[order[start : start + 3]], data.y_train[order[start : start + 3]]
        loss, accuracy = evaluate(replay.params, X, Y, activation="ReLU", loss="cross_entropy")
        losses, correct = losses + loss * len(X), correct + accuracy * len(X)
        H = forward_propagation(replay.params, X, "ReLU")
        g = backward_propagation(replay.params, H, Y, "ReLU", "cross_entropy", weight_decay=0.1)
        replay.params.theta -= 0.01 * g.theta
    assert math.ceil(200 / 3) > run.CHECK_EVERY
    assert history.train_loss[0] == pytest.approx(losses / 200)
    assert history.train_accuracy[0] == pytest.approx(correct / 200)


@pytest.mark.parametrize("values", [{"dropout": 0.5}, {"flip_probability": 0.5}, {"max_shift": 1}])
def test_validation_after_an_epoch_is_that_of_the_images_as_they_are(values):
    data = blobs(inputs=25)
    params, history = model_train(data, **(SMALL | values | {"epochs": 1}))
    expected = evaluate(params, data.x_val, data.y_val, activation="ReLU", loss="cross_entropy")
    assert expected == (history.val_loss[0], history.val_accuracy[0])


CHANGES = {
    "epochs": 2, "batch_size": 16, "learning_rate": 0.003, "weight_decay": 0.1, "num_layers": 1, "hidden_size": 8,
    "activation": "tanh", "weight_init": "He", "loss": "mean_squared_error", "optimizer": "adam",
    "momentum": 0.5, "beta": 0.5, "beta1": 0.5, "beta2": 0.5, "epsilon": 0.1, "dropout": 0.3, "patience": 1,
    "seed": 9, "schedule": "cosine", "warmup": 1, "decoupled_weight_decay": 0.1, "flip_probability": 0.3, "mixup": 0.2,
    "receptive_field": 2, "max_shift": 1, "affine": 0.1,
}  # fmt: skip


@pytest.mark.parametrize("name", [*OWN, *RULES])
def test_hyperparameter_changes_result(name):
    data, value = blobs(inputs=25), CHANGES[name]
    values = SMALL | {"optimizer": {"momentum": "nag", "beta": "rmsprop"}.get(name, "nadam")}
    if name == "patience":
        values |= {"epochs": 40, "learning_rate": 0.1}
    before, _ = model_train(data, **values)
    after, history = model_train(data, **(values | {name: value}))
    if name == "patience":
        assert len(history) < 40
    else:
        assert before.theta.shape != after.theta.shape or (before.theta != after.theta).any()


def epochs_of(data, **values):
    """Return the result of a training, and the parameters after each epoch."""
    thetas = []
    result = train(data, Config(**values), on_epoch=lambda row, params: thetas.append(params.theta.copy()))
    return result, thetas


def test_best_epoch_has_highest_accuracy_then_lowest_loss(data):
    """A high learning rate, so that the accuracy rises and falls, and few images, so that there are ties."""
    few = dataclasses.replace(data, x_val=data.x_val[:10], y_val=data.y_val[:10])
    for seed in range(5):
        result, thetas = epochs_of(few, **SMALL | {"epochs": 12}, learning_rate=0.03, seed=seed)
        order = result.history.sort_values(["val_accuracy", "val_loss"], ascending=[False, True], kind="stable")
        assert result.best_epoch == result.history.attrs["best_epoch"] == order.epoch.iloc[0]
        np.testing.assert_array_equal(result.params.theta, thetas[result.best_epoch - 1])


@pytest.mark.parametrize("patience", [1, 3])
def test_early_stopping_after_epochs_without_a_better_one(data, patience):
    result, thetas = epochs_of(data, **SMALL | {"epochs": 60}, learning_rate=0.1, patience=patience)
    assert len(thetas) == len(result.history) == result.best_epoch + patience < 60
    np.testing.assert_array_equal(result.params.theta, thetas[result.best_epoch - 1])
    whole, _ = epochs_of(data, **SMALL | {"epochs": len(thetas)}, learning_rate=0.1)
    np.testing.assert_array_equal(whole.params.theta, result.params.theta)


def test_without_validation_data_the_last_epoch_is_returned(data):
    result, thetas = epochs_of(dataclasses.replace(data, x_val=None, y_val=None), **SMALL, patience=1)
    assert len(result.history) == result.best_epoch == 3
    assert result.history[["val_loss", "val_accuracy"]].isna().all(axis=None)
    np.testing.assert_array_equal(result.params.theta, thetas[-1])
    np.testing.assert_array_equal(result.params.theta, epochs_of(data, **SMALL)[1][-1])  # no effect on training


def test_ctrl_c_ends_training_after_the_epoch_and_a_second_one_at_once(data, stop_after, capsys):
    params, history = model_train(data, **SMALL, log=stop_after(2))
    assert (len(history), history.attrs["interrupted"]) == (2, True)
    assert "Stopped after 2 epochs" in capsys.readouterr().out
    with pytest.raises(KeyboardInterrupt):
        model_train(data, **SMALL, log=stop_after(1, times=2))
    expected, history = model_train(data, **(SMALL | {"epochs": 2}), log=stop_after(2))  # in the last epoch
    assert not history.attrs["interrupted"]
    np.testing.assert_array_equal(params.theta, expected.theta)


@pytest.mark.parametrize("batch", [0, 3, 6])
def test_training_diverged_names_step_and_has_last_finite_epoch(data, batch):
    rng = np.random.default_rng([0, 1])
    order = [rng.permutation(200) for _ in range(3)][2]
    first = order[batch * 32]  # an image that the third epoch uses in this batch

    def spoil(row):
        if row["epoch"] == 2:
            data.x_train[first] = np.nan  # from here on the loss cannot be finite

    message = rf"epoch 3, step {batch + 1}, at learning_rate=0.001: try a tenth"
    with pytest.raises(TrainingDiverged, match=message) as caught:
        model_train(data, **SMALL, log=spoil)
    assert (caught.value.epoch, caught.value.step) == (3, batch + 1)
    assert list(caught.value.history.epoch) == [1, 2]
    np.testing.assert_array_equal(caught.value.params.theta, epochs_of(blobs(), **SMALL)[1][1])
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.epoch, copy.step, copy.learning_rate, str(copy)) == (3, batch + 1, 0.001, str(caught.value))


def test_overflow_in_the_last_step_is_divergence(data, monkeypatch):
    """The loss of that step is computed before its update and is still finite."""

    def overflow(theta, g, t, *, learning_rate=0.01):
        theta[0] = np.inf if t == 7 else 0

    monkeypatch.setitem(OPTIMIZERS, "overflow", overflow)
    with pytest.raises(TrainingDiverged, match=r"epoch 1, step 7, at"):
        model_train(data, **SMALL, optimizer="overflow")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_small_numbers_of_the_state_become_zero_before_they_are_denormal(dtype):
    limit = run.flush_limit(dtype)
    vector = np.array([limit, limit / 2, -limit / 2, -limit, 0, 1], dtype)
    run.flush_denormals(vector, limit=limit)
    np.testing.assert_array_equal(vector, np.array([limit, 0, 0, -limit, 0, 1], dtype))
    assert limit * 0.9**run.CHECK_EVERY * 0.001 > np.finfo(dtype).tiny  # also times the learning rate


def test_weights_under_a_strong_decay_become_zero():
    """Not denormal, which made some trials of sweep.yaml with a weight decay of 0.5 ten times slower."""
    decay = {"optimizer": "sgd", "learning_rate": 1.0, "weight_decay": 0.5, "epochs": 4, "batch_size": 4}
    _, (*_, theta) = epochs_of(blobs(dtype=np.float32), **TINY | decay)
    assert not ((theta != 0) & (abs(theta) < np.finfo(theta.dtype).tiny)).any()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs=0 must be an integer, at least 1"),
        ({"lr": 0.1}, r"lr is an unknown hyperparameter; did you mean learning_rate\?"),
        ({"flip_probability": 0.5}, "x_train: 20 is not the number of pixels of a square image"),
        ({"num_layers": 1, "hidden_size": 3_000_000}, "93,000,010 parameters; at most 50,000,000 are allowed"),
        ({"receptive_field": 2}, "inputs: 20 is not the number of pixels of a square image"),
        ({"checkpoint": 5}, "checkpoint=5 must be the name of a file"),
        ({"checkpoint": "nowhere/run.ckpt"}, "checkpoint='nowhere/run.ckpt' is in a folder that does not exist"),
        ({"resume": True}, "resume=True needs checkpoint="),
        ({"resume": "yes"}, "resume='yes' must be True or False"),
        ({"log": 5}, "log=5 must be a function of one argument"),
        ({"progress": 1}, "progress=1 must be True or False"),
        ({"engine": "cuda"}, "engine='cuda' is unknown; choose one of: auto, numpy, numba"),
        ({"threads": 0}, "threads=0 must be an integer, at least 1"),
    ],
)
def test_invalid_argument_refused_before_training(values, message, data):
    with pytest.raises(ValueError, match=message):
        model_train(data, **({"log": pytest.fail} | values))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: {"x_train": d.x_train[:, :, None]}, r"x_train is a float64 array of shape \(200, 20, 1\)"),
        (lambda d: {"x_train": np.where(d.x_train > 0.99, np.nan, d.x_train)}, "x_train contains NaN or infinity"),
        (lambda d: {"x_val": d.x_val * np.inf}, "x_val contains NaN or infinity"),
        (lambda d: {"x_val": d.x_val[:, 1:]}, r"x_val has shape \(100, 19\).*20"),
        (lambda d: {"x_val": d.x_val.astype(np.float32)}, "x_val is float32; x_train is float64"),
        (lambda d: {"y_train": d.y_train[1:]}, r"y_train has shape \(199, 10\).*200"),
        (lambda d: {"y_val": d.y_val[:, :9]}, r"y_val has shape \(100, 9\).*10"),
        (lambda d: {"y_train": d.y_train * 2}, "y_train is not one-hot"),
    ],
)
def test_invalid_data_refused(change, message, data):
    with np.errstate(all="ignore"):
        invalid = dataclasses.replace(data, **change(data))
    with pytest.raises(ValueError, match=message):
        model_train(invalid, **SMALL, log=pytest.fail)
    with pytest.raises(ValueError, match="data is a dict without x_train; it must be a Dataset"):
        model_train({})


@pytest.mark.parametrize("where", ["common", "configuration"])
def test_train_each_takes_seeds_from_its_argument_only(data, where):
    own, common = ({}, {"seed": 5}) if where == "common" else ({"seed": 5}, {})
    with pytest.raises(ValueError, match="seed=5: train_each has the argument seeds"):
        train_each(data, {"a": own}, seeds=(0, 1), workers=1, **TINY, **common)


def test_a_finished_training_leaves_no_arrays_in_memory(data, monkeypatch):
    """Without the garbage collector's help: the next training of a loop may need all memory."""
    states = []
    initial_state = run.initial_state

    def remember(*arguments):
        state = initial_state(*arguments)
        states.append(weakref.ref(state))
        return state

    monkeypatch.setattr(run, "initial_state", remember)
    gc.disable()
    try:
        model_train(data, **TINY)
        assert [state() for state in states] == [None]
    finally:
        gc.enable()


def test_train_each_trains_every_configuration_with_every_seed(data):
    configurations = {"a": {"optimizer": "sgd"}, ("b", 1): {"learning_rate": 0.01}}
    histories = train_each(data, configurations, seeds=(0, 3), workers=1, **TINY)
    assert list(histories) == ["a", ("b", 1)]
    for name, configuration in configurations.items():
        for seed, history in zip((0, 3), histories[name], strict=True):
            _, alone = model_train(data, seed=seed, **configuration, **TINY)
            assert history.drop(columns="seconds").equals(alone.drop(columns="seconds"))
            assert history.attrs["config"]["seed"] == seed


def test_last_epochs_of_trainings_of_which_one_diverged(data):
    configurations = {
        ("huge", 1e30): {"optimizer": "sgd", "learning_rate": 1e30, "activation": "identity"}, ("usual", 0.1): {},
    }  # fmt: skip
    histories = train_each(data, configurations, seeds=(3,), workers=1, **TINY)
    [diverged], [usual] = histories.values()
    assert diverged.attrs["diverged"]
    first, second = last_epochs(histories, ("name", "rate")).to_dict("records")
    assert (first["name"], first["rate"], first["seed"]) == ("huge", 1e30, 3)
    assert math.isnan(first["val_loss"])
    assert second == {"name": "usual", "rate": 0.1, "seed": 3} | usual.iloc[-1].to_dict()


def test_ctrl_c_ends_a_comparison(data, stop_after, monkeypatch):
    def interrupted(theta, g, t, *, learning_rate=0.01):
        stop_after(1)({"epoch": t})

    monkeypatch.setitem(OPTIMIZERS, "interrupted", interrupted)
    configurations = {"first": {}, "second": {"optimizer": "interrupted"}, "third": {}}
    histories = train_each(data, configurations, workers=1, **TINY)
    assert [history.attrs["interrupted"] for [history] in histories.values()] == [False, True, True]
    assert [len(history) for [history] in histories.values()] == [2, 0, 0]
    assert last_epochs(histories, ("name",))["val_loss"].isna().tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("ci", "terminal", "notebook", "visible"),
    [("", True, False, True), ("", False, False, False), ("true", True, False, False), ("", False, True, True)],
)
def test_progress_bar_names_the_training_and_leaves_an_empty_line(data, monkeypatch, ci, terminal, notebook, visible):
    """In a notebook it is written to standard output, and it is text, which the saved file can display."""
    written = io.StringIO()
    written.isatty = lambda: terminal
    monkeypatch.setenv("CI", ci)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    if notebook:
        monkeypatch.setitem(sys.modules, "ipykernel", None)
    monkeypatch.setattr(sys, "stdout" if notebook else "stderr", written)
    model_train(data, progress="small network", **TINY)
    assert bool(written.getvalue()) is visible
    if visible:
        assert "small network: epoch 1/2, loss" in written.getvalue()
        assert written.getvalue().split("\r")[-2].strip() == ""
