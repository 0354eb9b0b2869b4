"""model_train: learning, reproducibility, the returned epoch, interrupts, divergence, and refused arguments."""

import contextlib
import dataclasses
import io
import math
import os
import sys
import warnings

import numpy as np
import pytest
from jax import config as jax_config
from threadpoolctl import threadpool_info, threadpool_limits

from helpers.nn import training
from helpers.nn.config import Config
from helpers.nn.engine import make_engine
from helpers.nn.initialization import intial_weights
from helpers.nn.metrics import evaluate
from helpers.nn.network import backward_propagation, forward_propagation
from helpers.nn.optimizers import OPTIMIZERS
from helpers.nn.training import COLUMNS, Trainer, TrainingDiverged, last_epochs, model_train, train_each
from tests.support import textbook
from tests.support.datasets import batches, blobs

jax_config.update("jax_enable_x64", True)

SMALL = {"epochs": 3, "batch_size": 32, "num_layers": 2, "hidden_size": 16}


# ---- history and learning ----


def test_model_train_history_columns_rows_and_attributes(data):
    seen = []
    params, history = model_train(data, **SMALL, log=seen.append)
    assert list(history.columns) == COLUMNS
    assert list(history.epoch) == [1, 2, 3]
    assert history.to_dict("records") == seen
    assert (history.seconds > 0).all()
    assert history.attrs == {
        "data": "blobs", "best_epoch": history.val_accuracy.idxmax() + 1, "interrupted": False,
        "config": dataclasses.asdict(Config(**SMALL)), "threads": 1, "engine": make_engine("auto", params).name,
    }  # fmt: skip
    assert params.theta.dtype == np.float64


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_model_train_learns_with_every_optimizer(data, optimizer):
    rate = {"sgd": 0.1, "momentum": 0.02, "nag": 0.02, "adagrad": 0.05, "adadelta": 1}.get(optimizer, 0.01)
    _, history = model_train(
        data, epochs=30, batch_size=20, hidden_size=16, learning_rate=rate, optimizer=optimizer,
    )  # fmt: skip
    assert history.val_accuracy.max() > 0.95
    assert history.train_loss.iloc[-1] < history.train_loss.iloc[0] / 2


@pytest.mark.parametrize(
    ("optimizer", "values"), [("adadelta", {"epochs": 30, "batch_size": 20}), ("sgd", {"epochs": 60, "batch_size": 4})]
)
def test_model_train_learns_with_default_hyperparameters(data, optimizer, values):
    """With the learning rate 0.001, once the default of every rule, the accuracy stays near chance."""
    _, history = model_train(data, hidden_size=16, optimizer=optimizer, **values)
    _, slow = model_train(data, hidden_size=16, optimizer=optimizer, learning_rate=0.001, **values)
    assert history.val_accuracy.max() > 0.95
    assert slow.val_accuracy.max() < 0.3


def test_model_train_history_has_hyperparameters_used(data):
    _, history = model_train(data, **SMALL, optimizer="adadelta", epsilon=1e-5)
    config = history.attrs["config"]
    assert (config["learning_rate"], config["beta"], config["epsilon"], config["beta1"]) == (1.0, 0.9, 1e-5, None)


@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
def test_model_train_fits_twenty_samples_exactly(sample, loss):
    few = dataclasses.replace(sample, x_train=sample.x_train[:20], y_train=sample.y_train[:20])
    params, _ = model_train(few, epochs=300, batch_size=20, loss=loss, learning_rate=0.003, weight_init="He")
    value, accuracy = evaluate(params, few.x_train, few.y_train, activation="ReLU", loss=loss)
    assert accuracy == 1
    assert value < 1e-3


