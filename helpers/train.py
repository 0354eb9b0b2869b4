"""Train one network and record the run with W&B.

Example: python -m helpers.train --epochs 10 --optimizer adam --test

Without a W&B account or a network connection the run is recorded on disk and can be uploaded later.
"""

import os
import sys
from pathlib import Path

if __name__ == "__main__":  # before the other imports, which need this path, and of which one may fail
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # was the folder of this file, if it is run as a file
    from helpers.cli import run_module

    run_module("helpers.train")

from helpers import cli
from helpers.data.sources import FOLDERS
from helpers.experiment.checks import check_choice, check_int_or_none, check_path
from helpers.experiment.config import Config, hyperparameters
from helpers.experiment.values import Problems, read_choice, unknown

OPTIONS = (  # the arguments that are not hyperparameters, and not recorded
    "threads", "test", "allow_sample", "wandb_project", "wandb_entity", "log_gradients", "log_weights", "checkpoint",
    "resume", "model",
)  # fmt: skip
PROBE = 1000  # training images for --log_gradients


def build_parser():
    """Return the argument parser: the course's flags, short and long, with this project's defaults."""
    parser = cli.parser("helpers.train", __doc__)
    cli.add_wandb_project(parser)
    parser.add_argument(
        "--log_gradients",
        action="store_true",
        help="after each epoch, record the norm of each layer's gradient and the share of dead ReLU units",
    )
    parser.add_argument(
        "--log_weights",
        action="store_true",
        help="upload the weights as an artifact (without it: only those of the best run so far of a sweep)",
    )
    parser.add_argument(
        "-d",
        "--dataset",
        metavar="NAME",
        default="fashion_mnist",
        help=f"data set: {', '.join(FOLDERS)} (default: fashion_mnist)",
    )
    group = parser.add_argument_group("hyperparameters")
    for name, entry in hyperparameters().items():
        metavar = {float: "X", str: "NAME", bool: "true|false"}.get(entry.type, "N")
        nargs = {"nargs": "+"} if name == "hidden_size" else {}
        action = group.add_argument(
            *entry.flags.split(), f"--{name}", metavar=metavar, help=entry.describe(name), **nargs
        )
        parser.flags += action.option_strings
    parser.add_argument(
        "--threads", type=int, metavar="N", help="largest number of threads (default: one per core that it may use)"
    )
    parser.add_argument("--test", action="store_true", help="also evaluate the best epoch on the test set")
    parser.add_argument("--checkpoint", metavar="FILE", help="write the training state to this file after every epoch")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint, if it exists")
    parser.add_argument("--model", metavar="FILE", help="write the trained network to this file, for helpers.predict")
    cli.add_allow_sample(parser)
    return parser


def read_arguments(arguments=None):
    """Return the checked arguments ``{name: value}``; exit with a message and code 2 if some are not valid."""
    parser, problems = build_parser(), Problems()
    args = vars(parser.parse_args(arguments))
    if args["hidden_size"]:
        args["hidden_size"] = ",".join(args["hidden_size"])
    with problems.noted():
        args["dataset"] = check_choice("dataset", read_choice("dataset", args["dataset"], FOLDERS), FOLDERS)
    configuration = Problems()
    with configuration.noted():
        args |= {name: value for name, value in vars(make_config(args)).items() if args[name] is not None}
    if "WANDB_SWEEP_ID" not in os.environ:  # a sweep's values that do not fit together are a failed run, see `train`
        problems += configuration
    with problems.noted():
        check_int_or_none("threads", args["threads"])
    with problems.noted():
        check_files(args)
    try:
        problems.report()
    except ValueError as error:
        parser.error(str(error))
    return args


def check_files(args):
    """Raise ValueError if the files of --checkpoint and --model cannot be used."""
    from helpers.experiment.checkpoint import check_checkpoint

    checkpoint, model = args["checkpoint"], args["model"]
    check_checkpoint(checkpoint, args["resume"])
    if model is not None:
        check_path("model", model)
        if checkpoint is not None and Path(checkpoint).resolve() == Path(model).resolve():
            raise ValueError(f"checkpoint and model are the same file, {model!r}: name two different files")


def make_config(args):
    """Return the Config of the arguments."""
    return Config(**{name: args[name] for name in hyperparameters() if args.get(name) is not None})


