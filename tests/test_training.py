"""model_train: it learns, it is exact about samples and seeds, and nothing is lost when it ends early."""

import contextlib
import dataclasses
import math
import os
import sys
import warnings

import numpy as np
import pytest
from jax import config as jax_config
from threadpoolctl import threadpool_info, threadpool_limits

from helpers import training
from helpers.config import Config
from helpers.evaluation import evaluate
from helpers.learner import Learner, TrainingDiverged
from helpers.network import backward_propagation, forward_propagation, intial_weights
from helpers.optimizers import OPTIMIZERS
from helpers.training import COLUMNS, model_train
from tests import textbook
from tests.conftest import batches, blobs

jax_config.update("jax_enable_x64", True)

SMALL = {"epochs": 3, "batch_size": 32, "num_layers": 2, "hidden_size": 16}


def test_the_history_is_a_data_frame_with_a_row_an_epoch(data):
    seen = []
    params, history = model_train(data, **SMALL, log=seen.append)
    assert list(history.columns) == COLUMNS
    assert list(history.epoch) == [1, 2, 3]
    assert history.to_dict("records") == seen
    assert (history.seconds > 0).all()
    assert history.attrs == {"data": "blobs", "best_epoch": history.val_accuracy.idxmax() + 1, "interrupted": False}
    assert params.theta.dtype == np.float64


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_learns(data, optimizer):
    rate = {"sgd": 0.1, "momentum": 0.02, "nag": 0.02, "adagrad": 0.05, "adadelta": 1}.get(optimizer, 0.01)
    _, history = model_train(
        data, epochs=30, batch_size=20, hidden_size=16, learning_rate=rate, optimizer=optimizer,
        epsilon=1e-6 if optimizer == "adadelta" else 1e-8,
    )  # fmt: skip
    assert history.val_accuracy.max() > 0.95
    assert history.train_loss.iloc[-1] < history.train_loss.iloc[0] / 2


@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
def test_twenty_samples_are_learned_by_heart(sample, loss):
    few = dataclasses.replace(sample, x_train=sample.x_train[:20], y_train=sample.y_train[:20])
    params, _ = model_train(few, epochs=300, batch_size=20, loss=loss, learning_rate=0.003, weight_init="He")
    value, accuracy = evaluate(params, few.x_train, few.y_train, activation="ReLU", loss=loss)
    assert accuracy == 1
    assert value < 1e-3


def test_training_is_the_textbook_s_full_batch_descent(data):
    """One batch an epoch, momentum, weight decay: the same as the paper's rule on the network's gradient."""
    settings = {"num_layers": 2, "hidden_size": 8, "activation": "tanh", "weight_init": "Xavier"}
    params, _ = model_train(
        dataclasses.replace(data, x_val=None, y_val=None), epochs=20, batch_size=1000, optimizer="momentum",
        momentum=0.5, learning_rate=0.3, weight_decay=0.01, **settings,
    )  # fmt: skip
    network = intial_weights(2, 8, "Xavier", inputs=20, dtype=np.float64)

    def gradient(w):
        network.theta[:] = w
        H = forward_propagation(network, data.x_train, "tanh")
        return backward_propagation(network, H, data.y_train, "tanh", "cross_entropy", weight_decay=0.01).theta.copy()

    expected = textbook.momentum(network.theta.copy(), gradient, 20, learning_rate=0.3, momentum=0.5)
    np.testing.assert_allclose(params.theta, expected, atol=1e-12)


def test_the_same_seed_gives_bitwise_the_same_run(data):
    settings = SMALL | {"dropout": 0.2}
    a, history_a = model_train(data, **settings, seed=4)
    b, history_b = model_train(data, **settings, seed=4)
    other, _ = model_train(data, **settings, seed=5)
    np.testing.assert_array_equal(a.theta, b.theta)
    assert history_a.drop(columns="seconds").equals(history_b.drop(columns="seconds"))
    assert (a.theta != other.theta).any()


