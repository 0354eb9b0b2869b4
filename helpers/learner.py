"""Learner: all that changes while a network is trained, and the two things it does: an epoch, and a validation."""

import math

import numpy as np

from helpers.augmentation import flip, mixup
from helpers.evaluation import accuracy, evaluate
from helpers.functions import LOSSES
from helpers.network import (
    as_params,
    backward_propagation,
    dropout_masks,
    empty_buffers,
    forward_propagation,
    intial_weights,
    layer_sizes,
)
from helpers.optimizers import OPTIMIZERS, SCHEDULES, hyperparameters, memory

LOOK = 50  # steps between two looks at the loss and the accuracy: a look at every step costs a twentieth of the time


class TrainingDiverged(ArithmeticError):
    """The loss stopped being finite, in `epoch`, at `step`.

    params: the parameters after the last finite epoch (the first ones, if there was none); history: the finished
    epochs, a data frame.
    """

    params = history = None

    def __init__(self, epoch, step, learning_rate):
        self.reason = f"the loss is no longer finite in epoch {epoch}, step {step}, at learning_rate={learning_rate:g}"
        super().__init__(
            f"{self.reason}: try a tenth of it, or another weight_init. This error's .params are those after the last "
            "finite epoch, .history has the finished epochs"
        )
        self.epoch, self.step, self.learning_rate = epoch, step, learning_rate

    def __reduce__(self):  # so that a process of a pool can pass it on
        return type(self), (self.epoch, self.step, self.learning_rate)


