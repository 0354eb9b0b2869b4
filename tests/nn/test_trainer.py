"""Trainer: batches, steps, learning rate, validation, divergence, and the record of the epochs."""

import dataclasses
import math
import pickle
import re

import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import config as jax_config

from helpers.nn import training
from helpers.nn.config import Config
from helpers.nn.engine import NumpyEngine, flush_limit
from helpers.nn.metrics import evaluate
from helpers.nn.network import backward_propagation, dropout_masks, forward_propagation
from helpers.nn.training import CHECK_EVERY, Trainer, TrainingDiverged, model_train, progress_bar
from tests.support.datasets import batches, blobs

jax_config.update("jax_enable_x64", True)

SMALL = {"epochs": 3, "batch_size": 32, "num_layers": 2, "hidden_size": 16}


# ---- batches ----


@given(st.integers(1, 300), st.integers(1, 310), st.integers(0, 9))
def test_train_epoch_batches_partition_samples(N, batch_size, seed):
    parts = batches(Trainer(blobs(N, validation=False), Config(batch_size=batch_size, hidden_size=1, seed=seed)))
    assert sorted(np.concatenate(parts)) == list(range(N))
    assert [len(b) for b in parts[:-1]] == [batch_size] * (len(parts) - 1)
    assert 1 <= len(parts[-1]) <= batch_size


def test_train_epoch_shuffles_samples_not_batches():
    both = batches(Trainer(blobs(64), Config(batch_size=8, hidden_size=1)), epochs=2)
    first, second = both[:8], both[8:]
    assert not any(set(a) == set(b) for a in first for b in second)
    assert not any(set(a) == set(range(i, i + 8)) for i, a in enumerate(first))


# ---- loss and accuracy of an epoch ----


def test_train_epoch_metrics_are_means_over_samples(data):
    """With more batches than CHECK_EVERY and a short last batch; each batch is evaluated before its update."""
    config = Config(hidden_size=8, batch_size=3, learning_rate=0.01, optimizer="sgd")
    row = Trainer(data, config).train_epoch(1, progress_bar(False, "batch"))
    replay, losses, correct = Trainer(data, config), 0, 0
    for index in batches(Trainer(data, config)):
        X, Y = data.x_train[index], data.y_train[index]
        loss, accuracy = evaluate(replay.params, X, Y, activation="ReLU", loss="cross_entropy")
        losses, correct = losses + loss * len(index), correct + accuracy * len(index)
        replay.step(index)
    assert replay.t == 67 > CHECK_EVERY
    assert row == {"train_loss": pytest.approx(losses / 200), "train_accuracy": pytest.approx(correct / 200)}


def test_train_epoch_weights_short_last_batch_by_size(data):
    """With a negligible learning rate, the mean over batches of 7, 7, …, 4 samples is that of the whole set."""
    _, history = model_train(data, **(SMALL | {"epochs": 1, "batch_size": 7}), learning_rate=1e-12)
    trainer = Trainer(data, Config(**SMALL))
    loss, accuracy = evaluate(trainer.params, data.x_train, data.y_train, activation="ReLU", loss="cross_entropy")
    assert history.train_loss[0] == pytest.approx(loss, rel=1e-9)
    assert history.train_accuracy[0] == pytest.approx(accuracy)


def test_train_epoch_progress_bar_counts_all_batches(data):
    bar = progress_bar(False, "batch")
    calls = []
    for name in ("reset", "set_description", "update"):
        setattr(bar, name, lambda *values, name=name, **more: calls.append((name, *values, *more.values())))
    Trainer(data, Config(**(SMALL | {"batch_size": 3}))).train_epoch(2, bar)
    assert calls[0] == ("reset", 67)
    assert sum(call[1] for call in calls if call[0] == "update") == 67
    texts = [call[1] for call in calls if call[0] == "set_description"]
    assert len(texts) == 2
    assert all(re.fullmatch(r"epoch 2/3, loss \d\.\d{4}", text) for text in texts)


# ---- denormal numbers ----


def test_flush_denormals_values():
    limit = flush_limit(np.float32)
    vector = np.array([limit, limit / 2, -limit / 2, -limit, 0, 1], np.float32)
    NumpyEngine().flush_denormals(vector)
    np.testing.assert_array_equal(vector, np.array([limit, 0, 0, -limit, 0, 1], np.float32))


def test_moving_average_stays_normal_between_flushes():
    """Also its product with the learning rate: denormal numbers make an update several times slower."""
    smallest = flush_limit(np.float32) * 0.9**CHECK_EVERY * 0.001
    assert smallest > np.finfo(np.float32).tiny