def after_epochs(data, epochs):
    """The parameters as they are after so many epochs of SMALL, without model_train."""
    learner = Learner(data, Config(**SMALL))
    for epoch in range(1, epochs + 1):
        learner.train_epoch(epoch, training.progress_bar(False, "batch"))
    return learner.params.theta


def scripted(monkeypatch, accuracies, losses=None):
    """Let validation report these accuracies, and return the list of theta at the end of each epoch."""
    thetas = []

    def validate(self, epoch):
        thetas.append(self.params.theta.copy())
        return {"val_loss": losses[epoch - 1] if losses else 1.0, "val_accuracy": accuracies[epoch - 1]}

    monkeypatch.setattr(Learner, "validate", validate)
    return thetas


def test_early_stopping_returns_the_best_epoch(data, monkeypatch):
    thetas = scripted(monkeypatch, [0.5, 0.7, 0.6, 0.7, 0.65, 0.9])
    params, history = model_train(data, **(SMALL | {"epochs": 6}), patience=3)
    assert list(history.epoch) == [1, 2, 3, 4, 5]
    assert history.attrs["best_epoch"] == 2
    np.testing.assert_array_equal(params.theta, thetas[1])


def test_without_patience_every_epoch_is_run_and_ties_go_to_the_lower_loss(data, monkeypatch):
    thetas = scripted(monkeypatch, [0.7, 0.6, 0.7, 0.7], [1.0, 0.1, 0.8, 0.9])
    params, history = model_train(data, **(SMALL | {"epochs": 4}))
    assert len(history) == 4
    assert history.attrs["best_epoch"] == 3
    np.testing.assert_array_equal(params.theta, thetas[2])


def test_without_validation_data_the_last_epoch_is_returned(data):
    alone = dataclasses.replace(data, x_val=None, y_val=None)
    params, history = model_train(alone, **SMALL, patience=1)
    assert len(history) == 3
    assert history.val_loss.isna().all()
    assert history.attrs["best_epoch"] == 3
    np.testing.assert_array_equal(params.theta, after_epochs(data, 3))


def test_validation_data_do_not_reach_training(data, monkeypatch):
    scripted(monkeypatch, [0.1, 0.2, 0.3])
    spoiled = dataclasses.replace(data, x_val=data.x_val[::-1] * 0.5, y_val=data.y_val)
    a, _ = model_train(data, **SMALL)
    b, _ = model_train(spoiled, **SMALL)
    np.testing.assert_array_equal(a.theta, b.theta)


def test_test_data_do_not_reach_training(data):
    a, _ = model_train(data, **SMALL)
    b, _ = model_train(dataclasses.replace(data, x_test=None, y_test=None), **SMALL)
    np.testing.assert_array_equal(a.theta, b.theta)


def test_an_interrupted_run_returns_its_best_epoch(data):
    def stop(row):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    params, history = model_train(data, **SMALL, log=stop)
    expected, _ = model_train(data, **(SMALL | {"epochs": 2}))
    assert history.attrs["interrupted"]
    assert len(history) == 2
    np.testing.assert_array_equal(params.theta, expected.theta)


def test_a_run_interrupted_in_its_first_epoch_returns_what_it_has(data, monkeypatch):
    update = Learner.update

    def stop(self, index):
        if self.t == 3:
            raise KeyboardInterrupt
        return update(self, index)

    monkeypatch.setattr(Learner, "update", stop)
    params, history = model_train(data, **SMALL)
    assert history.attrs == {"data": "blobs", "best_epoch": None, "interrupted": True}
    assert list(history.columns) == COLUMNS
    assert len(history) == 0
    assert (params.theta != intial_weights(2, 16, "Xavier", inputs=20, dtype=np.float64).theta).any()