def main(arguments=None):
    """Train, print and record; return the exit code.

    0; 1 if training diverged, the data cannot be read or the model cannot be written; 2 for arguments that are not
    valid; 130 after Ctrl-C, 143 after SIGTERM and 129 after SIGHUP, which stop training, keep the finished epochs and
    close the W&B run. Under a W&B agent, which gives up after a few exit codes other than 0, the exit code is 0 if
    training diverged or was stopped, and if the sweep's values do not fit together. A run that the agent stopped after
    an epoch or more, as early termination does, is recorded as finished: Bayesian search then reads its accuracy.
    """
    from helpers.experiment.stopping import watching

    args = read_arguments(arguments)
    given = {name: value for name, value in args.items() if name not in OPTIONS and value is not None}
    under_agent = "WANDB_SWEEP_ID" in os.environ
    with watching() as stop:
        from helpers.tracking import Recorder  # slow to import

        name = None if os.environ.get("WANDB_NAME") or under_agent else run_name(make_config(args))
        recorder = Recorder(args["wandb_project"], args["wandb_entity"], name, given)
        try:
            code = train(recorder, args, stop, recorder.config if under_agent else {})
        except BaseException:
            recorder.finish(1)
            raise
        stopped = under_agent and stop.requested and recorder.epochs
        if stopped:
            recorder.summary(stopped=True)
        recorder.finish(0 if stopped else code)
    return 0 if under_agent and (stop.requested or recorder.failed) else code or stop.exit_code


def run_name(config):
    """Return the name of a run: the course's form, such as hl_3_bs_16_ac_tanh, and more hyperparameters."""
    sizes = "x".join(map(str, config.hidden_size)) if isinstance(config.hidden_size, tuple) else config.hidden_size
    rate = "" if config.learning_rate is None else f"_lr_{config.learning_rate:g}"
    return (
        f"hl_{config.num_layers}_bs_{config.batch_size}_ac_{config.activation}_sz_{sizes}_op_{config.optimizer}"
        f"{rate}_wd_{config.weight_decay:g}_wi_{config.weight_init}_ep_{config.epochs}"
    )


def train(recorder, args, stop, chosen):
    """Train with these arguments, print and record the results; return the exit code.

    `chosen` are the values of a sweep, which replace the arguments. Values that do not fit together are recorded as the
    failure of the run, as under an agent the next ones may fit.
    """
    from tqdm import tqdm

    from helpers.data import load_data
    from helpers.experiment import metrics, run
    from helpers.experiment.checkpoint import save_model

    def log(row, params):
        tqdm.write("  ".join(f"{value:>{len(name)}.4g}" for name, value in row.items()))  # above the progress bar
        if args["log_gradients"]:
            row |= metrics.layer_diagnostics(params, *probe, config)
        recorder.log(row)

    known = [*hyperparameters(), "dataset"]
    problems = Problems(unknown("hyperparameter", name, known) for name in chosen if name not in known)
    if problems:
        cli.error(f"the sweep: {'; '.join(problems)}")
        return 2
    args |= chosen
    try:
        config = make_config(args)
        if chosen and not os.environ.get("WANDB_NAME"):
            recorder.rename(run_name(config))
        try:
            data = load_data(args["dataset"], allow_sample=args["allow_sample"])
        except (OSError, ValueError) as error:
            return cli.error(error)
        probe = data.x_train[:PROBE], data.y_train[:PROBE]
        recorder.update_config(vars(config))
        recorder.images(data)
        print("  ".join(run.COLUMNS))
        files = {name: args[name] for name in ("checkpoint", "resume")}
        params, history, best_epoch, interrupted = run.train(
            data, config, on_epoch=log, threads=args["threads"], **files
        )
    except run.TrainingDiverged as error:
        recorder.failure(error.reason)
        return cli.error(error.reason)
    except ValueError as error:  # values that do not fit together or the data, a checkpoint that does not fit
        recorder.failure(str(error))
        cli.error(error)
        return 2
    if interrupted and history.empty:
        print("Interrupted in the first epoch: no parameters are kept.")
        return stop.exit_code
    if interrupted:
        print("Interrupted; the finished epochs are kept.")
    recorder.update_config({"engine": history.attrs["engine"]})
    code = stop.exit_code
    try:
        if args["model"]:
            save_model(args["model"], params, config, data)
            print(f"{args['model']}: the network of epoch {best_epoch}")
    except OSError as error:
        code = code or 1
        cli.error(f"the network could not be written: {error}")
    Y_hat = metrics.predict(params, data.x_val, **config.prediction)
    loss, accuracy = metrics.LOSSES[config.loss][0](Y_hat, data.y_val), metrics.accuracy(Y_hat, data.y_val)
    print(f"{data.name}: best epoch {best_epoch}, validation accuracy {accuracy:.4f}, loss {loss:.4f}")
    recorder.summary(val_accuracy=accuracy, val_loss=loss, best_epoch=best_epoch, data=data.name)
    if args["test"]:
        loss, accuracy = metrics.evaluate(params, data.x_test, data.y_test, loss=config.loss, **config.prediction)
        print(f"{data.name}: test accuracy {accuracy:.4f}, loss {loss:.4f}")
        recorder.summary(test_accuracy=accuracy, test_loss=loss)
    recorder.results(params, history, Y_hat, data, upload_weights=args["log_weights"])
    return code
