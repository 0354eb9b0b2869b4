"""Learner: each step is the textbook's, each sample is seen once an epoch, and no setting is left out."""

import dataclasses
import math
import pickle
import re
import tracemalloc

import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import config as jax_config

from helpers.config import Config
from helpers.evaluation import evaluate
from helpers.learner import LOOK, Learner, TrainingDiverged
from helpers.network import backward_propagation, dropout_masks, forward_propagation
from helpers.training import model_train, progress_bar
from tests.conftest import batches, blobs

jax_config.update("jax_enable_x64", True)

SMALL = {"epochs": 3, "batch_size": 32, "num_layers": 2, "hidden_size": 16}


@given(st.integers(1, 300), st.integers(1, 310), st.integers(0, 9))
def test_batches_partition_the_samples(N, batch_size, seed):
    cut = batches(Learner(blobs(N), Config(batch_size=batch_size, hidden_size=1, seed=seed)))
    assert sorted(np.concatenate(cut)) == list(range(N))
    assert [len(b) for b in cut[:-1]] == [batch_size] * (len(cut) - 1)
    assert 1 <= len(cut[-1]) <= batch_size


def test_samples_are_shuffled_anew_each_epoch_not_whole_batches():
    both = batches(Learner(blobs(64), Config(batch_size=8, hidden_size=1)), epochs=2)
    first, second = both[:8], both[8:]
    assert not any(set(a) == set(b) for a in first for b in second)
    assert not any(set(a) == set(range(i, i + 8)) for i, a in enumerate(first))


def test_the_running_loss_and_accuracy_are_those_of_every_batch_at_its_time(data):
    """More batches than LOOK, the last one short: the epoch's means are over samples, each before its step."""
    config = Config(hidden_size=8, batch_size=3, learning_rate=0.01, optimizer="sgd")
    row = Learner(data, config).train_epoch(1, progress_bar(False, "batch"))
    again, losses, hits = Learner(data, config), 0, 0
    for index in batches(Learner(data, config)):
        X, Y = data.x_train[index], data.y_train[index]
        loss, accuracy = evaluate(again.params, X, Y, activation="ReLU", loss="cross_entropy")
        losses, hits = losses + loss * len(index), hits + accuracy * len(index)
        again.update(index)
    assert again.t == 67 > LOOK
    assert row == {"train_loss": pytest.approx(losses / 200), "train_accuracy": pytest.approx(hits / 200)}


def test_no_denormal_number_stays_in_the_optimizer_s_memory():
    """An input that is never on again: the mean of its gradient shrinks, and has to end at zero."""
    data = blobs(60, dtype=np.float32)
    data.x_train[:, 0] = 0
    learner = Learner(data, Config(hidden_size=4, batch_size=1, optimizer="adam"))
    learner.update(np.arange(60))
    m = learner.memory[0]
    m[:4] = 1e-37  # the weights of the first input
    for epoch in range(1, 7):
        learner.train_epoch(epoch, progress_bar(False, "batch"))
    assert (m[:4] == 0).all()
    assert (np.abs(m[m != 0]) >= np.finfo(np.float32).tiny).all()


def test_a_short_last_batch_counts_by_its_samples(data):
    """With a rate too small to move, the running loss of 7 + 7 + … + 4 samples is that of the whole set."""
    _, history = model_train(data, **(SMALL | {"epochs": 1, "batch_size": 7}), learning_rate=1e-12)
    learner = Learner(data, Config(**SMALL))
    loss, accuracy = evaluate(learner.params, data.x_train, data.y_train, activation="ReLU", loss="cross_entropy")
    assert history.train_loss[0] == pytest.approx(loss, rel=1e-9)
    assert history.train_accuracy[0] == pytest.approx(accuracy)