def test_model_train_full_batch_matches_textbook(data):
    """One batch per epoch, momentum, weight decay: the same as the paper's rule on the network's gradient."""
    values = {"num_layers": 2, "hidden_size": 8, "activation": "tanh", "weight_init": "Xavier"}
    params, _ = model_train(
        dataclasses.replace(data, x_val=None, y_val=None), epochs=20, batch_size=1000, optimizer="momentum",
        momentum=0.5, learning_rate=0.3, weight_decay=0.01, **values,
    )  # fmt: skip
    network = intial_weights(2, 8, "Xavier", inputs=20, dtype=np.float64)

    def gradient(w):
        network.theta[:] = w
        H = forward_propagation(network, data.x_train, "tanh")
        return backward_propagation(network, H, data.y_train, "tanh", "cross_entropy", weight_decay=0.01).theta.copy()

    expected = textbook.momentum(network.theta.copy(), gradient, 20, learning_rate=0.3, momentum=0.5)
    np.testing.assert_allclose(params.theta, expected, atol=1e-12)


def test_model_train_same_seed_same_result(data):
    values = SMALL | {"dropout": 0.2}
    a, history_a = model_train(data, **values, seed=4)
    b, history_b = model_train(data, **values, seed=4)
    other, _ = model_train(data, **values, seed=5)
    np.testing.assert_array_equal(a.theta, b.theta)
    assert history_a.drop(columns="seconds").equals(history_b.drop(columns="seconds"))
    assert (a.theta != other.theta).any()


# ---- the epoch that is returned ----


def after_epochs(data, epochs):
    """Return the parameters after `epochs` epochs with the hyperparameters SMALL, without model_train."""
    trainer = Trainer(data, Config(**SMALL))
    for epoch in range(1, epochs + 1):
        trainer.train_epoch(epoch, training.progress_bar(False, "batch"))
    return trainer.params.theta


def script_validation(monkeypatch, accuracies, losses=None):
    """Make validation return these accuracies; return the list of theta at the end of each epoch."""
    thetas = []

    def validate(self, epoch):
        thetas.append(self.params.theta.copy())
        return {"val_loss": losses[epoch - 1] if losses else 1.0, "val_accuracy": accuracies[epoch - 1]}

    monkeypatch.setattr(Trainer, "validate", validate)
    return thetas


def test_model_train_early_stopping_returns_best_epoch(data, monkeypatch):
    thetas = script_validation(monkeypatch, [0.5, 0.7, 0.6, 0.7, 0.65, 0.9])
    params, history = model_train(data, **(SMALL | {"epochs": 6}), patience=3)
    assert list(history.epoch) == [1, 2, 3, 4, 5]
    assert history.attrs["best_epoch"] == 2
    np.testing.assert_array_equal(params.theta, thetas[1])


def test_model_train_without_patience_runs_all_epochs_and_ties_go_to_lower_loss(data, monkeypatch):
    thetas = script_validation(monkeypatch, [0.7, 0.6, 0.7, 0.7], [1.0, 0.1, 0.8, 0.9])
    params, history = model_train(data, **(SMALL | {"epochs": 4}))
    assert len(history) == 4
    assert history.attrs["best_epoch"] == 3
    np.testing.assert_array_equal(params.theta, thetas[2])


def test_model_train_without_validation_data_returns_last_epoch(data):
    alone = dataclasses.replace(data, x_val=None, y_val=None)
    params, history = model_train(alone, **SMALL, patience=1)
    assert len(history) == 3
    assert history.val_loss.isna().all()
    assert history.attrs["best_epoch"] == 3
    np.testing.assert_array_equal(params.theta, after_epochs(data, 3))


def test_model_train_validation_data_do_not_affect_training(data, monkeypatch):
    script_validation(monkeypatch, [0.1, 0.2, 0.3])
    changed = dataclasses.replace(data, x_val=data.x_val[::-1] * 0.5, y_val=data.y_val)
    a, _ = model_train(data, **SMALL)
    b, _ = model_train(changed, **SMALL)
    np.testing.assert_array_equal(a.theta, b.theta)


def test_model_train_test_data_do_not_affect_training(data):
    a, _ = model_train(data, **SMALL)
    b, _ = model_train(dataclasses.replace(data, x_test=None, y_test=None), **SMALL)
    np.testing.assert_array_equal(a.theta, b.theta)


# ---- interrupts and divergence ----


