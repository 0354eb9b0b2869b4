"""Trainings: the only place where hyperparameters, the training loop and the best epoch are put together.

model_train  trains one network from keyword arguments
train        the same from a Config: what model_train, the commands, the search and the recipes call
train_each   trains several configurations with several seeds, side by side
"""

import itertools
import math
import os
import sys
import threading
import time
import warnings
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np

from helpers.experiment.augmentation import augment
from helpers.experiment.checkpoint import check_checkpoint, fingerprint, load_checkpoint, save_checkpoint
from helpers.experiment.checks import (
    check_bool,
    check_choice,
    check_int_or_none,
    check_matrix,
    check_one_hot,
    image_width,
)
from helpers.experiment.config import Config
from helpers.experiment.metrics import accuracy, predict
from helpers.experiment.parallel import side_by_side
from helpers.experiment.regularization import dropout_masks, gaussian_masks
from helpers.experiment.stopping import watching
from helpers.nn import loop
from helpers.nn.functions import LOSSES
from helpers.nn.initialization import intial_weights
from helpers.nn.network import NUMPY, Params, layer_sizes
from helpers.nn.optimizers import init_state

try:
    from helpers.speed.threads import ThreadedEngine, available_threads, blas_threads
except ImportError:  # helpers.speed is optional, and so is threadpoolctl
    ThreadedEngine, available_threads, blas_threads = None, lambda: 1, nullcontext

ENGINES = ("auto", "numpy", "numba")
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


class Result(NamedTuple):
    """The result of a training.

    `params` are the parameters of the best epoch (without an epoch, the initial ones), `history` the table that
    `model_train` describes, `best_epoch` is None if no epoch was finished, and `interrupted` tells whether a signal or
    the stop button ended the training.
    """

    params: Params
    history: object
    best_epoch: int | None
    interrupted: bool


