"""Record runs with Weights & Biases. A failure of W&B never stops training."""

import os
import sys
from pathlib import Path

import numpy as np
import wandb

from helpers.experiment.checkpoint import layer_arrays
from helpers.experiment.metrics import accuracy

# If the server stops answering, give up after a minute at most instead of hours; `wandb sync` uploads the rest later.
WANDB_TIMEOUTS = {
    "init_timeout": 30, "finish_timeout": 60,
    "x_graphql_retry_max": 2, "x_graphql_retry_wait_max_seconds": 1, "x_graphql_timeout_seconds": 10,
    "x_file_stream_retry_max": 4, "x_file_stream_retry_wait_max_seconds": 2, "x_file_stream_timeout_seconds": 10,
    "x_file_transfer_retry_max": 2, "x_file_transfer_retry_wait_max_seconds": 1, "x_file_transfer_timeout_seconds": 30,
}  # fmt: skip
QUIET = {"silent": True, "console": "off", "x_disable_stats": True, "disable_git": True, "x_disable_meta": True}
CONNECT_TIMEOUT = 3  # seconds


class Recorder:
    """A W&B run: online if possible, otherwise offline. One printed line states which.

    Parameters
    ----------
    project, entity, name : str or None
        The W&B project, its user or team (None: the account's default) and the name of the run.
    config : dict
        The hyperparameters given by the user.

    Attributes
    ----------
    config : dict
        The hyperparameters to use: under an agent, the sweep's values replace the given ones.
    """

    def __init__(self, project, entity, name, config):
        os.environ.setdefault("WANDB_SILENT", "true")
        self.run, self.broken, self.failed, self.epochs = None, False, False, 0
        options = {"project": project, "entity": entity, "name": name, "config": config}
        reason = reason_offline()
        self.mode = "offline" if reason else os.environ.get("WANDB_MODE") or "online"
        reason = self.start(options) or reason
        self.folder = Path(self.run.dir)
        place = display_path(self.folder.parent)
        if self.mode == "online":
            print(f"W&B records online; if the connection fails, upload the run later: wandb sync {place}")
        elif self.mode == "offline":
            print(f"W&B records offline ({reason or 'WANDB_MODE'}); to upload the run later: wandb sync {place}")
        elif reason:
            print(f"W&B records nothing ({reason})")
        self.config = dict(self.run.config)

    def start(self, options):
        """Start the run in the requested mode, else offline, else disabled; return why a mode failed, or None."""
        reason = None
        for mode in dict.fromkeys((self.mode, "offline")):
            # An agent kills a process 30 s after it has told it to stop
            limits = WANDB_TIMEOUTS | ({"finish_timeout": 20} if "WANDB_SWEEP_ID" in os.environ else {})
            settings = wandb.Settings(**QUIET, **limits)
            try:
                self.run = wandb.init(**options, mode=mode, settings=settings)
            except Exception as error:  # W&B refuses, does not answer, or cannot use the project's name
                reason = first_line(error)
            else:
                self.mode = mode
                self.attempt(self.define_metrics)
                return reason
        self.mode, self.run = "disabled", wandb.init(config=options["config"], mode="disabled")
        return reason

    def define_metrics(self):
        """Plot every metric against the epoch; the summary holds the best validation accuracy and loss."""
        self.run.define_metric("epoch")
        self.run.define_metric("*", step_metric="epoch")
        self.run.define_metric("val_accuracy", step_metric="epoch", summary="max")
        self.run.define_metric("val_loss", step_metric="epoch", summary="min")

    def rename(self, name):
        """Give the run another name."""
        self.attempt(lambda: setattr(self.run, "name", name))

    def update_config(self, config):
        """Record the hyperparameters in use, defaults included."""
        self.attempt(lambda: self.run.config.update(config, allow_val_change=True))

    def log(self, row):
        """Record the row of one epoch."""
        self.epochs += 1
        self.attempt(lambda: self.run.log(row))

    def summary(self, **values):
        """Record summary metrics."""
        self.attempt(lambda: self.run.summary.update(values))

    def failure(self, reason):
        """Record why the training failed."""
        self.failed = True
        self.summary(failure=reason)

    def images(self, data):
        """Record one image of each class, together with the first epoch."""
        labels = data.y_train.argmax(axis=1)

        def send():
            first = [255 * (1 - data.x_train[np.flatnonzero(labels == label)[0]]) for label in range(10)]
            pictures = [pixels.reshape(28, 28).astype(np.uint8) for pixels in first]
            images = [
                wandb.Image(picture, caption=name) for picture, name in zip(pictures, data.class_names, strict=True)
            ]
            self.run.log({"images": images}, commit=False)

        self.attempt(send)

    def results(self, params, history, Y_hat, data, *, upload_weights=False):
        """Record the confusion matrix, and the history and the weights as files.

        The weights are uploaded, as an artifact, if `upload_weights` is true, or if no finished run of the sweep has a
        higher validation accuracy: weights of every run would fill the storage of an account.
        """
        labels, predicted = data.y_val.argmax(axis=1).tolist(), Y_hat.argmax(axis=1).tolist()
        confusion = {"y_true": labels, "preds": predicted, "class_names": list(data.class_names)}

        def write_files():  # in W&B's folder; helpers.predict reads only what --model names
            self.folder.mkdir(parents=True, exist_ok=True)
            history.to_csv(self.folder / "history.csv", index=False)
            weights = self.folder / "weights.npz"
            np.savez(weights, **layer_arrays(params))
            if upload_weights or self.is_best_of_sweep(accuracy(Y_hat, data.y_val)):
                artifact = wandb.Artifact(f"weights-{self.run.sweep_id or self.run.id}", type="model")
                artifact.add_file(str(weights))
                self.run.log_artifact(artifact)

        self.attempt(lambda: self.run.log({"confusion_matrix": wandb.plot.confusion_matrix(**confusion)}))
        if self.mode != "disabled":
            self.attempt(write_files)

    def is_best_of_sweep(self, accuracy):
        """Return whether this run belongs to a sweep, and no finished run of it has a higher validation accuracy."""
        if not self.run.sweep_id or self.mode != "online":
            return False
        path, order = f"{self.run.entity}/{self.run.project}", "-summary_metrics.val_accuracy"
        finished = {"sweep": self.run.sweep_id, "state": "finished"}
        runs = wandb.Api(timeout=CONNECT_TIMEOUT).runs(path, filters=finished, order=order, per_page=1, lazy=False)
        best = next((run.summary.get("val_accuracy") for run in runs), None)
        return best is None or accuracy >= best

    def finish(self, exit_code):
        """Close the run, once; W&B shows it as failed if the exit code is not 0."""
        run, self.run = self.run, None
        if run:
            self.attempt(lambda: run.finish(exit_code=exit_code))

    def attempt(self, action):
        """Call `action`; report its first failure on standard error and ignore the others."""
        try:
            action()
        except Exception as error:
            if not self.broken:
                print(f"W&B: {first_line(error)}; training continues", file=sys.stderr)
            self.broken = True


def reason_offline():
    """Return why W&B cannot record online, in words; None if it can, as far as is known, or if WANDB_MODE decides."""
    if os.environ.get("WANDB_MODE", "online") != "online":
        return None
    try:
        known = wandb.login(prompt=False)
    except Exception as error:  # invalid settings, a key that is refused, a server that does not answer properly
        return first_line(error)
    return None if known else "not logged in; run wandb login"


def display_path(folder):
    """Return the path relative to the working directory, or as it is if there is none (on another drive of Windows)."""
    try:
        return os.path.relpath(folder)
    except ValueError:
        return str(folder)


def first_line(error):
    """Return the type and the first line of an error."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