def test_model_train_interrupt_returns_best_epoch(data):
    def stop(row):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    params, history = model_train(data, **SMALL, log=stop)
    expected, _ = model_train(data, **(SMALL | {"epochs": 2}))
    assert history.attrs["interrupted"]
    assert len(history) == 2
    np.testing.assert_array_equal(params.theta, expected.theta)


def test_model_train_interrupt_in_first_epoch_returns_current_parameters(data, monkeypatch):
    step = Trainer.step

    def stop(self, index):
        if self.t == 3:
            raise KeyboardInterrupt
        return step(self, index)

    monkeypatch.setattr(Trainer, "step", stop)
    params, history = model_train(data, **SMALL)
    attributes = {"data": "blobs", "best_epoch": None, "interrupted": True}
    assert {name: history.attrs[name] for name in attributes} == attributes
    assert list(history.columns) == COLUMNS
    assert len(history) == 0
    assert (params.theta != intial_weights(2, 16, "Xavier", inputs=20, dtype=np.float64).theta).any()


def test_training_diverged_has_last_finite_epoch(data):
    def spoil(row):
        if row["epoch"] == 2:
            data.x_train[150] = np.nan  # from here on the loss cannot be finite

    with pytest.raises(TrainingDiverged, match=r"epoch 3, step \d+, at learning_rate=0.001.*tenth") as caught:
        model_train(data, **SMALL, log=spoil)
    assert caught.value.epoch == 3
    third = batches(Trainer(blobs(), Config(**SMALL)), epochs=3)[14:]
    assert caught.value.step == 1 + [150 in index for index in third].index(True)
    assert list(caught.value.history.epoch) == [1, 2]
    np.testing.assert_array_equal(caught.value.params.theta, after_epochs(blobs(), 2))


@pytest.mark.parametrize("values", [{"learning_rate": 1e38}, {"learning_rate": 1e30, "batch_size": 1000}])
def test_model_train_huge_learning_rate_diverges_without_warning(values):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(TrainingDiverged) as caught:
            model_train(blobs(dtype=np.float32), **(SMALL | values), optimizer="sgd", activation="identity")
    assert np.isfinite(caught.value.params.theta).all()


