"""The training loop."""

import math
from dataclasses import dataclass
from inspect import getfullargspec

import numpy as np

from helpers.nn.functions import LOSSES
from helpers.nn.network import NUMPY, Params, backward_propagation, forward_propagation
from helpers.nn.optimizers import SCHEDULES, hyperparameters


@dataclass
class TrainingState:
    """What a training changes. Continued from the state after an epoch, it ends bitwise as if it had not stopped."""

    params: Params
    vectors: list  # the state of the update rule, from `init_state`
    rng: np.random.Generator  # draws the order of the samples, the augmentation and the dropout masks
    t: int = 0  # updates so far


class Hooks:
    """What a real training adds to the loop: a subclass overrides these methods, which do nothing."""

    def batch(self, rng, X, Y):
        """Change a batch in place before its forward pass, and return its dropout masks, or None."""

    def step(self, Y_hat, Y):
        """Receive, after an update, the predictions made before it and the labels; return True to stop."""

    def epoch(self):
        """Do what follows an epoch, such as validation; return True to stop."""


def train(
    state, X, Y, rule, /, *, epochs=10, batch_size=64, activation="ReLU", loss="cross_entropy", weight_decay=0.0,
    decoupled_weight_decay=0.0, schedule="constant", warmup=0.0, hooks=None, engine=NUMPY, **options,
):  # fmt: skip
    """Train a network: in each epoch, cut the shuffled samples into batches and update the parameters once with each.

    Parameters
    ----------
    state, rule : TrainingState and callable
        The initial state, which is changed in place, and the update rule, a value of ``OPTIMIZERS``.
    X, Y : ndarray, shape (N, d_0) and (N, C)
        The training samples and their one-hot labels.
    epochs, batch_size : int
        Passes over the samples, those that `state` has already made included; samples per update.
    activation, loss, schedule : str
        Keys of ``ACTIVATIONS``, ``LOSSES`` and ``SCHEDULES``.
    weight_decay : float, default=0.0
        λ of the L2 penalty, see `backward_propagation`.
    decoupled_weight_decay : float, default=0.0
        An update also multiplies the weights by 1 − η · this, η with schedule and warm-up, as in PyTorch's AdamW. In
        Loshchilov & Hutter 2019, Algorithm 2, it is 1 − the schedule's factor · this.
    warmup : float, default=0.0
        Epochs in which a factor of the learning rate, besides the schedule's, rises linearly to 1 (Goyal et al. 2017).
    hooks, engine, **options
        `Hooks`, `Engine`, and the hyperparameters of the update rule.
    """
    params, gradient = state.params, Params(np.empty_like(state.params.theta), state.params.sizes)
    hooks, options = hooks or Hooks(), hyperparameters(rule) | options
    learning_rate, needs_loss = options.get("learning_rate", 0.0), "loss" in getfullargspec(rule).kwonlyargs
    steps = math.ceil(len(X) / batch_size)  # of an epoch
    while state.t < epochs * steps:
        order = state.rng.permutation(len(X))
        for rows in (order[i : i + batch_size] for i in range(0, len(X), batch_size)):
            engine.new_step()
            X_batch, Y_batch = engine.take(X, rows), engine.take(Y, rows)
            masks = hooks.batch(state.rng, X_batch, Y_batch)
            H = forward_propagation(params, X_batch, activation, masks=masks, engine=engine)
            backward_propagation(
                params, H, Y_batch, activation, loss,
                weight_decay=weight_decay, masks=masks, gradient=gradient, engine=engine,
            )  # fmt: skip
            state.t += 1
            warm = min(1, state.t / (warmup * steps)) if warmup else 1
            rate = learning_rate * warm * SCHEDULES[schedule]((state.t - 1) / (epochs * steps))
            if "learning_rate" in options:
                options["learning_rate"] = rate
            if needs_loss:
                options["loss"] = LOSSES[loss][0](H[-1], Y_batch)
            if decoupled_weight_decay:
                for W, _ in params.layers:
                    W *= 1 - rate * decoupled_weight_decay
            engine.apply(rule, params.theta, gradient.theta, state.t, *state.vectors, **options)
            if hooks.step(H[-1], Y_batch):
                return
        if hooks.epoch():
            return
