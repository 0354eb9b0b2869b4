"""One training run from the command line, and under a W&B agent: python -m helpers.train --epochs 10

The run is recorded by W&B. Without an account or a network it is recorded on disk, to be uploaded later.
"""

import argparse
import os
import signal
import sys
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

from helpers import checks, console
from helpers.config import SETTINGS, Config
from helpers.files import FOLDERS


def build_parser():
    """Return the parser of the course's flags, short and long, with this project's defaults."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.train", description=__doc__, allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )  # fmt: skip
    parser.add_argument("-wp", "--wandb_project", default="DA6401-assignment-1", help="W&B project")
    parser.add_argument("-we", "--wandb_entity", help="W&B user or team; by default the account's own")
    parser.add_argument("-d", "--dataset", default="fashion_mnist", help=", ".join(FOLDERS))
    for name, own in SETTINGS.items():
        flags = [flag for flag in (own.metadata["flag"], f"--{name}") if flag]
        limits = own.metadata["check"].keywords
        allowed = f": {', '.join(limits['allowed'])}" if "allowed" in limits else f"; {checks.limits(**limits)}"
        kind = {"hidden_size": _sizes, "patience": int}.get(name, own.type)
        several = {"nargs": "+"} if name == "hidden_size" else {}
        words = (own.metadata["meaning"] + allowed).rstrip("; ")
        parser.add_argument(*flags, type=kind, default=own.default, help=words, **several)
    parser.add_argument("--test", action="store_true", help="evaluate the best epoch on the test images too")
    parser.add_argument("--checkpoint", metavar="FILE", help="write the training there after every epoch")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint, if there is one yet")
    parser.add_argument("--model", metavar="FILE", help="write the trained network there, for helpers.predict")
    parser.add_argument("--allow_sample", action="store_true", help="use the small sample where there is no full data")
    return parser


def read_arguments(arguments=None):
    """Return what the command line says, {name: value}; what makes no sense ends with a message and exit code 2."""
    parser = build_parser()
    given = vars(parser.parse_args(arguments))
    if isinstance(given["hidden_size"], list):
        sizes = [size for item in given["hidden_size"] for size in item]
        given["hidden_size"] = sizes[0] if len(sizes) == 1 else sizes
    try:
        given["dataset"] = checks.choice("dataset", given["dataset"], FOLDERS)
        given |= vars(_config(given))
    except ValueError as error:
        parser.error(str(error))
    for name in ("checkpoint", "model"):
        if given[name] and not Path(given[name]).resolve().parent.is_dir():
            parser.error(f"--{name} {given[name]} is in a folder that does not exist: make it first")
    if given["resume"] and not given["checkpoint"]:
        parser.error("--resume needs --checkpoint, the file to go on from")
    if given["checkpoint"] and not given["resume"] and Path(given["checkpoint"]).exists():
        parser.error(f"--checkpoint {given['checkpoint']} exists: --resume goes on from it; or delete it")
    return given


def main(arguments=None):
    """Train, print, record; return the exit code.

    0; 1 if training diverged or there is no data; 2 for arguments that make no sense; 130 after Ctrl-C and 143 after
    SIGTERM, which both end the training, keep what was trained and close W&B's run. Under an agent, which gives up
    after a few exit codes that are not 0, a training that diverged or was stopped ends with 0.
    """
    given = read_arguments(arguments)

    from helpers.recording import Recorder

    recorder = Recorder(given, run_name(_config(given)))
    with _terminated_as_interrupted() as sigterm:
        try:
            code = _train(recorder, given | recorder.config)  # a sweep's file of parameters comes before the flags
        except KeyboardInterrupt:  # before or after the training
            code = 130
        except BaseException:
            recorder.finish(1)
            raise
        sigterm.interrupts = False  # nothing stops the closing
        recorder.finish(143 if sigterm.came else code)
    code = 143 if sigterm.came else code
    return 0 if "WANDB_SWEEP_ID" in os.environ and (code == 143 or recorder.failed) else code


@contextmanager
def _terminated_as_interrupted():
    """Let SIGTERM raise KeyboardInterrupt, once; yield whether it came and whether it may."""
    sigterm = SimpleNamespace(came=False, interrupts=True)

    def stop(number, frame):
        again, sigterm.came = sigterm.came, True
        if sigterm.interrupts and not again:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield sigterm
    finally:
        signal.signal(signal.SIGTERM, before)


def run_name(config):
    """Return a run's name in the course's style: hl_3_bs_16_ac_tanh, and what else tells runs apart."""
    sizes = "x".join(map(str, config.hidden_size)) if isinstance(config.hidden_size, tuple) else config.hidden_size
    return (
        f"hl_{config.num_layers}_bs_{config.batch_size}_ac_{config.activation}_sz_{sizes}_op_{config.optimizer}"
        f"_lr_{config.learning_rate:g}_wd_{config.weight_decay:g}_wi_{config.weight_init}_ep_{config.epochs}"
    )


def _train(recorder, given):
    from tqdm.auto import tqdm

    from helpers.data import load_data
    from helpers.evaluation import evaluate, predict
    from helpers.learner import TrainingDiverged
    from helpers.training import COLUMNS, model_train

    try:
        config = _config(given)
        data = load_data(given["dataset"], allow_sample=given["allow_sample"])
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    recorder.images(data)

    def log(row):
        cells = (f"{value:>{len(name)}.4g}" for name, value in row.items())
        tqdm.write("  ".join(cells))  # a line above the progress bar
        recorder.log(row)

    print("  ".join(COLUMNS))
    try:
        own = {"checkpoint": given["checkpoint"], "resume": given["resume"]}
        params, history = model_train(data, **asdict(config), **own, log=log)
    except ValueError as error:  # the checkpoint's
        print(f"error: {error}", file=sys.stderr)
        return 2
    except TrainingDiverged as error:
        print(f"error: {error.reason}", file=sys.stderr)
        recorder.failure(error.reason)
        return 1
    interrupted = history.attrs["interrupted"]
    if interrupted and history.empty:
        print("Interrupted before the end of the first epoch: there is nothing to keep.")
        return 130
    if interrupted:
        print("Interrupted; what was trained so far is kept.")
    written = _write_model(given["model"], params, config, data.class_names)
    how = {"activation": config.activation, "mirror": config.flip > 0}
    loss, accuracy = evaluate(params, data.x_val, data.y_val, loss=config.loss, **how)
    print(f"{data.name}: best epoch {history.attrs['best_epoch']}, validation accuracy {accuracy:.4f}, loss {loss:.4f}")
    recorder.summary(val_accuracy=accuracy, val_loss=loss, best_epoch=history.attrs["best_epoch"], data=data.name)
    if given["test"]:
        loss, accuracy = evaluate(params, data.x_test, data.y_test, loss=config.loss, **how)
        print(f"{data.name}: test accuracy {accuracy:.4f}, loss {loss:.4f}")
        recorder.summary(test_accuracy=accuracy, test_loss=loss)
    recorder.results(params, history, predict(params, data.x_val, **how), data)
    return 130 if interrupted else 0 if written else 1


def _write_model(path, params, config, class_names):
    """Write the network, if there is a path; return whether nothing went wrong."""
    from helpers.checkpoint import save_model

    try:
        if path:
            save_model(path, params, config, class_names)
    except OSError as error:
        print(f"error: the network could not be written: {error}", file=sys.stderr)
        return False
    return True


def _config(given):
    return Config(**{name: given[name] for name in SETTINGS})


def _sizes(text):
    """Read whole numbers from 128, or 512,256, or [512, 256]."""
    try:
        return [int(size) for size in text.strip("[] ,").split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} must be whole numbers, such as 128 or 512,256") from None


if __name__ == "__main__":
    console.run(main)