# ---- refused arguments ----


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs=0 .*at least 1"),
        ({"batch_size": -4}, "batch_size=-4"),
        ({"batch_size": 2.5}, "batch_size=2.5"),
        ({"learning_rate": 0}, "learning_rate=0 .*above 0"),
        ({"learning_rate": math.nan}, "learning_rate=nan"),
        ({"learning_rate": math.inf}, "learning_rate=inf"),
        ({"learning_rate": "fast"}, "learning_rate='fast'"),
        ({"weight_decay": -1e-4}, "weight_decay=-0.0001 .*at least 0"),
        ({"dropout": 1}, "dropout=1 .*below 1"),
        ({"dropout": -0.1}, "dropout=-0.1"),
        ({"momentum": 1.0}, "momentum=1.0"),
        ({"beta": -1}, "beta=-1"),
        ({"beta1": 1}, "beta1=1"),
        ({"beta2": 2}, "beta2=2"),
        ({"epsilon": 0}, "epsilon=0"),
        ({"patience": 0}, "patience=0"),
        ({"num_layers": 0}, "num_layers=0"),
        ({"hidden_size": [4, 4]}, r"hidden_size=\[4, 4\]"),
        ({"hidden_size": "big"}, "hidden_size='big'"),
        ({"flip_probability": 1}, "flip_probability=1 .*below 1"),
        ({"mixup": -1}, "mixup=-1 .*at least 0"),
        ({"warmup": math.inf}, "warmup=inf"),
        ({"decoupled_weight_decay": "x"}, "decoupled_weight_decay='x'"),
        ({"schedule": "step"}, "schedule='step'.*constant, cosine"),
        ({"optimizer": "eve"}, "optimizer='eve'.*sgd, momentum, nag, rmsprop, adagrad, adadelta, adam, nadam"),
        ({"activation": None}, "activation=None"),
        ({"weight_init": 3}, "weight_init=3"),
        ({"loss": "l2"}, "loss='l2'"),
        ({"seed": -3}, "seed=-3"),
        ({"lr": 0.1}, "lr is an unknown hyperparameter.*learning_rate"),
        ({"flip_probability": 0.5}, "x_train: 20 is not the number of pixels of a square image"),
        ({"log": 5}, "log=5 must be a function of one argument"),
        ({"progress": 1}, "progress=1 must be True or False"),
        ({"resume": "yes"}, "resume='yes' must be True or False"),
    ],
)
def test_model_train_invalid_argument_refused_before_training(values, message, data, monkeypatch):
    monkeypatch.setattr(training, "intial_weights", None)
    with pytest.raises(ValueError, match=message):
        model_train(data, **values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: {"x_train": d.x_train[:, :, None]}, r"x_train is a float64 array of shape \(200, 20, 1\)"),
        (lambda d: {"x_train": d.x_train.astype(int)}, "x_train is a int64 array"),
        (lambda d: {"x_train": d.x_train.tolist()}, "x_train is a list"),
        (lambda d: {"x_train": np.where(d.x_train > 0.99, np.nan, d.x_train)}, "x_train contains NaN or infinity"),
        (lambda d: {"x_val": d.x_val / 0.0}, "x_val contains NaN or infinity"),
        (lambda d: {"x_train": d.x_train[:0], "y_train": d.y_train[:0]}, r"x_train has shape \(0, 20\).*empty"),
        (lambda d: {"x_val": d.x_val[:0], "y_val": d.y_val[:0]}, r"x_val has shape \(0, 20\).*empty"),
        (lambda d: {"x_val": d.x_val[:, 1:]}, r"x_val has shape \(100, 19\).*20"),
        (lambda d: {"x_val": d.x_val.astype(np.float32)}, "x_val is float32; x_train is float64"),
        (lambda d: {"y_train": d.y_train[1:]}, r"y_train has shape \(199, 10\).*200"),
        (lambda d: {"y_val": d.y_val[1:]}, r"y_val has shape \(99, 10\).*100"),
        (lambda d: {"y_train": d.y_train * 2}, "y_train is not one-hot"),
        (lambda d: {"y_train": d.y_train * 0}, "y_train is not one-hot"),
        (lambda d: {"y_val": d.y_val * 0.5 + 0.05}, "y_val is not one-hot"),
        (lambda d: {"y_val": d.y_val[:, :9]}, r"y_val has shape \(100, 9\).*10"),
        (lambda d: {"y_train": d.y_train.argmax(axis=1)}, "y_train is a int64 array"),
    ],
)
def test_model_train_invalid_data_refused(change, message, data, monkeypatch):
    monkeypatch.setattr(training, "intial_weights", None)
    with np.errstate(all="ignore"):
        invalid = dataclasses.replace(data, **change(data))
    with pytest.raises(ValueError, match=message):
        model_train(invalid, **SMALL)


def test_trainer_invalid_data_refused(data):
    with pytest.raises(ValueError, match="data is a dict without x_train; it must be a Dataset"):
        Trainer({}, Config())
    with pytest.raises(ValueError, match="y_train is not one-hot"):
        Trainer(dataclasses.replace(data, y_train=data.y_train * 2), Config())


# ---- several trainings ----

TINY = {"num_layers": 1, "hidden_size": 4, "epochs": 2}


def test_train_each_trains_every_configuration_with_every_seed(data):
    configurations = {"a": {"optimizer": "sgd"}, ("b", 1): {"learning_rate": 0.01}}
    histories = train_each(data, configurations, seeds=(0, 3), **TINY)
    assert list(histories) == ["a", ("b", 1)]
    for name, configuration in configurations.items():
        for seed, history in zip((0, 3), histories[name], strict=True):
            _, alone = model_train(data, seed=seed, **configuration, **TINY)
            assert history.drop(columns="seconds").equals(alone.drop(columns="seconds"))
            assert history.attrs["config"]["seed"] == seed


