"""What W&B keeps of a run. Nothing that happens to W&B stops a training."""

import os
import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import wandb

# A server that goes away is given up on after seconds, not W&B's hours; what it missed stays on disk for `wandb sync`.
PATIENCE = {
    "init_timeout": 30, "finish_timeout": 60,
    "x_graphql_retry_max": 2, "x_graphql_retry_wait_max_seconds": 1, "x_graphql_timeout_seconds": 10,
    "x_file_stream_retry_max": 4, "x_file_stream_retry_wait_max_seconds": 2, "x_file_stream_timeout_seconds": 10,
    "x_file_transfer_retry_max": 2, "x_file_transfer_retry_wait_max_seconds": 1, "x_file_transfer_timeout_seconds": 30,
}  # fmt: skip
NOT_OF_THE_TRAINING = ("test", "allow_sample", "wandb_project", "wandb_entity", "checkpoint", "resume", "model")
QUIET = {"silent": True, "console": "off", "x_disable_stats": True, "disable_git": True, "x_disable_meta": True}


class Recorder:
    """A W&B run: online where that can be, else offline, with one line that says so."""

    def __init__(self, given, name):
        os.environ.setdefault("WANDB_SILENT", "true")
        self.broken = self.failed = False
        own = {key: given[key] for key in NOT_OF_THE_TRAINING}
        config = {key: value for key, value in given.items() if key not in own}
        settings = {"project": given["wandb_project"], "entity": given["wandb_entity"], "name": name, "config": config}
        reason = _why_offline()
        wanted = "offline" if reason else os.environ.get("WANDB_MODE", "online")
        for mode in dict.fromkeys((wanted, "offline")):
            try:
                self.run = wandb.init(**settings, mode=mode, settings=wandb.Settings(**QUIET, **PATIENCE))
                break
            except Exception as error:  # refused, hanging, or no longer there; offline, a name that it cannot take
                reason = _in_one_line(error)
        else:
            mode = "disabled"
            self.run = wandb.init(config=config, mode=mode)
        self.folder = Path(self.run.dir)
        self.mode, place = mode, os.path.relpath(self.folder.parent)
        if reason and mode == "disabled":
            print(f"W&B records nothing ({reason})")
        elif mode == "online":
            print(f"W&B records online; should its server go away, upload the run later: wandb sync {place}")
        elif mode == "offline":
            print(f"W&B records offline ({reason or 'WANDB_MODE'}); to upload the run later: wandb sync {place}")
        self.config = {key: self.run.config[key] for key in config}

    def log(self, row):
        """Record one epoch's row."""
        self._try(lambda: self.run.log(row))

    def summary(self, **values):
        """Record what the run comes to."""
        self._try(lambda: self.run.summary.update(values))

    def failure(self, reason):
        """Record why the training failed."""
        self.failed = True
        self.summary(failure=reason)

    def images(self, data):
        """Record one image of each class, with the first epoch."""
        labels = data.y_train.argmax(axis=1)

        def send():
            first = [255 * (1 - data.x_train[np.flatnonzero(labels == label)[0]]) for label in range(10)]
            pictures = [pixels.reshape(28, 28).astype(np.uint8) for pixels in first]
            images = [wandb.Image(picture, caption=name) for picture, name in zip(pictures, data.class_names)]
            self.run.log({"images": images}, commit=False)

        self._try(send)

    def results(self, params, history, Y_hat, data):
        """Record the confusion matrix, the weights as an artifact, and the history as a CSV file beside them."""
        truth, said = data.y_val.argmax(axis=1).tolist(), Y_hat.argmax(axis=1).tolist()
        confusion = {"y_true": truth, "preds": said, "class_names": list(data.class_names)}
        arrays = {f"{letter}_{k}": a for k, layer in enumerate(params.layers, 1) for letter, a in zip("Wb", layer)}

        def files():
            self.folder.mkdir(parents=True, exist_ok=True)
            history.to_csv(self.folder / "history.csv", index=False)
            np.savez(self.folder / "weights.npz", **arrays)
            artifact = wandb.Artifact(f"weights-{self.run.id}", type="model")
            artifact.add_file(str(self.folder / "weights.npz"))
            self.run.log_artifact(artifact)

        self._try(lambda: self.run.log({"confusion_matrix": wandb.plot.confusion_matrix(**confusion)}))
        if self.mode != "disabled":
            self._try(files)

    def finish(self, exit_code):
        """Close the run, once; with an exit code other than 0, W&B shows it as failed."""
        run, self.run = self.run, None
        if run:
            self._try(lambda: run.finish(exit_code=exit_code))

    def _try(self, action):
        try:
            action()
        except Exception as error:  # W&B's trouble is not the training's
            if not self.broken:
                print(f"W&B: {_in_one_line(error)}; training goes on", file=sys.stderr)
            self.broken = True


def _why_offline():
    """Return why W&B must not be asked to go online, in words; None if it may, or if WANDB_MODE decides."""
    if os.environ.get("WANDB_MODE", "online") != "online":
        return None
    try:
        server = urlsplit(wandb.setup().settings.base_url)
        port = server.port or (443 if server.scheme == "https" else 80)
        socket.create_connection((server.hostname, port), timeout=3).close()
    except OSError as error:
        return f"{server.hostname} does not answer: {error.strerror or error}"
    except Exception as error:  # settings that W&B does not take, such as a WANDB_BASE_URL that is none
        return _in_one_line(error)
    try:
        known = wandb.login(prompt=False)
    except Exception as error:  # a server that refuses the key, or does not speak
        return _in_one_line(error)
    return None if known else "no account: wandb login makes one known"


def _in_one_line(error):
    return f"{type(error).__name__}: {error}".splitlines()[0]