def test_every_setting_reaches_the_maths(data):
    """Each field of Config changes the parameters that come out."""
    data = blobs(inputs=25)
    changes = {
        "epochs": 2, "batch_size": 16, "learning_rate": 0.003, "weight_decay": 0.1, "num_layers": 1, "hidden_size": 8,
        "activation": "tanh", "weight_init": "He", "loss": "mean_squared_error", "optimizer": "adam",
        "momentum": 0.5, "beta": 0.5, "beta1": 0.5, "beta2": 0.5, "epsilon": 0.1, "dropout": 0.3, "patience": 1,
        "seed": 9, "schedule": "cosine", "warmup": 1, "decoupled_weight_decay": 0.1, "flip": 0.3, "mixup": 0.2,
        "receptive_field": 2,
    }  # fmt: skip
    user = {"momentum": "nag", "beta": "rmsprop"}
    assert set(changes) == {field.name for field in dataclasses.fields(Config)}
    for name, value in changes.items():
        settings = SMALL | {"optimizer": user.get(name, "nadam")}
        if name == "patience":
            settings |= {"epochs": 40, "learning_rate": 0.1}
        before, _ = model_train(data, **settings)
        after, history = model_train(data, **(settings | {name: value}))
        different = before.theta.shape != after.theta.shape or (before.theta != after.theta).any()
        assert different if name != "patience" else len(history) < 40, name


@pytest.mark.parametrize("batch_size", [64, 1000])
@pytest.mark.parametrize("decay", ["weight_decay", "decoupled_weight_decay"])
def test_warm_up_cosine_and_decay_are_what_an_independent_library_does(decay, batch_size, data):
    """Three epochs beside optax's adam, which gets each step's rate, and AdamW's decay, from the equations."""
    config = Config(
        epochs=3, batch_size=batch_size, hidden_size=6, activation="tanh", optimizer="adam", learning_rate=0.05,
        epsilon=1e-3, schedule="cosine", warmup=1.5, **{decay: 0.3},
    )  # fmt: skip
    learner, peer = Learner(data, config), Learner(data, config).params
    is_weight = np.concatenate([np.r_[np.ones(W.size), np.zeros(b.size)] for W, b in peer.layers])
    rule = optax.inject_hyperparams(optax.adam)(0.0, eps=1e-3)
    state, order = rule.init(peer.theta), batches(Learner(data, config), epochs=3)
    for t, index in enumerate(order, start=1):
        learner.update(index)
        H = forward_propagation(peer, data.x_train[index], "tanh")
        gradient = backward_propagation(
            peer, H, data.y_train[index], "tanh", "cross_entropy", weight_decay=config.weight_decay
        )
        rate = 0.05 * min(1, t / (len(order) / 2)) * (1 + math.cos(math.pi * t / len(order))) / 2
        state.hyperparams["learning_rate"] = rate
        updates, state = rule.update(gradient.theta, state)
        decayed = rate * config.decoupled_weight_decay * is_weight * peer.theta
        peer.theta[:] += np.asarray(updates) - decayed
    np.testing.assert_allclose(learner.params.theta, peer.theta, rtol=0, atol=1e-9)


def test_weight_decay_leaves_the_biases(data):
    learner = Learner(data, Config(**SMALL, weight_decay=0.5))
    plain = Learner(data, Config(**SMALL))
    for each in (learner, plain):
        each.params.theta[:] += 0.1
        each.update(np.arange(32))
    for (dW, db), (dW_plain, db_plain) in zip(learner.gradient.layers, plain.gradient.layers):
        np.testing.assert_array_equal(db, db_plain)
        assert (dW != dW_plain).all()


def test_dropout_is_for_training_alone(data):
    params, history = model_train(data, **SMALL, dropout=0.5)
    loss, accuracy = evaluate(params, data.x_val, data.y_val, activation="ReLU", loss="cross_entropy")
    row = history.iloc[history.attrs["best_epoch"] - 1]
    assert (loss, accuracy) == pytest.approx((row.val_loss, row.val_accuracy))


@pytest.mark.parametrize("activation", ["ReLU", "sigmoid", "tanh"])
def test_a_step_allocates_nothing_of_the_size_of_the_parameters(activation, sample):
    learner = Learner(sample, Config(hidden_size=256, dropout=0.1, weight_decay=1e-4, activation=activation))
    index = np.arange(64)
    learner.update(index)
    tracemalloc.start()
    learner.update(index)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 256 * 4  # less than one hidden layer's activations; theta is 1.3 MB


