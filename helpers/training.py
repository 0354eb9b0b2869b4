"""model_train: the epoch loop, with validation, early stopping and checkpoints; nothing that was trained is lost."""

import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from helpers import checks
from helpers.augmentation import mirrored
from helpers.checkpoint import fingerprint, resume_training, save_training
from helpers.config import Config
from helpers.learner import Learner, TrainingDiverged
from helpers.network import as_params

# One thread for BLAS. Seconds an epoch on two cores, 784-128×3-10 at batch 64: one thread 0.67, two 1.01; with
# another process busy 0.71 and 2.89. Two pay only for wide layers on a machine with nothing else to do
# (784-1024-512-10 at batch 256: 4.5 and 2.7; with another process busy 4.4 and 7.5).
BLAS_THREADS = 1

COLUMNS = ["epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "seconds"]


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
