"""The training loop: batches, steps, learning rate, decay, and what the hooks may do."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.nn import OPTIMIZERS, Hooks, TrainingState, init_state, intial_weights, train
from helpers.nn.functions import LOSSES
from helpers.nn.network import backward_propagation, forward_propagation
from tests.support import textbook
from tests.support.datasets import blobs

DATA = blobs()


def start(rule, hidden_size=6, inputs=20, num_layers=2):
    params = intial_weights(num_layers, hidden_size, inputs=inputs, dtype=np.float64)
    return TrainingState(params, init_state(rule, params.theta), np.random.default_rng(1))


def fit(rule=OPTIMIZERS["sgd"], data=DATA, **options):
    """Train a new network and return its state."""
    state = start(rule)
    train(state, data.x_train, data.y_train, rule, **options)
    return state


def batches(N, batch_size, epochs):
    """Return the numbers of the samples in each batch of a training."""
    seen = []

    class Record(Hooks):
        def batch(self, rng, X, Y):
            seen.append(X[:, 0].astype(int).tolist())

    state = start(OPTIMIZERS["sgd"], 1, inputs=1, num_layers=1)
    X = np.arange(N, dtype=float).reshape(N, 1)
    train(
        state, X, np.eye(10)[np.arange(N) % 10], OPTIMIZERS["sgd"], epochs=epochs, batch_size=batch_size,
        hooks=Record(), learning_rate=0.0,
    )  # fmt: skip
    return seen


@given(st.integers(1, 300), st.integers(1, 310))
def test_batches_partition_samples(N, batch_size):
    parts = batches(N, batch_size, epochs=1)
    assert sorted(n for part in parts for n in part) == list(range(N))
    assert [len(part) for part in parts[:-1]] == [batch_size] * (len(parts) - 1)
    assert 1 <= len(parts[-1]) <= batch_size


def test_batches_shuffle_samples_not_batches():
    both = batches(64, 8, epochs=2)
    first, second = both[:8], both[8:]
    assert not any({*a} == {*b} for a in first for b in second)
    assert not any({*a} == {*range(i, i + 8)} for i, a in enumerate(first))


def test_full_batches_match_textbook():
    """One batch per epoch, momentum, weight decay: the same as the paper's rule on the network's gradient."""
    state = fit(
        OPTIMIZERS["momentum"], epochs=20, batch_size=1000, activation="tanh", weight_decay=0.01, momentum=0.5,
        learning_rate=0.3,
    )  # fmt: skip
    network = start(OPTIMIZERS["sgd"]).params

    def gradient(w):
        network.theta[:] = w
        H = forward_propagation(network, DATA.x_train, "tanh")
        return backward_propagation(network, H, DATA.y_train, "tanh", "cross_entropy", weight_decay=0.01).theta

    expected = textbook.momentum(network.theta.copy(), gradient, 20, learning_rate=0.3, momentum=0.5)
    np.testing.assert_allclose(state.params.theta, expected, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [64, 1000])
@pytest.mark.parametrize("decay", ["weight_decay", "decoupled_weight_decay"])
def test_warmup_cosine_and_decay_match_optax(decay, batch_size, optax):
    """Three epochs next to optax's adam, which gets the rate of each step, with AdamW's decay from the equations."""
    state = fit(
        OPTIMIZERS["adam"], epochs=3, batch_size=batch_size, activation="tanh", learning_rate=0.05, epsilon=1e-3,
        schedule="cosine", warmup=1.5, **{decay: 0.3},
    )  # fmt: skip
    reference, rng = start(OPTIMIZERS["adam"]).params, np.random.default_rng(1)
    is_weight = np.concatenate([np.r_[np.ones(W.size), np.zeros(b.size)] for W, b in reference.layers])
    rule = optax.inject_hyperparams(optax.adam)(0.0, eps=1e-3)
    memory = rule.init(reference.theta)
    orders = [rng.permutation(200) for _ in range(3)]
    order = [part[i : i + batch_size] for part in orders for i in range(0, 200, batch_size)]
    for t, index in enumerate(order, start=1):
        H = forward_propagation(reference, DATA.x_train[index], "tanh")
        penalty = 0.3 if decay == "weight_decay" else 0
        gradient = backward_propagation(
            reference, H, DATA.y_train[index], "tanh", "cross_entropy", weight_decay=penalty
        )
        rate = 0.05 * min(1, t / (len(order) / 2)) * (1 + math.cos(math.pi * (t - 1) / len(order))) / 2
        memory.hyperparams["learning_rate"] = rate
        updates, memory = rule.update(gradient.theta, memory)
        decayed = rate * (0.3 - penalty) * is_weight * reference.theta
        reference.theta[:] += np.asarray(updates) - decayed
    np.testing.assert_allclose(state.params.theta, reference.theta, rtol=0, atol=1e-9)


def learning_rates(**options):
    """Return the learning rates that the update rule receives in a whole training."""
    rates = []

    def record(theta, g, t, *, learning_rate=0.4):
        rates.append(learning_rate)

    fit(record, **options)
    return rates


def test_learning_rate_follows_schedule_and_warmup():
    """No update has the rate 0: cosine ends above it, and the warm-up counts from the first update."""
    assert learning_rates(epochs=2, batch_size=50) == [0.4] * 8
    rates = learning_rates(epochs=2, batch_size=50, schedule="Cosine")
    np.testing.assert_allclose(rates, [0.2 * (1 + math.cos(math.pi * t / 8)) for t in range(8)], rtol=1e-12)
    assert learning_rates(epochs=1, batch_size=200, schedule="cosine") == [0.4]
    rates = learning_rates(epochs=2, batch_size=50, warmup=1.5)
    np.testing.assert_allclose(rates, 0.4 * np.minimum(1, np.arange(1, 9) / 6), rtol=1e-12)


def test_rule_that_asks_for_the_loss_receives_that_of_the_batch():
    losses = []

    def rule(theta, g, t, *, loss, learning_rate=0.1):
        losses.append(loss)
        theta -= learning_rate * g

    for name, (value, _) in LOSSES.items():
        losses.clear()
        fit(rule, epochs=1, batch_size=1000, loss=name, weight_decay=0.1)
        Y_hat = forward_propagation(start(rule).params, DATA.x_train, "ReLU")[-1]
        assert losses == [pytest.approx(value(Y_hat, DATA.y_train))]


def test_masks_of_a_hook_are_used_in_both_directions():
    mask = (np.random.default_rng(3).random((200, 6)) > 0.4) / 0.6

    class Dropout(Hooks):
        def batch(self, rng, X, Y):
            return [None, mask, mask]

    state, reference = fit(epochs=1, batch_size=200, learning_rate=0.5, hooks=Dropout()), start(OPTIMIZERS["sgd"])
    order, masks = reference.rng.permutation(200), [None, mask, mask]
    H = forward_propagation(reference.params, DATA.x_train[order], "ReLU", masks=masks)
    gradient = backward_propagation(reference.params, H, DATA.y_train[order], "ReLU", "cross_entropy", masks=masks)
    np.testing.assert_allclose(state.params.theta, reference.params.theta - 0.5 * gradient.theta, atol=1e-12)


@pytest.mark.parametrize(("steps", "epochs", "updates"), [(3, None, 3), (None, 2, 8), (None, None, 12)])
def test_hook_stops_after_a_step_or_an_epoch(steps, epochs, updates):
    calls = []

    class Stop(Hooks):
        def step(self, Y_hat, Y):
            assert Y_hat.shape == Y.shape
            calls.append("step")
            return calls.count("step") == steps

        def epoch(self):
            calls.append("epoch")
            return calls.count("epoch") == epochs

    assert fit(epochs=3, hooks=Stop()).t == calls.count("step") == updates
    assert calls.count("epoch") == updates // 4


def test_training_continues_bitwise_the_same():
    rule = OPTIMIZERS["adam"]
    options = {"epochs": 4, "activation": "tanh", "schedule": "cosine", "warmup": 1.5}

    class Stop(Hooks):
        def epoch(self):
            return True

    whole, parts = fit(rule, **options), start(rule)
    for hooks in (Stop(), Stop(), None, None):  # the last one finds nothing left to do
        train(parts, DATA.x_train, DATA.y_train, rule, hooks=hooks, **options)
    assert parts.t == whole.t == 16
    for a, b in zip([parts.params.theta, *parts.vectors], [whole.params.theta, *whole.vectors], strict=True):
        np.testing.assert_array_equal(a, b)