def test_train_epoch_leaves_no_denormals_in_state():
    """The gradient of an input that is always 0 is 0: its moving average shrinks and must reach zero."""
    data = blobs(60, dtype=np.float32)
    data.x_train[:, 0] = 0
    trainer = Trainer(data, Config(hidden_size=4, batch_size=1, optimizer="adam"))
    trainer.step(np.arange(60))
    m = trainer.state[0]
    m[:4] = 1e-37  # the weights of the first input
    for epoch in range(1, 7):
        trainer.train_epoch(epoch, progress_bar(False, "batch"))
    assert (m[:4] == 0).all()
    assert (np.abs(m[m != 0]) >= np.finfo(np.float32).tiny).all()


# ---- hyperparameters ----

CHANGES = {
    "epochs": 2, "batch_size": 16, "learning_rate": 0.003, "weight_decay": 0.1, "num_layers": 1, "hidden_size": 8,
    "activation": "tanh", "weight_init": "He", "loss": "mean_squared_error", "optimizer": "adam",
    "momentum": 0.5, "beta": 0.5, "beta1": 0.5, "beta2": 0.5, "epsilon": 0.1, "dropout": 0.3, "patience": 1,
    "seed": 9, "schedule": "cosine", "warmup": 1, "decoupled_weight_decay": 0.1, "flip_probability": 0.3, "mixup": 0.2,
    "receptive_field": 2, "max_shift": 1,
}  # fmt: skip


def test_changes_cover_every_hyperparameter():
    assert set(CHANGES) == {field.name for field in dataclasses.fields(Config)}


@pytest.mark.parametrize("name", CHANGES)
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


def test_trainer_uses_defaults_of_update_rule(data):
    trainer = Trainer(data, Config(optimizer="adadelta"))
    assert trainer.hyperparameters == {"learning_rate": 1.0, "beta": 0.9, "epsilon": 1e-6}
    trainer = Trainer(data, Config(optimizer="adadelta", learning_rate=0.5))
    assert trainer.hyperparameters == {"learning_rate": 0.5, "beta": 0.9, "epsilon": 1e-6}


# ---- learning rate ----


def learning_rates(data, **values):
    """Return the learning rates that the update rule receives in a whole training."""
    trainer, rates = Trainer(data, Config(hidden_size=2, num_layers=1, **values)), []
    trainer.rule = lambda theta, g, t, *state, learning_rate, **more: rates.append(learning_rate)
    trainer.fit(progress=False)
    return rates


def test_learning_rate_cosine_starts_at_full_rate_and_ends_above_zero(data):
    rates = learning_rates(data, epochs=2, batch_size=50, learning_rate=0.4, schedule="cosine")
    np.testing.assert_allclose(rates, [0.2 * (1 + math.cos(math.pi * t / 8)) for t in range(8)], rtol=1e-12)
    assert rates[0] == 0.4
    assert rates[-1] > 0


def test_learning_rate_cosine_single_update(data):
    assert learning_rates(data, epochs=1, batch_size=200, learning_rate=0.4, schedule="cosine") == [0.4]


def test_learning_rate_constant_by_default(data):
    assert learning_rates(data, epochs=2, batch_size=50, learning_rate=0.4) == [0.4] * 8


def test_learning_rate_linear_warmup(data):
    """The warm-up counts from the first update, so that no update has the rate 0, and reaches the full rate."""
    rates = learning_rates(data, epochs=2, batch_size=50, learning_rate=0.4, warmup=1.5)
    np.testing.assert_allclose(rates, 0.4 * np.minimum(1, np.arange(1, 9) / 6), rtol=1e-12)


