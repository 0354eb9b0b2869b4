"""model_train: the epoch loop, with validation, early stopping and checkpoints; nothing that was trained is lost."""

import math
import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from helpers import checks
from helpers.augmentation import flip, mirrored, mixup
from helpers.checkpoint import fingerprint, resume_training, save_training
from helpers.config import Config
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

# One thread for BLAS. Seconds an epoch on two cores, 784-128×3-10 at batch 64: one thread 0.67, two 1.01; with
# another process busy 0.71 and 2.89. Two pay only for wide layers on a machine with nothing else to do
# (784-1024-512-10 at batch 256: 4.5 and 2.7; with another process busy 4.4 and 7.5).
BLAS_THREADS = 1
LOOK = 50  # steps between two looks at the loss and the accuracy: a look at every step costs a twentieth of the time

COLUMNS = ["epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "seconds"]


class TrainingDiverged(ArithmeticError):
    """The loss stopped being finite, in `epoch`, at `step`.

    params: the parameters after the last finite epoch (the first ones, if there was none); history: the finished
    epochs, a data frame.
    """

    params = history = None

    def __init__(self, epoch, step, learning_rate):
        super().__init__(
            f"the loss is no longer finite in epoch {epoch}, step {step}, at learning_rate={learning_rate:g}: try a "
            "tenth of it, or another weight_init. This error's .params are those after the last finite epoch, "
            ".history has the finished epochs"
        )
        self.epoch, self.step, self.learning_rate = epoch, step, learning_rate

    def __reduce__(self):  # so that a process of a pool can pass it on
        return type(self), (self.epoch, self.step, self.learning_rate)


def model_train(data, *, log=None, progress=True, checkpoint=None, resume=False, **settings):
    """Train a network on data.x_train and return (params, history): the best epoch's parameters, and every epoch.

    data: a Dataset, or anything with its arrays. settings: the fields of Config by name, such as epochs=10,
    batch_size=64, learning_rate=0.001, num_layers=3, hidden_size=128, optimizer="nadam", patience=3, seed=0.
    log: called with each epoch's row, a dict. progress: show a bar (never where the variable CI is set).
    checkpoint: a file to write after every epoch, from which resume=True goes on, with bitwise the same end as
    without the stop (the rows of the epochs before are logged again); where there is none yet, it starts anew.

    history is a data frame with a row an epoch: epoch, train_loss and train_accuracy (summed up on the way, while
    the weights change, without the weight decay's penalty), val_loss, val_accuracy, seconds. history.attrs holds
    data (its name), best_epoch and interrupted. The best epoch is that of the highest validation accuracy (ties: the
    lowest loss); without validation data it is the last. Ctrl-C, or the notebook's stop button, ends the training and
    returns what there is. The same seed gives bitwise the same parameters on the same machine.

    Raises ValueError for a bad argument, before any work, and TrainingDiverged if the loss stops being finite.
    """
    config = Config.of(**settings)
    check_data(data)
    for name, value in (("progress", progress), ("resume", resume)):
        if not isinstance(value, bool):
            raise ValueError(f"{name}={value!r} must be True or False")
    if log is not None and not callable(log):
        raise ValueError(f"log={log!r} must be a function of one argument, the epoch's row")
    if config.flip:
        mirrored(data.x_train[:1])  # a ValueError now, if these are no images
    learner, interrupted = Learner(data, config), False
    _open_checkpoint(checkpoint, resume, learner)
    try:
        with threadpool_limits(BLAS_THREADS, "blas"), np.errstate(all="ignore"), progress_bar(progress, "batch") as bar:
            for row in learner.rows if log else ():
                log(row)
            while len(learner.rows) < config.epochs and not learner.out_of_patience():
                epoch = len(learner.rows) + 1
                started = time.perf_counter()
                row = {"epoch": epoch, **learner.train_epoch(epoch, bar), **learner.validate(epoch)}
                row["seconds"] = time.perf_counter() - started
                learner.note(row)
                if checkpoint:
                    _write_checkpoint(checkpoint, learner)
                if log:
                    log(row)
    except KeyboardInterrupt:
        interrupted = True
    except TrainingDiverged as error:
        error.params, error.history = as_params(learner.last, learner.sizes), _history(learner, interrupted)
        raise
    best = learner.params.theta if learner.best is None else learner.best
    return as_params(best, learner.sizes), _history(learner, interrupted)


class Learner:
    """All that changes while a network is trained: parameters, the optimizer's memory, the random stream."""

    def __init__(self, data, config):
        self.data, self.config = data, config
        inputs, classes = data.x_train.shape[1], data.y_train.shape[1]
        self.sizes = layer_sizes(config.num_layers, config.hidden_size, inputs, classes)
        self.params = intial_weights(
            config.num_layers, config.hidden_size, config.weight_init,
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


def check_data(data):
    """Check the training and validation arrays; ValueError for shapes, dtypes, NaN, labels or emptiness."""
    for name in ("x_train", "y_train", "x_val", "y_val"):
        if not hasattr(data, name):
            raise ValueError(f"data is a {type(data).__name__} without {name}; it must be a Dataset, as from load_data")
    checks.matrix("x_train", data.x_train, finite=True)
    checks.one_hot("y_train", data.y_train, rows=len(data.x_train))
    if data.x_val is not None:
        checks.matrix("x_val", data.x_val, columns=data.x_train.shape[1], finite=True)
        checks.one_hot("y_val", data.y_val, rows=len(data.x_val), columns=data.y_train.shape[1])
    for name in ("y_train", "x_val", "y_val"):
        array = getattr(data, name)
        if array is not None and array.dtype != data.x_train.dtype:
            raise ValueError(f"{name} is {array.dtype}; x_train is {data.x_train.dtype}: convert one with astype")


def _open_checkpoint(path, resume, learner):
    """Bring the learner to where the checkpoint is, if it is to; ValueError if it cannot be."""
    if path is None:
        if resume:
            raise ValueError("resume=True needs checkpoint=, the file to go on from")
        return
    if not isinstance(path, (str, os.PathLike)) or "\0" in str(path):
        raise ValueError(f"checkpoint={path!r} must be the name of a file")
    if not Path(path).resolve().parent.is_dir():
        raise ValueError(f"checkpoint={str(path)!r} is in a folder that does not exist: make it first")
    learner.fingerprint = fingerprint(learner.data)
    if Path(path).exists():
        if not resume:
            raise ValueError(f"checkpoint={str(path)!r} exists: resume=True goes on from it; or delete it")
        resume_training(path, learner)


def _write_checkpoint(path, learner):
    try:
        save_training(path, learner)
    except OSError as error:
        warnings.warn(f"checkpoint {path} could not be written ({error}); the training goes on", stacklevel=3)


def _history(learner, interrupted):
    import pandas as pd  # slow to import: only when there is something to show

    history = pd.DataFrame(learner.rows, columns=COLUMNS)
    name = getattr(learner.data, "name", "data")
    history.attrs = {"data": name, "best_epoch": learner.best_epoch, "interrupted": interrupted}
    return history


def progress_bar(progress, unit):
    """Return a progress bar: text in a terminal, a widget in a notebook; silent in CI and where nobody is looking."""
    somebody = sys.stderr.isatty() or "ipykernel" in sys.modules
    silent = not progress or not somebody or bool(os.environ.get("CI"))
    return tqdm(unit=unit, leave=False, disable=silent)
