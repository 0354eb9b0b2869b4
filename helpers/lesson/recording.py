"""A training under glass: what happens inside the network, measured every few steps."""

import numpy as np
import pandas as pd

from helpers.nn import OPTIMIZERS, Hooks, TrainingState, init_state, intial_weights, train
from helpers.nn.network import backward_propagation, forward_propagation

SATURATED = 0.99  # of the largest possible |tanh|


class Observer(Hooks):
    """Measure, every few steps, the gradient and the activations for the same images.

    Attributes
    ----------
    rows : list of dict
        For each measurement: ``step``; ``gradient_1`` …, the norm of dW of each layer; ``unit_1`` … ``unit_5``, the
        norm of the gradient of the incoming weights of the first five units; ``dead`` and ``saturated``, the share of
        first-layer units that are 0 for all images, and of first-layer activations above 0.99 in size; ``ratio``, the
        norm of the update that follows, divided by that of all parameters.
    weights : dict of ndarray
        For each step the weights of the first layer, (784, units).
    """

    def __init__(self, params, X, Y, activation, every):
        self.params, self.X, self.Y, self.activation, self.every = params, X, Y, activation, every
        self.steps, self.rows, self.weights = 0, [], {}
        self.measure()

    def step(self, Y_hat, Y):
        """Measure the update that follows a measurement, and every few updates the rest."""
        if self.before is not None:
            size = np.linalg.norm(self.before) or np.nan
            self.rows[-1]["ratio"] = np.linalg.norm(self.params.theta - self.before) / size
            self.before = None
        self.steps += 1
        if self.steps % self.every == 0:
            self.measure()

    def measure(self):
        """Measure the gradient and the activations, and keep the parameters."""
        H = forward_propagation(self.params, self.X, self.activation)
        layers = backward_propagation(self.params, H, self.Y, self.activation, "cross_entropy").layers
        row = {"step": self.steps, "dead": (H[1] == 0).all(axis=0).mean(), "saturated": (abs(H[1]) > SATURATED).mean()}
        row |= {f"gradient_{k}": np.linalg.norm(dW) for k, (dW, _) in enumerate(layers, 1)}
        row |= {f"unit_{j + 1}": np.linalg.norm(layers[0][0][:, j]) for j in range(5)}
        self.rows.append(row)
        self.weights[self.steps], self.before = self.params.layers[0][0].copy(), self.params.theta.copy()


def record(data, *, steps=None, every=25, num_layers=3, hidden_size=64, weight_init="He", activation="ReLU",
           optimizer="sgd", learning_rate=0.1, seed=0):  # fmt: skip
    """Train for one epoch in batches of 64, or for `steps` of it, and measure on 500 validation images.

    Returns
    -------
    (pandas.DataFrame, dict of ndarray)
        The rows of `Observer`, with the index ``step``, and its weights.
    """
    rule, images = OPTIMIZERS[optimizer], 64 * steps if steps else len(data.x_train)
    params = intial_weights(num_layers, hidden_size, weight_init, seed=seed, dtype=data.x_train.dtype)
    state = TrainingState(params, init_state(rule, params.theta), np.random.default_rng(seed))
    observer = Observer(params, data.x_val[:500], data.y_val[:500], activation, every)
    train(
        state, data.x_train[:images], data.y_train[:images], rule, epochs=1, activation=activation,
        hooks=observer, learning_rate=learning_rate,
    )  # fmt: skip
    return pd.DataFrame(observer.rows).set_index("step"), observer.weights