class TrainingHooks(loop.Hooks):
    """The hooks of a training: augmentation, losses, validation, the best epoch, the checkpoint, stopping."""

    def __init__(self, data, config, state, engine, stop, bar):
        self.data, self.config, self.state, self.engine, self.stop, self.bar = data, config, state, engine, stop, bar
        self.history, self.best_epoch, self.best_theta = [], None, state.params.theta.copy()
        self.last_theta = self.best_theta
        self.after_epoch = lambda hooks, row: None
        self.samples, self.loss = len(data.x_train), LOSSES[config.loss][0]
        self.Y_hat, self.Y = np.empty_like(data.y_train), np.empty_like(data.y_train)
        self.start_epoch()

    def start_epoch(self):
        """Reset what is counted in an epoch."""
        self.seen = self.evaluated = self.steps = self.total_loss = self.total_correct = 0
        self.started = time.perf_counter()
        self.bar.reset(total=math.ceil(self.samples / self.config.batch_size))

    def batch(self, rng, X, Y):
        """Augment the batch and draw its dropout masks."""
        augment(rng, X, Y, self.config)
        if self.config.dropout:
            return dropout_masks(rng, self.config.dropout, len(X), self.state.params, self.engine)
        return None

    def step(self, Y_hat, Y):
        """Keep the predictions; evaluate them now and then. Stop if that was requested, but not after the last step."""
        place = slice(self.seen, self.seen + len(Y))
        self.Y_hat[place], self.Y[place] = Y_hat, Y
        self.seen, self.steps = place.stop, self.steps + 1
        last = self.seen == self.samples
        if last or self.steps % CHECK_EVERY == 0:
            self.evaluate()
        return self.stop.requested and not last

    def evaluate(self):
        """Add the loss and the accuracy of the batches since the last call; TrainingDiverged if it is not finite.

        Numbers that are about to become denormal are set to zero.
        """
        part = slice(self.evaluated, self.seen)
        Y_hat, Y, rows = self.Y_hat[part], self.Y[part], self.seen - self.evaluated
        loss = self.loss(Y_hat, Y)
        if not math.isfinite(loss):
            raise self.diverged(1 + (part.start + int(np.isnan(Y_hat).any(axis=1).argmax())) // self.config.batch_size)
        for vector in (self.state.params.theta, *self.state.vectors):
            self.engine.apply(flush_denormals, vector, limit=flush_limit(vector.dtype))
        self.total_loss += loss * rows
        self.total_correct += accuracy(Y_hat, Y) * rows
        epoch = f"epoch {len(self.history) + 1}/{self.config.epochs}"
        self.bar.set_description(f"{self.bar.name}{epoch}, loss {self.total_loss / self.seen:.4f}", refresh=False)
        self.bar.update(self.steps - self.bar.n)
        self.evaluated = self.seen

    def epoch(self):
        """Validate, keep the best parameters, call what follows an epoch; stop early if `patience` says so.

        The images are validated as they are: averages over flips and shifts would take a quarter of the training time.
        """
        params, steps = self.state.params, self.steps
        if not np.isfinite(params.theta).all():
            raise self.diverged(steps)
        row = {"epoch": len(self.history) + 1, "train_loss": self.total_loss / self.samples}
        row |= {"train_accuracy": self.total_correct / self.samples, "val_loss": math.nan, "val_accuracy": math.nan}
        if self.data.x_val is not None:
            Y_hat = predict(params, self.data.x_val, activation=self.config.activation, engine=self.engine)
            row |= {"val_loss": self.loss(Y_hat, self.data.y_val), "val_accuracy": accuracy(Y_hat, self.data.y_val)}
            if not math.isfinite(row["val_loss"]):
                raise self.diverged(steps)
        row["seconds"] = time.perf_counter() - self.started
        self.history.append(row)
        self.last_theta = params.theta.copy()
        if self.best_epoch is None or self.score(row) > self.score(self.history[self.best_epoch - 1]):
            self.best_epoch, self.best_theta = row["epoch"], self.last_theta
        self.after_epoch(self, dict(row))
        self.start_epoch()
        return self.stop.requested or self.finished()

    def score(self, row):
        """Return the rank of an epoch. Without validation data the last one is the best."""
        return (row["epoch"],) if self.data.x_val is None else (row["val_accuracy"], -row["val_loss"])

    def finished(self):
        """Return whether all epochs are done, or the last `patience` of them have not improved on the best one."""
        epochs, patience = len(self.history), self.config.patience
        return epochs >= self.config.epochs or bool(patience and epochs and epochs - self.best_epoch >= patience)

    def diverged(self, step):
        """Return the TrainingDiverged to raise."""
        params = Params(self.last_theta, self.state.params.sizes)
        history = history_frame(self.data, self.config, self.history, self.best_epoch)
        return TrainingDiverged(len(self.history) + 1, step, self.config.learning_rate, params, history)


def flush_limit(dtype):
    """Return the magnitude below which parameters and optimizer state are set to zero, every `CHECK_EVERY` steps.

    It is a million times the smallest normal number (1e-32 in float32). Fifty steps with β = 0.9 shrink a moving
    average to 1/194, and the learning rate shrinks its update further; both must remain normal until the next time.
    """
    return float(1e6 * np.finfo(dtype).tiny)


def flush_denormals(vector, *, limit):
    """Set entries that are about to become denormal numbers to zero.

    The moving average of a gradient that has become zero (a pixel at the border), and a weight under a strong decay,
    shrink at each step but never reach zero, and many processors are a hundred times slower with denormal numbers.
    """
    vector[:] = np.where(np.abs(vector) < limit, 0, vector)


def train(data, config, *, on_epoch=None, progress=True, checkpoint=None, resume=False, engine="auto", threads=None):
    """Train a network with a Config; see `model_train` for the arguments.

    Parameters
    ----------
    on_epoch : callable, optional
        Called after each epoch with its row of the history, a dict, and the parameters. Rows of a checkpoint are not
        passed again.

    Returns
    -------
    Result
    """
    check_data(data, config)
    resumable = check_checkpoint(checkpoint, check_bool("resume", resume))
    engine, state = make_engine(engine, threads), initial_state(data, config)
    description = fingerprint(data) if checkpoint else None
    with watching() as stop, progress_bar(progress, "batch") as bar:
        hooks = TrainingHooks(data, config, state, engine, stop, bar)
        if resumable:
            stored = load_checkpoint(checkpoint, state, config, description)
            hooks.history, hooks.best_epoch = stored["history"], stored["best_epoch"]
            hooks.best_theta, hooks.last_theta = stored["best_theta"], state.params.theta.copy()

        def after_epoch(hooks, row):  # an argument, as a closure of its own owner would keep it in memory
            if checkpoint:
                progress = {"history": hooks.history, "best_epoch": hooks.best_epoch}
                progress["best_theta"] = hooks.best_theta
                try:
                    save_checkpoint(checkpoint, state, config, description, progress)
                except OSError as error:
                    message = f"checkpoint {str(checkpoint)!r} could not be written ({error}); training continues"
                    warnings.warn(message, stacklevel=2)
            if on_epoch:
                on_epoch(row, state.params)

        hooks.after_epoch = after_epoch
        if not (hooks.finished() or stop.requested):
            with blas_threads(1), np.errstate(all="ignore"):
                loop.train(
                    state, data.x_train, data.y_train, config.rule, **config.rule_options, epochs=config.epochs,
                    batch_size=config.batch_size, activation=config.activation, loss=config.loss,
                    weight_decay=config.weight_decay, decoupled_weight_decay=config.decoupled_weight_decay,
                    schedule=config.schedule, warmup=config.warmup, hooks=hooks, engine=engine,
                )  # fmt: skip
        interrupted = stop.requested and not hooks.finished()
    history = history_frame(data, config, hooks.history, hooks.best_epoch, interrupted)
    history.attrs["engine"] = getattr(engine, "name", "numpy")
    return Result(Params(hooks.best_theta, state.params.sizes), history, hooks.best_epoch, interrupted)


def make_engine(engine="auto", threads=None):
    """Return the engine of this name, for so many threads; "auto" uses Numba where it can be imported.

    Raises ValueError if an argument is not valid, or if Numba is requested and cannot be imported.
    """
    engine, threads = check_choice("engine", engine, ENGINES), check_int_or_none("threads", threads)
    threads = threads or available_threads()
    if engine != "numpy":
        try:
            from helpers.speed.engine import CompiledEngine

            return CompiledEngine(threads)
        except Exception as error:  # a broken installation may raise anything
            reason = f"{type(error).__name__}: {error}"
        if engine == "numba":
            raise ValueError(f"engine='numba' needs Numba ({reason}); install it with: pip install numba")
        if not reason.startswith("ModuleNotFoundError"):
            warnings.warn(f"Numba is installed but cannot be imported ({reason}); training uses NumPy", stacklevel=3)
    return ThreadedEngine(threads) if ThreadedEngine else NUMPY


def initial_state(data, config):
    """Return the state of a training before its first step."""
    inputs, classes, rng = data.x_train.shape[1], data.y_train.shape[1], np.random.default_rng(config.seed)
    params = intial_weights(
        config.num_layers, config.hidden_size, config.weight_init, inputs=inputs, classes=classes, seed=rng,
        dtype=data.x_train.dtype,
    )  # fmt: skip
    if config.receptive_field:
        W, _ = params.layers[0]
        W *= gaussian_masks(rng, *W.shape, config.receptive_field)
    rng = np.random.default_rng([config.seed, 1])  # not the generator that drew the weights
    return loop.TrainingState(params, init_state(config.rule, params.theta), rng)


def history_frame(data, config, rows, best_epoch, interrupted=False):
    """Return the history as a data frame, one row per epoch; see `model_train`."""
    import pandas as pd  # imported here because it is slow to import

    history = pd.DataFrame(rows, columns=COLUMNS, dtype=None if rows else float)
    history.attrs = {
        "data": getattr(data, "name", "data"), "best_epoch": best_epoch, "interrupted": interrupted,
        "config": dict(vars(config)),
    }  # fmt: skip
    return history


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
        NumPy, or compiled functions with bitwise the same results, which need Numba. "auto" uses Numba where it is
        installed.
    threads : int, optional
        The largest number of threads, by default that of `available_threads`. It does not change the results: large
        matrix products are computed in blocks that follow from the shapes alone, small ones in a single thread.
    **hyperparameters
        Those of `Config`, such as ``epochs=10``, ``batch_size=64``, ``learning_rate=0.001``, ``num_layers=3``,
        ``hidden_size=128``, ``optimizer="nadam"``, ``patience=3``, ``seed=0``, and those of the update rule.

    Returns
    -------
    params : Params
        The parameters of the best epoch: the one of highest validation accuracy (ties: lowest validation loss), or the
        last one without validation data.
    history : pandas.DataFrame
        One row per epoch: ``epoch``, ``train_loss`` and ``train_accuracy`` (means over the epoch, while the parameters
        change, without the L2 penalty), ``val_loss`` and ``val_accuracy`` (of the images as they are, not averaged over
        flips and shifts), ``seconds``. ``history.attrs`` holds ``data`` (its name), ``best_epoch``, ``interrupted``,
        ``config`` (every hyperparameter with the value used) and ``engine``.

    Raises
    ------
    ValueError
        If an argument is not valid; before any training.
    TrainingDiverged
        If the loss is no longer finite.

    Notes
    -----
    Ctrl-C, or the notebook's stop button, ends the training after the current step; the finished epochs are returned.
    Stopping twice within three seconds raises KeyboardInterrupt, which also ends a loop of trainings. The same seed
    gives bitwise the same parameters on the same type of processor with the same versions of the packages.

    Examples
    --------
    >>> params, history = model_train(data, epochs=3, hidden_size=64, optimizer="adam")  # doctest: +SKIP
    """
    if log is not None and not callable(log):
        raise ValueError(f"log={log!r} must be a function of one argument, a row of the history")
    if not isinstance(progress, str):
        check_bool("progress", progress)
    result = train(
        data, Config(**hyperparameters), on_epoch=log and (lambda row, params: log(row)), progress=progress,
        checkpoint=checkpoint, resume=resume, engine=engine, threads=threads,
    )  # fmt: skip
    if result.interrupted:
        print(f"Stopped after {len(result.history)} epochs. To end a loop of trainings too, stop again at once.")
    return result.params, result.history


def train_each(data, configurations, *, seeds=(0,), workers=None, **hyperparameters):
    """Train each configuration with each seed, side by side in several processes, and return the histories.

    Parameters
    ----------
    data : Dataset
        The data.
    configurations : dict of dict
        For each name the hyperparameters that distinguish this configuration.
    seeds : sequence of int, default=(0,)
        The seeds.
    workers : int, optional
        How many trainings run at the same time, by default that of `available_threads`. It does not change the results.
    **hyperparameters
        The hyperparameters that all configurations have in common.

    Returns
    -------
    dict of list of pandas.DataFrame
        For each name one history per seed, as `model_train` returns them. A training that diverged has the epochs
        before, and ``attrs["diverged"]``. Ctrl-C, or the notebook's stop button, ends the whole comparison: the
        histories of the trainings that were not finished are then marked as interrupted; with several workers they are
        empty.

    Raises
    ------
    ValueError
        If an argument is not valid; before any training.
    BrokenExecutor
        If processes are killed again and again, as where memory is short: fewer `workers` need less.

    Examples
    --------
    >>> train_each(data, {"small": {"hidden_size": 32}, "large": {"hidden_size": 256}}, epochs=3)  # doctest: +SKIP
    """
    for values in (hyperparameters, *configurations.values()):
        if "seed" in values:
            raise ValueError(f"seed={values['seed']!r}: train_each has the argument seeds, such as seeds=(0, 1, 2)")
    pairs = list(itertools.product(configurations, seeds))
    configs = [Config(**(hyperparameters | configurations[name]), seed=seed) for name, seed in pairs]
    for config in configs:
        check_data(data, config)
    workers = min(check_int_or_none("workers", workers) or available_threads(), max(len(pairs), 1))
    names = [workers == 1 and str(name) for name, _ in pairs]  # several processes have one progress bar
    tasks = [(data, config, name) for config, name in zip(configs, names, strict=True)]
    finished = {}
    with watching() as stop, progress_bar(workers > 1, "training") as bar:
        bar.reset(total=len(tasks))
        for i, history in side_by_side(train_one, tasks, workers, stop):
            finished[i] = history
            bar.update()
    histories = {name: [] for name in configurations}
    for i, (name, _) in enumerate(pairs):
        unfinished = history_frame(data, configs[i], [], None, interrupted=True)
        histories[name].append(finished.get(i, unfinished))
    return histories


def train_one(data, config, name):
    """Train one network of `train_each` and return its history; the name is for its progress bar, False for none."""
    try:
        return train(data, config, progress=name).history
    except TrainingDiverged as error:
        error.history.attrs["diverged"] = True
        return error.history


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


def check_data(data, config):
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
    layer_sizes(config.num_layers, config.hidden_size, data.x_train.shape[1], data.y_train.shape[1])
    if config.flip_probability or config.max_shift or config.affine:
        width = image_width("x_train", data.x_train.shape[1])
        if config.max_shift >= width:
            raise ValueError(f"max_shift={config.max_shift} must be below the width of the images, {width} pixels")


def progress_bar(progress, unit):
    """Return a progress bar of one line of text that disappears at its end.

    There is none if neither a terminal nor a notebook shows it, or if the variable CI is set. It is text in a notebook
    too, on standard output: a widget would remain in the saved file, where it cannot be displayed.
    """
    from tqdm import tqdm  # slow to import

    tqdm.set_lock(threading.RLock())  # without a semaphore, which a killed process would leave behind
    notebook = "ipykernel" in sys.modules
    visible = notebook or (sys.stderr is not None and sys.stderr.isatty())
    disable = not (progress and visible) or bool(os.environ.get("CI"))
    bar = tqdm(unit=unit, leave=False, disable=disable, file=sys.stdout if notebook else sys.stderr)
    bar.name = f"{progress}: " if isinstance(progress, str) else ""
    return bar
