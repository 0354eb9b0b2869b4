"""Training: `Trainer`, with its epochs, steps and validation, and `model_train`, the function to call."""

import itertools
import math
import os
import sys
import time
import warnings
import zlib
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helpers.nn.augmentation import mixup, random_horizontal_flip, random_shift
from helpers.nn.checkpoint import load_checkpoint, save_checkpoint, stored_epochs
from helpers.nn.config import Config
from helpers.nn.engine import make_engine
from helpers.nn.functions import LOSSES
from helpers.nn.initialization import intial_weights
from helpers.nn.metrics import accuracy, evaluate
from helpers.nn.network import layer_sizes, unflatten
from helpers.nn.optimizers import OPTIMIZERS, SCHEDULES, hyperparameters, init_state, state_names
from helpers.nn.threads import blas_threads, choose_threads
from helpers.nn.validation import (
    check_bool,
    check_int,
    check_int_or_none,
    check_matrix,
    check_one_hot,
    check_path,
    image_width,
)
from helpers.storage import locked

COLUMNS = ["epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "seconds"]
CHECK_EVERY = 50  # steps between two evaluations of the training loss; evaluating at every step costs about 5 %


class TrainingDiverged(ArithmeticError):
    """The loss or the parameters are no longer finite.

    Attributes
    ----------
    epoch, step : int
        Where it was noticed; steps are counted from 1 in each epoch.
    learning_rate : float or None
        The learning rate of the configuration; None if the update rule has none.
    params : Params
        The parameters after the last finite epoch; the initial ones if there was none.
    history : pandas.DataFrame
        The finished epochs.
    """

    def __init__(self, epoch, step, learning_rate, params=None, history=None):
        rate = "" if learning_rate is None else f", at learning_rate={learning_rate:g}"
        self.reason = f"the loss is no longer finite in epoch {epoch}, step {step}{rate}"
        super().__init__(
            f"{self.reason}: try a tenth of the learning rate, or another weight_init. The attribute params of this "
            "error holds the parameters after the last finite epoch, history the finished epochs"
        )
        self.epoch, self.step, self.learning_rate = epoch, step, learning_rate
        self.params, self.history = params, history

    def __reduce__(self):  # between processes, without the arrays
        return type(self), (self.epoch, self.step, self.learning_rate)


class Finished(NamedTuple):
    """The results of the finished epochs. Replaced as a whole, so that an interrupt leaves it consistent."""

    history: list  # a dict for each epoch
    last_theta: np.ndarray  # the parameters after the last epoch
    best_theta: np.ndarray | None  # the parameters after the best epoch
    best_epoch: int | None


class Trainer:
    """Train one network: parameters, optimizer state and random generator, and the operations on them.

    Parameters
    ----------
    data : Dataset
        Any object with the arrays ``x_train``, ``y_train``, ``x_val`` and ``y_val``; the last two may be None.
    config : Config
        The hyperparameters.
    engine : {"auto", "numpy", "numba"}, default="auto"
        How a step is computed: by the NumPy functions of this package, or by compiled ones with bitwise the same
        results, which need Numba. "auto" uses Numba where it is installed.
    threads : int, optional
        Number of BLAS threads; by default `choose_threads` decides.

    Raises
    ------
    ValueError
        If the data do not have the required shapes and types, or hold NaN or infinity.
    """

    def __init__(self, data, config, *, engine="auto", threads=None):
        check_data(data)
        if config.flip_probability or config.max_shift:
            width = image_width("x_train", data.x_train.shape[1])
            if config.max_shift >= width:
                raise ValueError(f"max_shift={config.max_shift} must be below the width of the images, {width} pixels")
        self.data, self.config = data, config
        inputs, classes = data.x_train.shape[1], data.y_train.shape[1]
        self.sizes = layer_sizes(config.num_layers, config.hidden_size, inputs, classes)
        self.params = intial_weights(
            config.num_layers, config.hidden_size, config.weight_init, receptive_field=config.receptive_field,
            inputs=inputs, classes=classes, seed=config.seed, dtype=data.x_train.dtype,
        )  # fmt: skip
        threads = check_int_or_none("threads", threads)
        self.threads_required = threads is not None
        self.threads = threads if self.threads_required else choose_threads(self.sizes, config.batch_size)
        self.engine = make_engine(engine, self.params)
        self.rule = OPTIMIZERS[config.optimizer]
        self.hyperparameters = {
            name: getattr(config, name, default) for name, default in hyperparameters(self.rule).items()
        }
        self.state = init_state(self.rule, self.params.theta)
        self.t = 0  # number of updates
        self.rng = np.random.default_rng([config.seed, 1])  # not the generator that drew the weights
        self.steps_per_epoch = math.ceil(len(data.x_train) / config.batch_size)
        self.finished = Finished([], self.params.theta.copy(), None, None)

    def fit(self, *, log=None, progress=True, checkpoint=None):
        """Train until the last epoch, or until early stopping.

        Parameters
        ----------
        log : callable, optional
            Called with a copy of each epoch's row of the history, a dict. Rows of a checkpoint are logged again.
        progress : bool or str, default=True
            Show a progress bar; a text names the training in it.
        checkpoint : str or path-like, optional
            A file to which the training state is written after every epoch.

        Raises
        ------
        ValueError
            If another training uses the checkpoint or has written it since it was loaded, or if one in this process
            has another number of threads than required.
        TrainingDiverged
            If the loss is no longer finite.
        KeyboardInterrupt
            On Ctrl-C; the finished epochs are kept, and `best_params` and `history` return them.
        """
        with (
            hold(checkpoint),
            blas_threads(self.threads, self.threads_required) as self.threads,
            np.errstate(all="ignore"),
            progress_bar(progress, "batch") as bar,
        ):
            stored, loaded = stored_epochs(checkpoint) if checkpoint else 0, len(self.finished.history)
            if stored > loaded:
                raise ValueError(
                    f"checkpoint={str(checkpoint)!r} has {stored} epochs, but this training continues after epoch "
                    f"{loaded}: another training has written it; resume from it, or name another file"
                )
            for row in self.finished.history if log else ():
                log(dict(row))
            while len(self.finished.history) < self.config.epochs and not self.should_stop():
                epoch, start = len(self.finished.history) + 1, time.perf_counter()
                name = f"{progress}: " if isinstance(progress, str) else ""
                row = {"epoch": epoch, **self.train_epoch(epoch, bar, name), **self.validate(epoch)}
                row["seconds"] = time.perf_counter() - start
                self.record_epoch(row)
                if checkpoint:
                    try:
                        save_checkpoint(checkpoint, self)
                    except OSError as error:
                        message = f"checkpoint {str(checkpoint)!r} could not be written ({error}); training continues"
                        warnings.warn(message, stacklevel=3)
                if log:
                    log(dict(row))

    def train_epoch(self, epoch, bar, name=""):
        """Update the parameters once with every batch; return the mean loss and accuracy during the epoch."""
        x_train, N, n = self.data.x_train, len(self.data.x_train), self.config.batch_size
        loss_function, _ = LOSSES[self.config.loss]
        order = self.rng.permutation(N)
        Y_hat, Y = np.empty_like(self.data.y_train), np.empty_like(self.data.y_train)
        total_loss = total_correct = 0
        bar.reset(total=self.steps_per_epoch)
        for start in range(0, len(x_train), CHECK_EVERY * n):
            seen = slice(start, min(start + CHECK_EVERY * n, N))
            for i in range(seen.start, seen.stop, n):
                Y_hat[i : i + n], Y[i : i + n] = self.step(order[i : i + n])
            loss, rows = loss_function(Y_hat[seen], Y[seen]), seen.stop - seen.start
            if not math.isfinite(loss):
                raise self.diverged(epoch, 1 + (start + int(np.isnan(Y_hat[seen]).any(axis=1).argmax())) // n)
            for vector in self.state:
                self.engine.flush_denormals(vector)
            total_loss += loss * rows
            total_correct += accuracy(Y_hat[seen], Y[seen]) * rows
            progress = f"{name}epoch {epoch}/{self.config.epochs}, loss {total_loss / seen.stop:.4f}"
            bar.set_description(progress, refresh=False)
            bar.update(math.ceil(rows / n))
        if not np.isfinite(self.params.theta).all():
            raise self.diverged(epoch, self.steps_per_epoch)
        return {"train_loss": total_loss / N, "train_accuracy": total_correct / N}

    def step(self, index):
        """Update the parameters with the samples `index`; return their predictions Ŷ before the update, and Y."""
        config, params, engine = self.config, self.params, self.engine
        X, Y = engine.take("X", self.data.x_train, index), engine.take("Y", self.data.y_train, index)
        if config.flip_probability:
            random_horizontal_flip(self.rng, X, config.flip_probability)
        if config.max_shift:
            random_shift(self.rng, X, config.max_shift)
        if config.mixup:
            mixup(self.rng, X, Y, config.mixup)
        masks = None
        if config.dropout:
            hidden = [(len(X), d) for d in self.sizes[1:-1]]
            masks = [None, *engine.dropout_masks(self.rng, config.dropout, hidden, X.dtype)]
        H = engine.forward_propagation(params, X, config.activation, masks=masks)
        gradient = engine.backward_propagation(
            params, H, Y, config.activation, config.loss, weight_decay=config.weight_decay, masks=masks
        )
        self.t += 1
        learning_rate = self.learning_rate()
        if config.decoupled_weight_decay:  # Loshchilov & Hutter 2019, Algorithm 2
            for W, _ in params.layers:
                W *= 1 - learning_rate * config.decoupled_weight_decay
        if "learning_rate" in self.hyperparameters:
            self.hyperparameters["learning_rate"] = learning_rate
        update = engine.update_rule(self.rule)
        update(params.theta, gradient.theta, self.t, *self.state, **self.hyperparameters)
        return H[-1], Y

    def learning_rate(self):
        """Return η of update t: linear warm-up (Goyal et al. 2017), times the schedule at (t − 1)/T of T updates."""
        config, total = self.config, self.config.epochs * self.steps_per_epoch
        if config.learning_rate is None:  # the update rule has none
            return 0.0
        warmup = min(1, self.t / (config.warmup * self.steps_per_epoch)) if config.warmup else 1
        return config.learning_rate * warmup * SCHEDULES[config.schedule]((self.t - 1) / total)

    def validate(self, epoch):
        """Return the loss and accuracy on the validation data; NaN if there are none."""
        data, config = self.data, self.config
        if data.x_val is None:
            return {"val_loss": math.nan, "val_accuracy": math.nan}
        loss, val_accuracy = evaluate(self.params, data.x_val, data.y_val, loss=config.loss, **config.prediction)
        if not math.isfinite(loss):
            raise self.diverged(epoch, self.steps_per_epoch)
        return {"val_loss": loss, "val_accuracy": val_accuracy}

    def record_epoch(self, row):
        """Add the row of a finished epoch to the history; keep its parameters if they are the best so far."""

        def score(row):  # without validation data the last epoch is the best
            return (row["epoch"],) if self.data.x_val is None else (row["val_accuracy"], -row["val_loss"])

        history, theta = self.finished.history, self.params.theta.copy()
        best_theta, best_epoch = self.finished.best_theta, self.finished.best_epoch
        if best_epoch is None or score(row) > score(history[best_epoch - 1]):
            best_theta, best_epoch = theta, row["epoch"]
        self.finished = Finished([*history, row], theta, best_theta, best_epoch)

    def should_stop(self):
        """Return whether the last `patience` epochs have not improved on the best one."""
        epochs, patience = len(self.finished.history), self.config.patience
        return bool(patience and epochs and epochs - self.finished.best_epoch >= patience)

    def diverged(self, epoch, step):
        """Return the TrainingDiverged to raise."""
        params = unflatten(self.finished.last_theta, self.sizes)
        return TrainingDiverged(epoch, step, self.config.learning_rate, params, self.history())

    def best_params(self):
        """Return the parameters of the best epoch; the current ones if no epoch is finished."""
        best = self.finished.best_theta
        return unflatten(self.params.theta if best is None else best, self.sizes)

    def history(self, interrupted=False):
        """Return the history as a data frame, one row per epoch; see `model_train`."""
        import pandas as pd  # imported here because it is slow to import

        rows = self.finished.history
        history = pd.DataFrame(rows, columns=COLUMNS, dtype=None if rows else float)
        history.attrs = {
            "data": getattr(self.data, "name", "data"), "best_epoch": self.finished.best_epoch,
            "interrupted": interrupted, "config": asdict(self.config), "threads": self.threads,
            "engine": self.engine.name,
        }  # fmt: skip
        return history

    @cached_property
    def fingerprint(self):
        """Shape, dtype and CRC-32 of each array of the training and validation data."""
        arrays = {name: getattr(self.data, name) for name in ("x_train", "y_train", "x_val", "y_val")}
        return {
            name: None if a is None else [*a.shape, str(a.dtype), zlib.crc32(np.ascontiguousarray(a))]
            for name, a in arrays.items()
        }

    def state_dict(self):
        """Return the training state at the end of an epoch: arrays, and values that JSON can represent."""
        finished = self.finished
        state = {
            "config": asdict(self.config), "data": self.fingerprint, "t": self.t, "threads": self.threads,
            "history": finished.history, "best_epoch": finished.best_epoch, "rng": self.rng.bit_generator.state,
            "theta": self.params.theta, "best_theta": finished.best_theta,
        }  # fmt: skip
        return state | {f"state_{name}": v for name, v in zip(state_names(self.rule), self.state, strict=True)}

    def load_state_dict(self, state):
        """Continue from a state that `state_dict` returned, in a Trainer of the same data and configuration.

        Raises ValueError, with what differs, if the state belongs to another training.
        """
        here = {**asdict(self.config), **self.fingerprint}
        there = {**state["config"], **state["data"]}
        differences = [
            f"{name} is {there.get(name)!r} in the checkpoint and {here.get(name)!r} here"
            for name in {**there, **here}
            if as_json(there.get(name)) != as_json(here.get(name))
        ]
        if differences:
            raise ValueError(f"is the checkpoint of another training: {'; '.join(differences)}")
        names, saved = state_names(self.rule), [name[6:] for name in state if name.startswith("state_")]
        if sorted(names) != sorted(saved):
            raise ValueError(
                f"has the optimizer state {', '.join(saved) or 'none'}, but {self.config.optimizer} needs "
                f"{', '.join(names) or 'none'}: it belongs to another version of this update rule"
            )
        theta, history, best_epoch = self.params.theta, state["history"], state["best_epoch"]
        vectors = [state["theta"], *(state[f"state_{name}"] for name in names)]
        if history or state["best_theta"] is not None:
            vectors.append(state["best_theta"])
        if any((vector.shape, vector.dtype) != (theta.shape, theta.dtype) for vector in vectors):
            raise ValueError(f"has parameters that are not {theta.dtype} vectors of {theta.size:,} entries")
        if not all(np.isfinite(state[name]).all() for name in ("theta", "best_theta") if state[name] is not None):
            raise ValueError("has parameters that are not finite")
        check_history(history)
        epochs, steps = len(history), self.steps_per_epoch
        if type(state["t"]) is not int or state["t"] != epochs * steps:
            raise ValueError(f"has {state['t']!r} updates, which are not {epochs} epochs of {steps} steps")
        if history:
            check_int("best_epoch", best_epoch, le=epochs)
        elif best_epoch is not None:
            raise ValueError("has a best epoch but no history")
        threads = check_int("threads", state["threads"])
        if threads != self.threads:
            warnings.warn(f"training continues with {threads} BLAS threads, as in the checkpoint", stacklevel=4)
            self.threads = threads
        self.threads_required = True
        self.params.theta[:] = state["theta"]
        for name, vector in zip(names, self.state, strict=True):
            vector[:] = state[f"state_{name}"]
        self.t, self.rng.bit_generator.state = state["t"], state["rng"]
        self.finished = Finished(history, state["theta"].copy(), state["best_theta"], best_epoch)


def check_history(history):
    """Raise ValueError if this is not a list of the rows of the epochs 1, 2 and so on."""
    for epoch, row in enumerate(history, 1):
        numbers = isinstance(row, dict) and [*row] == COLUMNS and [type(row["epoch"])] == [int]
        if not numbers or row["epoch"] != epoch or not all(isinstance(row[name], float) for name in COLUMNS[1:]):
            raise ValueError(f"has a history whose row {epoch} does not hold the numbers of epoch {epoch}")


def as_json(value):
    """Return `value` with tuples as lists, as it is after a round trip through JSON."""
    return list(value) if isinstance(value, tuple) else value


def model_train(
    data, *, log=None, progress=True, checkpoint=None, resume=False, engine="auto", threads=None, **hyperparameters
):
    """Train a network and return its parameters and the history of the training.

    Parameters
    ----------
    data : Dataset
        The data, as `load_data` returns them, or any object with the same arrays: ``x_train`` (N, d_0), ``y_train``
        (N, C) one-hot, ``x_val`` and ``y_val`` (or None).
    log : callable, optional
        Called after each epoch with its row of the history, a dict.
    progress : bool or str, default=True
        Show a progress bar; a text names the training in it. There is none if the environment variable CI is set, or
        if standard error is neither a terminal nor a notebook.
    checkpoint : str or path-like, optional
        A file to which the training state is written after every epoch.
    resume : bool, default=False
        Continue from the checkpoint if it exists. The result is bitwise the same as without the interruption.
    engine : {"auto", "numpy", "numba"}, default="auto"
        See `Trainer`.
    threads : int, optional
        Number of BLAS threads. By default as many as speed up a step, at most the number of cores.
        Results with different numbers of threads differ in the last bits.
    **hyperparameters
        The fields of `Config`, such as ``epochs=10``, ``batch_size=64``, ``learning_rate=0.001``, ``num_layers=3``,
        ``hidden_size=128``, ``optimizer="nadam"``, ``patience=3``, ``seed=0``.

    Returns
    -------
    params : Params
        The parameters of the best epoch: the one of highest validation accuracy (ties: lowest validation loss), or the
        last one without validation data.
    history : pandas.DataFrame
        One row per epoch: ``epoch``, ``train_loss`` and ``train_accuracy`` (means over the epoch, while the parameters
        change, without the L2 penalty), ``val_loss``, ``val_accuracy``, ``seconds``. ``history.attrs`` holds ``data``
        (its name), ``best_epoch``, ``interrupted``, ``config`` (every hyperparameter
        with the value used), ``threads`` and ``engine``.

    Raises
    ------
    ValueError
        If an argument is not valid; before any training.
    TrainingDiverged
        If the loss is no longer finite.

    Notes
    -----
    Ctrl-C, or the notebook's stop button, ends the training; the finished epochs are returned. The same seed gives
    bitwise the same parameters on the same machine with the same number of threads.

    Examples
    --------
    >>> params, history = model_train(data, epochs=3, hidden_size=64, optimizer="adam")  # doctest: +SKIP
    """
    config = Config.from_dict(hyperparameters)
    if not isinstance(progress, str):
        check_bool("progress", progress)
    if log is not None and not callable(log):
        raise ValueError(f"log={log!r} must be a function of one argument, a row of the history")
    resumable = check_checkpoint(checkpoint, check_bool("resume", resume))
    trainer, interrupted = Trainer(data, config, engine=engine, threads=threads), False
    if resumable:
        load_checkpoint(checkpoint, trainer)
    try:
        trainer.fit(log=log, progress=progress, checkpoint=checkpoint)
    except KeyboardInterrupt:
        interrupted = True
    return trainer.best_params(), trainer.history(interrupted)


def train_each(data, configurations, *, seeds=(0,), **hyperparameters):
    """Train each configuration with each seed, and return the histories.

    Parameters
    ----------
    data : Dataset
        The data.
    configurations : dict of dict
        For each name the hyperparameters that distinguish this configuration.
    seeds : sequence of int, default=(0,)
        The seeds.
    **hyperparameters
        The hyperparameters that all configurations have in common.

    Returns
    -------
    dict of list of pandas.DataFrame
        For each name one history per seed, as `model_train` returns them. A training that diverged has the epochs
        before, and ``attrs["diverged"]``. Ctrl-C, or the notebook's stop button, ends the whole comparison: the
        history of the current training is then marked as interrupted, and so are the empty ones of those not started.

    Examples
    --------
    >>> train_each(data, {"small": {"hidden_size": 32}, "large": {"hidden_size": 256}}, epochs=3)  # doctest: +SKIP
    """
    histories, interrupted = {name: [] for name in configurations}, False
    for (name, configuration), seed in itertools.product(configurations.items(), seeds):
        values = {"seed": seed} | hyperparameters | configuration
        try:
            if interrupted:
                history = empty_history(data, Config.from_dict(values))
            else:
                _, history = model_train(data, progress=str(name), **values)
        except TrainingDiverged as error:
            history = error.history
            history.attrs["diverged"] = True
        histories[name].append(history)
        interrupted = history.attrs["interrupted"]
    return histories


def empty_history(data, config):
    """Return the history of a training that was interrupted before its first epoch."""
    import pandas as pd

    history = pd.DataFrame([], columns=COLUMNS, dtype=float)
    name = getattr(data, "name", "data")
    history.attrs = {"data": name, "best_epoch": None, "interrupted": True, "config": asdict(config)}
    return history


def last_epochs(histories, names):
    """Return a table of the last epoch of each training.

    Parameters
    ----------
    histories : dict of list of pandas.DataFrame
        The histories that `train_each` returned; a key is a tuple with one entry for each of `names`, or one value.
    names : sequence of str
        The columns for the entries of the keys.

    Returns
    -------
    pandas.DataFrame
        One row per training: the columns `names`, ``seed``, and those of the history. They are NaN if the training
        diverged, and if it was interrupted in the first epoch.
    """
    import pandas as pd

    rows = []
    for key, runs in histories.items():
        for history in runs:
            config = history.attrs["config"]
            failed = history.attrs.get("diverged") or history.empty
            row = dict.fromkeys(COLUMNS, math.nan) if failed else history.iloc[-1].to_dict()
            entries = key if isinstance(key, tuple) else (key,)
            rows.append(dict(zip(names, entries, strict=True)) | {"seed": config["seed"]} | row)
    return pd.DataFrame(rows, columns=[*names, "seed", *COLUMNS])


def check_data(data):
    """Check shapes, dtypes and values of the training and validation arrays."""
    for name in ("x_train", "y_train", "x_val", "y_val"):
        if not hasattr(data, name):
            raise ValueError(f"data is a {type(data).__name__} without {name}; it must be a Dataset, as from load_data")
    check_matrix("x_train", data.x_train, finite=True)
    check_one_hot("y_train", data.y_train, rows=len(data.x_train))
    if data.x_val is not None:
        check_matrix("x_val", data.x_val, columns=data.x_train.shape[1], finite=True)
        check_one_hot("y_val", data.y_val, rows=len(data.x_val), columns=data.y_train.shape[1])
    for name in ("y_train", "x_val", "y_val"):
        array = getattr(data, name)
        if array is not None and array.dtype != data.x_train.dtype:
            raise ValueError(f"{name} is {array.dtype}; x_train is {data.x_train.dtype}: convert one with astype")


def check_checkpoint(path, resume):
    """Check the arguments `checkpoint` and `resume`; return whether there is a file to continue from."""
    if path is None:
        if resume:
            raise ValueError("resume=True needs checkpoint=, the file to continue from")
        return False
    check_path("checkpoint", path)
    if Path(path).exists() and not resume:
        raise ValueError(f"checkpoint={str(path)!r} exists: continue from it with resume=True, or delete it")
    return Path(path).exists()


@contextmanager
def hold(checkpoint):
    """Keep other trainings away from the checkpoint until the block ends; ValueError if one uses it."""
    if checkpoint is None:
        yield
        return
    lock = locked(checkpoint)
    try:
        lock.acquire(timeout=0)
    except (OSError, NotImplementedError) as error:
        # Otherwise the folder cannot be written, or its file system has no locks
        if isinstance(error, TimeoutError) and os.path.exists(lock.lock_file):
            message = f"checkpoint={str(checkpoint)!r} is in use by another training; name another file"
            raise ValueError(message) from None
    try:
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):
                os.unlink(lock.lock_file)
            lock.release()


def progress_bar(progress, unit):
    """Return a progress bar of one line of text that disappears at its end; none elsewhere or where CI is set.

    It is text in a notebook too, on standard output: a widget would remain in the saved file, where it cannot be
    displayed.
    """
    from tqdm import tqdm  # slow to import

    notebook = "ipykernel" in sys.modules
    visible = notebook or (sys.stderr is not None and sys.stderr.isatty())
    disable = not (progress and visible) or bool(os.environ.get("CI"))
    return tqdm(unit=unit, leave=False, disable=disable, file=sys.stdout if notebook else sys.stderr)