def test_divergence_is_an_error_that_keeps_the_last_finite_epoch(data):
    def spoil(row):
        if row["epoch"] == 2:
            data.x_train[150] = np.nan  # from here on the loss cannot be finite

    with pytest.raises(TrainingDiverged, match=r"epoch 3, step \d+, at learning_rate=0.001.*tenth") as caught:
        model_train(data, **SMALL, log=spoil)
    assert caught.value.epoch == 3
    third = batches(Learner(blobs(), Config(**SMALL)), epochs=3)[14:]
    assert caught.value.step == 1 + [150 in index for index in third].index(True)
    assert list(caught.value.history.epoch) == [1, 2]
    np.testing.assert_array_equal(caught.value.params.theta, after_epochs(blobs(), 2))


@pytest.mark.parametrize("settings", [{"learning_rate": 1e38}, {"learning_rate": 1e30, "batch_size": 1000}])
def test_an_absurd_rate_diverges_without_a_warning(settings):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(TrainingDiverged) as caught:
            model_train(blobs(dtype=np.float32), **(SMALL | settings), optimizer="sgd", activation="identity")
    assert np.isfinite(caught.value.params.theta).all()


@pytest.mark.parametrize(
    ("settings", "words"),
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
        ({"flip": 1}, "flip=1 .*below 1"),
        ({"mixup": -1}, "mixup=-1 .*at least 0"),
        ({"warmup": math.inf}, "warmup=inf"),
        ({"decoupled_weight_decay": "x"}, "decoupled_weight_decay='x'"),
        ({"schedule": "step"}, "schedule='step'.*constant, cosine"),
        ({"optimizer": "eve"}, "optimizer='eve'.*sgd, momentum, nag, rmsprop, adagrad, adadelta, adam, nadam"),
        ({"activation": None}, "activation=None"),
        ({"weight_init": 3}, "weight_init=3"),
        ({"loss": "l2"}, "loss='l2'"),
        ({"seed": -3}, "seed=-3"),
        ({"lr": 0.1}, "lr is an unknown setting.*learning_rate"),
        ({"flip": 0.5}, "X: 20 columns are no square image"),
        ({"log": 5}, "log=5 must be a function of one argument"),
        ({"progress": 1}, "progress=1 must be True or False"),
        ({"resume": "yes"}, "resume='yes' must be True or False"),
    ],
)
def test_bad_settings_are_refused_before_any_work(settings, words, data, monkeypatch):
    monkeypatch.setattr(training, "Learner", None)
    with pytest.raises(ValueError, match=words):
        model_train(data, **settings)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: {"x_train": d.x_train[:, :, None]}, r"x_train is a float64 array of shape \(200, 20, 1\)"),
        (lambda d: {"x_train": d.x_train.astype(int)}, "x_train is a int64 array"),
        (lambda d: {"x_train": d.x_train.tolist()}, "x_train is a list"),
        (lambda d: {"x_train": np.where(d.x_train > 0.99, np.nan, d.x_train)}, "x_train holds NaN or infinity"),
        (lambda d: {"x_val": d.x_val / 0.0}, "x_val holds NaN or infinity"),
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
def test_bad_data_are_refused(change, words, data, monkeypatch):
    monkeypatch.setattr(training, "Learner", None)
    with np.errstate(all="ignore"):
        spoiled = dataclasses.replace(data, **change(data))
    with pytest.raises(ValueError, match=words):
        model_train(spoiled, **SMALL)


def test_blas_runs_on_one_thread_while_training_and_gets_its_threads_back(data):
    def threads():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    with threadpool_limits(2, "blas"):
        before, seen = threads(), []
        model_train(data, **SMALL, log=lambda row: seen.append(threads()))
        assert seen == [[1] * len(before)] * 3
        assert threads() == before


@pytest.mark.parametrize(("ci", "terminal", "shown"), [("", True, True), ("", False, False), ("true", True, False)])
def test_the_bar_is_for_somebody_who_looks(ci, terminal, shown, monkeypatch):
    monkeypatch.setitem(os.environ, "CI", ci)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)  # nbval brings it, but this is no notebook
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    with contextlib.closing(training.progress_bar(True, "batch")) as bar:
        assert bar.disable is not shown
    with contextlib.closing(training.progress_bar(False, "batch")) as bar:
        assert bar.disable
