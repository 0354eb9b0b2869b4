"""Run a hyperparameter search on this machine, without a W&B server or account.

Example: python -m helpers.sweep sweep.yaml --trials 40 --workers 2

Optuna chooses the configurations: with method bayes, the first quarter of the trials (4 to 40) at random, the others
by TPE. With early_terminate, Hyperband stops poor trials early. The trials are stored in an SQLite file, so that an
interrupted or killed search continues when the command is run again. With --storage and the URL of a database server,
several machines share one search: run the same command on each.
"""

import functools
import re
import sys
from pathlib import Path

if __name__ == "__main__":  # before the other imports, which need this path, and of which one may fail
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # was the folder of this file, if it is run as a file
    from helpers.cli import run_module

    run_module("helpers.sweep")

from helpers import cli
from helpers.experiment import stopping
from helpers.search import read_sweep, search


def print_trial(metric, row):
    """Print the row of a trial, above the progress bar."""
    from tqdm import tqdm

    failed = row["state"] == "failed"
    result = row["reason"] if failed else f"{metric} {row[metric]:.4f} after {row['epochs_run']} epochs"
    tqdm.write(f"trial {row['trial']}, {row['state']}: {result}, {row['seconds']:.0f} s")


def flags(row, frame):
    """Return the flags of helpers.train for the hyperparameters of a row."""
    values = {name: row[name] for name in frame.attrs["hyperparameters"] if row[name] is not None}
    lists = {name: value for name, value in values.items() if isinstance(value, (list, tuple))}
    lists = {name: ",".join(map(str, value)) + "," * (len(value) == 1) for name, value in lists.items()}
    return " ".join(f"--{name} {value}" for name, value in (values | lists).items())


def main(arguments=None):
    """Run the search and print its best trials; return the exit code.

    0; 1 if there are no data, the disk is full, the storage fails, the workers were killed or every trial failed; 130
    after Ctrl-C and 143 after SIGTERM. An argument or file that is not valid ends with exit code 2.
    """
    parser = cli.parser("helpers.sweep", __doc__)
    parser.add_argument("file", help="the sweep file, such as sweep.yaml")
    parser.add_argument(
        "--trials", type=int, metavar="N", help="total number of finished trials (default: the file's run_cap, or 20)"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="parallel processes (default: %(default)s)")
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of training and, with one worker, of the sampler (default: %(default)s)",
    )
    parser.add_argument("--storage", metavar="URL", help="database for the trials (default: an SQLite file in sweeps/)")
    parser.add_argument("--results", metavar="FILE", help="CSV file with one row per trial (default: in sweeps/)")
    cli.add_allow_sample(parser)
    args = parser.parse_args(arguments)
    special = r"[?#%@\ud800-\udfff]"  # in a URL; letters that the terminal lacks
    stem = re.sub(special, "_", Path(args.file).stem)
    folder = Path("sweeps")
    storage = args.storage or f"sqlite:///{folder.as_posix()}/{stem}.db"
    results = args.results or str(folder / f"{stem}.csv")
    frame = None
    with stopping.watching() as stop:
        try:
            sweep = read_sweep(args.file)
            if sweep.ignored:
                print(f"Ignored here, used only by W&B: {', '.join(sweep.ignored)}", file=sys.stderr)
            if not (args.storage and args.results):
                folder.mkdir(exist_ok=True)
            frame = search(
                args.file, trials=args.trials, workers=args.workers, seed=args.seed, storage=storage,
                results=results, allow_sample=args.allow_sample, log=functools.partial(print_trial, sweep.metric),
            )  # fmt: skip
        except ValueError as error:
            parser.error(str(error))
        except OSError as error:
            return cli.error(error)
        except KeyboardInterrupt:  # a second signal
            pass
        if frame is None or frame.attrs["interrupted"]:
            print("\nInterrupted; run the same command again to continue the search.", file=sys.stderr)
            return stop.exit_code or 130
        ranked = frame.sort_values(sweep.metric, ascending=sweep.goal == "minimize")
        ranked = ranked.sort_values("state", key=lambda state: state == "failed", kind="stable").head(10)
        print(ranked.drop(columns=["reason", "sweep"]).to_string(index=False, float_format="{:.4g}".format))
        for reason, count in frame["reason"].value_counts().items():
            print(f"{count} failed: {reason}")
        print(f"Results of all {len(frame)} trials: {results}")
        if ranked["state"].iloc[0] != "failed":
            sample = " --allow_sample" * args.allow_sample
            print(f"To train the first of them: python -m helpers.train {flags(ranked.iloc[0], frame)}{sample}")
    return stop.exit_code or int((frame["state"] == "failed").all())