def test_train_each_keeps_the_epochs_before_a_divergence(data):
    configurations = {"huge": {"optimizer": "sgd", "learning_rate": 1e30, "activation": "identity"}, "usual": {}}
    histories = train_each(data, configurations, **TINY)
    table = last_epochs(histories, ("name",))
    assert histories["huge"][0].attrs["diverged"]
    assert len(histories["usual"][0]) == 2
    assert table["val_loss"].isna().tolist() == [True, False]
    assert table["name"].tolist() == ["huge", "usual"]
    assert table["seed"].tolist() == [0, 0]


def test_last_epochs_splits_keys_into_columns(data):
    histories = train_each(data, {("sgd", 0.1): {"optimizer": "sgd", "learning_rate": 0.1}}, seeds=(3,), **TINY)
    [row] = last_epochs(histories, ("optimizer", "learning_rate")).to_dict("records")
    [history] = histories["sgd", 0.1]
    assert row == {"optimizer": "sgd", "learning_rate": 0.1, "seed": 3} | history.iloc[-1].to_dict()


def test_train_each_ends_at_an_interrupt(data, monkeypatch):
    fit, trained = Trainer.fit, []

    def interrupted(self, **arguments):
        trained.append(self.config.hidden_size)
        if len(trained) == 2:
            raise KeyboardInterrupt
        fit(self, **arguments)

    monkeypatch.setattr(Trainer, "fit", interrupted)
    histories = train_each(data, {n: {"hidden_size": n} for n in (2, 3, 4)}, num_layers=1, epochs=1)
    assert trained == [2, 3]
    assert list(histories) == [2, 3, 4]
    assert [history.attrs["interrupted"] for [history] in histories.values()] == [False, True, True]
    assert [history.attrs["config"]["hidden_size"] for [history] in histories.values()] == [2, 3, 4]
    assert last_epochs(histories, ("size",))["val_loss"].isna().tolist() == [False, True, True]


# ---- threads and the progress bar ----


def test_model_train_limits_blas_to_one_thread_and_restores_it(data):
    def threads():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    with threadpool_limits(2, "blas"):
        before, seen = threads(), []
        model_train(data, **SMALL, log=lambda row: seen.append(threads()))
        assert seen == [[1] * len(before)] * 3
        assert threads() == before


@pytest.mark.parametrize(("ci", "terminal", "visible"), [("", True, True), ("", False, False), ("true", True, False)])
def test_progress_bar_visible_in_terminal_only(ci, terminal, visible, monkeypatch):
    monkeypatch.setitem(os.environ, "CI", ci)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)  # nbval imports it, but this is not a notebook
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    with contextlib.closing(training.progress_bar(True, "batch")) as bar:
        assert bar.disable is not visible
    with contextlib.closing(training.progress_bar(False, "batch")) as bar:
        assert bar.disable


@pytest.mark.parametrize("notebook", [False, True])
def test_progress_bar_names_the_training_and_leaves_an_empty_line(notebook, data, monkeypatch):
    """In a notebook it is written to standard output, and it is text, which the saved file can display."""
    written = io.StringIO()
    written.isatty = lambda: not notebook
    monkeypatch.delenv("CI")
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    if notebook:
        monkeypatch.setitem(sys.modules, "ipykernel", None)
    monkeypatch.setattr(sys, "stdout" if notebook else "stderr", written)
    model_train(data, progress="small network", **TINY)
    assert "small network: epoch 1/2, loss" in written.getvalue()
    assert written.getvalue().endswith("\r")
    assert written.getvalue().split("\r")[-2].strip() == ""


def test_progress_bar_without_stderr(data, monkeypatch):
    """sys.stderr is None in a process that has no terminal, such as pythonw."""
    monkeypatch.setitem(os.environ, "CI", "")
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    monkeypatch.setattr(sys, "stderr", None)
    with contextlib.closing(training.progress_bar(True, "batch")) as bar:
        assert bar.disable
    _, history = model_train(data, **SMALL)
    assert len(history) == 3