def test_weights_that_overflow_at_the_last_step_are_divergence(data):
    """The loss of that step was read before it, so it is still finite."""
    learner = Learner(data, Config(**SMALL))

    def rule(theta, g, t, *memory, **rates):
        theta[0] = np.inf if t == 7 else 0

    learner.rule = rule
    with pytest.raises(TrainingDiverged) as caught:
        learner.train_epoch(1, progress_bar(False, "batch"))
    assert (caught.value.epoch, caught.value.step) == (1, 7)


def test_a_validation_loss_that_is_not_finite_is_divergence(data, monkeypatch):
    monkeypatch.setattr("helpers.learner.evaluate", lambda *_, **__: (math.nan, 0.1))
    with pytest.raises(TrainingDiverged, match="epoch 3, step after the last"):
        Learner(data, Config(**SMALL)).validate(3)


def test_divergence_can_be_passed_between_processes():
    error = pickle.loads(pickle.dumps(TrainingDiverged(2, 5, 0.5)))
    assert (error.epoch, error.step, error.learning_rate) == (2, 5, 0.5)
    assert "epoch 2, step 5" in str(error)


def test_first_weights_follow_the_data_and_the_seed():
    learner = Learner(blobs(inputs=12, classes=4), Config(num_layers=1, hidden_size=5))
    assert learner.sizes == [12, 5, 4]
    assert [W.shape for W, _ in learner.params.layers] == [(12, 5), (5, 4)]
    assert learner.params.theta.dtype == np.float64
    other = Learner(blobs(inputs=12, classes=4), Config(num_layers=1, hidden_size=5, seed=1))
    assert (learner.params.layers[0][0] != other.params.layers[0][0]).all()


def test_a_step_with_dropout_is_that_of_the_network_with_its_masks(data):
    config = Config(num_layers=2, hidden_size=7, activation="tanh", dropout=0.4, optimizer="sgd", learning_rate=0.5)
    learner, peer = Learner(data, config), Learner(data, config)
    index = np.arange(9)
    learner.update(index)
    masks = dropout_masks(peer.rng, 0.4, out=[None, np.empty((9, 7)), np.empty((9, 7))])
    H = forward_propagation(peer.params, data.x_train[index], "tanh", masks=masks)
    gradient = backward_propagation(peer.params, H, data.y_train[index], "tanh", "cross_entropy", masks=masks)
    np.testing.assert_allclose(learner.params.theta, peer.params.theta - 0.5 * gradient.theta, atol=1e-12)


def test_the_bar_goes_from_nothing_to_every_batch(data):
    bar = progress_bar(False, "batch")
    shown = []
    for name in ("reset", "set_description", "update"):
        setattr(bar, name, lambda *given, name=name, **more: shown.append((name, *given, *more.values())))
    Learner(data, Config(**(SMALL | {"batch_size": 3}))).train_epoch(2, bar)
    assert shown[0] == ("reset", 67)
    assert sum(given[1] for given in shown if given[0] == "update") == 67
    texts = [given[1] for given in shown if given[0] == "set_description"]
    assert len(texts) == 2
    assert all(re.fullmatch(r"epoch 2/3, loss \d\.\d{4}", text) for text in texts)


def test_with_mirror_images_in_training_validation_is_over_both():
    data = blobs(inputs=25)
    how = {"activation": "ReLU", "loss": "cross_entropy"}
    for flip in (0, 0.5):
        learner = Learner(data, Config(**SMALL, flip=flip))
        loss, share = evaluate(learner.params, data.x_val, data.y_val, mirror=flip > 0, **how)
        assert learner.validate(1) == {"val_loss": loss, "val_accuracy": share}
    assert loss != evaluate(learner.params, data.x_val, data.y_val, **how)[0]


def test_without_validation_data_there_is_no_number():
    row = Learner(blobs(validation=False), Config(**SMALL)).validate(1)
    assert list(row) == ["val_loss", "val_accuracy"]
    assert all(math.isnan(value) for value in row.values())