@pytest.mark.parametrize("batch_size", [64, 1000])
@pytest.mark.parametrize("decay", ["weight_decay", "decoupled_weight_decay"])
def test_step_with_warmup_cosine_and_decay_matches_optax(decay, batch_size, data):
    """Three epochs next to optax's adam, which gets the rate of each step, with AdamW's decay from the equations."""
    config = Config(
        epochs=3, batch_size=batch_size, hidden_size=6, activation="tanh", optimizer="adam", learning_rate=0.05,
        epsilon=1e-3, schedule="cosine", warmup=1.5, **{decay: 0.3},
    )  # fmt: skip
    trainer, reference = Trainer(data, config), Trainer(data, config).params
    is_weight = np.concatenate([np.r_[np.ones(W.size), np.zeros(b.size)] for W, b in reference.layers])
    rule = optax.inject_hyperparams(optax.adam)(0.0, eps=1e-3)
    state, order = rule.init(reference.theta), batches(Trainer(data, config), epochs=3)
    for t, index in enumerate(order, start=1):
        trainer.step(index)
        H = forward_propagation(reference, data.x_train[index], "tanh")
        gradient = backward_propagation(
            reference, H, data.y_train[index], "tanh", "cross_entropy", weight_decay=config.weight_decay
        )
        rate = 0.05 * min(1, t / (len(order) / 2)) * (1 + math.cos(math.pi * (t - 1) / len(order))) / 2
        state.hyperparams["learning_rate"] = rate
        updates, state = rule.update(gradient.theta, state)
        decayed = rate * config.decoupled_weight_decay * is_weight * reference.theta
        reference.theta[:] += np.asarray(updates) - decayed
    np.testing.assert_allclose(trainer.params.theta, reference.theta, rtol=0, atol=1e-9)


# ---- one step ----


@pytest.mark.parametrize("decay", ["weight_decay", "decoupled_weight_decay"])
def test_step_weight_decay_excludes_biases(data, decay):
    decayed, plain = (
        Trainer(data, Config(**SMALL, optimizer="sgd", learning_rate=0.1, **values)) for values in ({decay: 0.5}, {})
    )
    for trainer in (decayed, plain):
        trainer.params.theta[:] += 0.1
        trainer.step(np.arange(32))
    for (W, b), (W_plain, b_plain) in zip(decayed.params.layers, plain.params.layers, strict=True):
        np.testing.assert_array_equal(b, b_plain)
        assert (W_plain != W).all()


def test_step_with_dropout_matches_network_with_same_masks(data):
    config = Config(num_layers=2, hidden_size=7, activation="tanh", dropout=0.4, optimizer="sgd", learning_rate=0.5)
    trainer, reference = Trainer(data, config), Trainer(data, config)
    index = np.arange(9)
    trainer.step(index)
    masks = [None, *dropout_masks(reference.rng, 0.4, [(9, 7), (9, 7)], np.float64)]
    H = forward_propagation(reference.params, data.x_train[index], "tanh", masks=masks)
    gradient = backward_propagation(reference.params, H, data.y_train[index], "tanh", "cross_entropy", masks=masks)
    np.testing.assert_allclose(trainer.params.theta, reference.params.theta - 0.5 * gradient.theta, atol=1e-12)


def test_dropout_is_off_in_validation(data):
    params, history = model_train(data, **SMALL, dropout=0.5)
    loss, accuracy = evaluate(params, data.x_val, data.y_val, activation="ReLU", loss="cross_entropy")
    row = history.iloc[history.attrs["best_epoch"] - 1]
    assert (loss, accuracy) == pytest.approx((row.val_loss, row.val_accuracy))


def test_initial_weights_depend_on_data_and_seed():
    trainer = Trainer(blobs(inputs=12, classes=4), Config(num_layers=1, hidden_size=5))
    assert trainer.sizes == [12, 5, 4]
    assert [W.shape for W, _ in trainer.params.layers] == [(12, 5), (5, 4)]
    assert trainer.params.theta.dtype == np.float64
    other = Trainer(blobs(inputs=12, classes=4), Config(num_layers=1, hidden_size=5, seed=1))
    assert (trainer.params.layers[0][0] != other.params.layers[0][0]).all()


# ---- validation ----


def test_validate_with_flips_averages_both_orientations():
    data = blobs(inputs=25)
    arguments = {"activation": "ReLU", "loss": "cross_entropy"}
    for p in (0, 0.5):
        trainer = Trainer(data, Config(**SMALL, flip_probability=p))
        loss, accuracy = evaluate(trainer.params, data.x_val, data.y_val, flip_tta=p > 0, **arguments)
        assert trainer.validate(1) == {"val_loss": loss, "val_accuracy": accuracy}
    assert loss != evaluate(trainer.params, data.x_val, data.y_val, **arguments)[0]


def test_validate_with_shifts_averages_them():
    data = blobs(inputs=25)
    trainer = Trainer(data, Config(**SMALL, max_shift=1))
    loss, accuracy = evaluate(
        trainer.params, data.x_val, data.y_val, activation="ReLU", loss="cross_entropy", shift_tta=True
    )
    assert trainer.validate(1) == {"val_loss": loss, "val_accuracy": accuracy}