class Learner:
    """All that changes while a network is trained: parameters, the optimizer's memory, the random stream."""

    def __init__(self, data, config):
        self.data, self.config = data, config
        inputs, classes = data.x_train.shape[1], data.y_train.shape[1]
        self.sizes = layer_sizes(config.num_layers, config.hidden_size, inputs, classes)
        self.params = intial_weights(
            config.num_layers, config.hidden_size, config.weight_init, receptive_field=config.receptive_field,
            inputs=inputs, classes=classes, seed=config.seed, dtype=data.x_train.dtype,
        )  # fmt: skip
        self.gradient = as_params(np.zeros_like(self.params.theta), self.sizes)
        self.rule = OPTIMIZERS[config.optimizer]
        self.rates = {name: getattr(config, name, own) for name, own in hyperparameters(self.rule).items()}
        self.memory = memory(self.rule, self.params.theta)
        self.t = 0  # updates so far
        self.rng = np.random.default_rng([config.seed, 1])  # not the stream that drew the weights
        self.rows, self.best_epoch = [], None  # of the finished epochs
        self.last, self.best = self.params.theta.copy(), None  # theta after the last and after the best of them
        self.fingerprint = None  # of the data, for a checkpoint
        self.arrays = {}  # size of a batch -> the arrays it is worked on in

    def train_epoch(self, epoch, bar):
        """Show the network every sample once; return the epoch's mean loss and accuracy, as they were on the way."""
        N, n = len(self.data.x_train), self.config.batch_size
        value, _ = LOSSES[self.config.loss]
        order = self.rng.permutation(N)
        Y_hat, Y = np.empty_like(self.data.y_train), np.empty_like(self.data.y_train)  # row by row, on the way
        total_loss = total_hits = 0
        bar.reset(total=-(-N // n))
        for start in range(0, N, LOOK * n):
            seen = slice(start, min(start + LOOK * n, N))
            for i in range(seen.start, seen.stop, n):
                Y_hat[i : i + n], Y[i : i + n] = self.update(order[i : i + n])
            loss, rows = value(Y_hat[seen], Y[seen]), seen.stop - seen.start
            if not math.isfinite(loss):
                step = 1 + (start + int(np.isnan(Y_hat[seen]).any(axis=1).argmax())) // n
                raise TrainingDiverged(epoch, step, self.config.learning_rate)
            for vector in self.memory:  # see flush
                flush(vector)
            total_loss, total_hits = total_loss + loss * rows, total_hits + accuracy(Y_hat[seen], Y[seen]) * rows
            bar.set_description(f"epoch {epoch}/{self.config.epochs}, loss {total_loss / seen.stop:.4f}", refresh=False)
            bar.update(-(-rows // n))
        if not np.isfinite(self.params.theta).all():
            raise TrainingDiverged(epoch, -(-N // n), self.config.learning_rate)
        return {"train_loss": total_loss / N, "train_accuracy": total_hits / N}

    def update(self, index):
        """One step of the optimizer on the samples `index`; return their Ŷ before it, and Y."""
        config, params = self.config, self.params
        if len(index) not in self.arrays:
            self.arrays[len(index)] = self.make_arrays(len(index))
        X, Y, masks, buffers = self.arrays[len(index)]
        np.take(self.data.x_train, index, axis=0, out=X, mode="clip")  # "clip": straight into X, with no copy between
        np.take(self.data.y_train, index, axis=0, out=Y, mode="clip")
        if config.flip:
            flip(self.rng, X, config.flip)
        if config.mixup:
            mixup(self.rng, X, Y, config.mixup)
        if config.dropout:
            dropout_masks(self.rng, config.dropout, out=masks)
        H = forward_propagation(params, X, config.activation, masks=masks, buffers=buffers)
        backward_propagation(
            params, H, Y, config.activation, config.loss,
            weight_decay=config.weight_decay, masks=masks, buffers=buffers, out=self.gradient,
        )  # fmt: skip
        self.t += 1
        rate = self.learning_rate()
        if config.decoupled_weight_decay:  # Loshchilov & Hutter 2019, Algorithm 2
            for W, _ in params.layers:
                W *= 1 - rate * config.decoupled_weight_decay
        if "learning_rate" in self.rates:
            self.rates["learning_rate"] = rate
        self.rule(params.theta, self.gradient.theta, self.t, *self.memory, **self.rates)
        return H[-1], Y

    def learning_rate(self):
        """Return η at step t: it rises in a line during the warm-up (Goyal et al. 2017) and follows the schedule."""
        config, epoch = self.config, -(-len(self.data.x_train) // self.config.batch_size)
        rise = min(1, self.t / (config.warmup * epoch)) if config.warmup else 1
        return config.learning_rate * rise * SCHEDULES[config.schedule](self.t / (config.epochs * epoch))

    def note(self, row):
        """Keep the row of an epoch that is over, and its parameters if they are the best so far."""

        def score(row):  # without validation data the last epoch is the best
            return (row["epoch"],) if self.data.x_val is None else (row["val_accuracy"], -row["val_loss"])

        self.rows.append(row)
        self.last = self.params.theta.copy()
        if self.best is None or score(row) > score(self.rows[self.best_epoch - 1]):
            self.best, self.best_epoch = self.last, row["epoch"]

    def out_of_patience(self):
        """Whether `patience` epochs have brought nothing better."""
        return bool(self.config.patience and self.rows and len(self.rows) - self.best_epoch >= self.config.patience)

    def make_arrays(self, N):
        """Return X, Y, the dropout masks (None without dropout) and the buffers of a batch of N samples."""
        X, Y = (np.empty((N, a.shape[1]), a.dtype) for a in (self.data.x_train, self.data.y_train))
        buffers = empty_buffers(self.params, N)
        masks = [None, *(np.empty_like(H) for H in buffers.H[:-1])] if self.config.dropout else None
        return X, Y, masks, buffers

    def validate(self, epoch):
        """Return the loss and the accuracy on the validation data; NaN where there are none."""
        data, config = self.data, self.config
        if data.x_val is None:
            return {"val_loss": math.nan, "val_accuracy": math.nan}
        loss, share = evaluate(
            self.params, data.x_val, data.y_val, activation=config.activation, loss=config.loss, mirror=config.flip > 0
        )
        if not math.isfinite(loss):
            raise TrainingDiverged(epoch, "after the last", config.learning_rate)
        return {"val_loss": loss, "val_accuracy": share}


def flush(vector):
    """Set to zero what is smaller than the smallest normal number, in place.

    The mean of a gradient that has become zero (a pixel at the border) shrinks at each step, and rounding keeps it
    from ever getting to zero: it stays among the denormal numbers, with which a processor is many times slower.
    """
    vector[np.abs(vector) < np.finfo(vector.dtype).tiny] = 0