def test_validate_without_validation_data_is_nan():
    row = Trainer(blobs(validation=False), Config(**SMALL)).validate(1)
    assert list(row) == ["val_loss", "val_accuracy"]
    assert all(math.isnan(value) for value in row.values())


# ---- divergence ----


def test_train_epoch_overflow_in_last_step_is_divergence(data):
    """The loss of that step is computed before its update and is still finite."""
    trainer = Trainer(data, Config(**SMALL))

    def rule(theta, g, t, *state, **hyperparameters):
        theta[0] = np.inf if t == 7 else 0

    trainer.rule = rule
    with pytest.raises(TrainingDiverged) as caught:
        trainer.train_epoch(1, progress_bar(False, "batch"))
    assert (caught.value.epoch, caught.value.step) == (1, 7)


def test_validate_loss_not_finite_is_divergence(data, monkeypatch):
    monkeypatch.setattr(training, "evaluate", lambda *_, **__: (math.nan, 0.1))
    with pytest.raises(TrainingDiverged, match=r"epoch 3, step 7, at learning_rate=0\.001") as caught:
        Trainer(data, Config(**SMALL)).validate(3)
    assert (caught.value.epoch, caught.value.step) == (3, 7)


@pytest.mark.parametrize("learning_rate", [0.5, None])
def test_training_diverged_can_be_pickled(learning_rate):
    error = pickle.loads(pickle.dumps(TrainingDiverged(2, 5, learning_rate)))
    assert (error.epoch, error.step, error.learning_rate) == (2, 5, learning_rate)
    assert "epoch 2, step 5" in str(error)


# ---- the record of the epochs ----


def row(epoch, val_accuracy=0.5, val_loss=1.0):
    return {
        "epoch": epoch, "train_loss": 1.0, "train_accuracy": 0.5, "val_loss": val_loss, "val_accuracy": val_accuracy,
        "seconds": 0.1,
    }  # fmt: skip


def test_record_epoch_keeps_best_parameters(data):
    trainer = Trainer(data, Config(**SMALL))
    for epoch, (accuracy, loss) in enumerate([(0.5, 1.0), (0.7, 1.0), (0.7, 0.9), (0.7, 0.9), (0.6, 0.1)], start=1):
        trainer.params.theta[:] = epoch
        trainer.record_epoch(row(epoch, accuracy, loss))
    assert trainer.finished.best_epoch == 3
    assert (trainer.best_params().theta == 3).all()
    assert (trainer.finished.last_theta == 5).all()
    assert len(trainer.history()) == 5


def test_best_params_before_first_epoch_are_current(data):
    trainer = Trainer(data, Config(**SMALL))
    trainer.params.theta[:] = 7
    assert (trainer.best_params().theta == 7).all()


def test_should_stop_after_patience(data):
    trainer = Trainer(data, Config(**SMALL, patience=2))
    decisions = [trainer.should_stop()]
    for epoch, accuracy in enumerate([0.5, 0.4, 0.6, 0.5, 0.6], start=1):
        trainer.record_epoch(row(epoch, accuracy))
        decisions.append(trainer.should_stop())
    assert decisions == [False, False, False, False, False, True]
    assert not Trainer(data, Config(**SMALL)).should_stop()


def test_fit_log_gets_copy_of_row(data):
    """A callback may change its row; history and best epoch stay as they are."""

    def spoil(row):
        row.update(val_accuracy=-float(row["epoch"]), val_loss=0.0, extra="x")

    plain, history = model_train(data, **SMALL)
    params, spoiled = model_train(data, **SMALL, log=spoil)
    assert spoiled.drop(columns="seconds").equals(history.drop(columns="seconds"))
    assert spoiled.attrs == history.attrs
    np.testing.assert_array_equal(params.theta, plain.theta)


def test_state_dict_round_trip(data):
    """A new Trainer that loads the state takes the same next epoch."""
    trainer = Trainer(data, Config(**SMALL, dropout=0.2))
    trainer.record_epoch(row(1) | trainer.train_epoch(1, progress_bar(False, "batch")))
    other = Trainer(data, Config(**SMALL, dropout=0.2))
    other.load_state_dict(trainer.state_dict())
    assert other.finished.history == trainer.finished.history
    for each in (trainer, other):
        each.train_epoch(2, progress_bar(False, "batch"))
    np.testing.assert_array_equal(other.params.theta, trainer.params.theta)
    np.testing.assert_array_equal(other.finished.best_theta, trainer.finished.best_theta)
