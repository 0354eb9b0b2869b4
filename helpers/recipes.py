"""Train the networks of the README's tables (the recipes), each with several seeds.

Example: python -m helpers.recipes fast --seeds 5

Without names, all recipes are trained, one process per core. Results are written to helpers/results, where they replace
those of the same recipe and seed: recipes.csv (one row per run), curves.csv (one row per epoch) and predictions/ (for
some recipes). The hyperparameters of `fast` and `record` were chosen by the runs in exploration.csv.
"""

import sys
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":  # before the other imports, which need this path, and of which one may fail
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # was the folder of this file, if it is run as a file
    from helpers.cli import run_module

    run_module("helpers.recipes")

import numpy as np
import pandas as pd

from helpers import RESULTS, cli
from helpers.experiment import stopping
from helpers.experiment.config import Config
from helpers.experiment.parallel import side_by_side
from helpers.experiment.run import TrainingDiverged, available_threads, train
from helpers.files import atomic_write, locked
from helpers.nn.functions import LOSSES

RUNS, CURVES, PREDICTIONS = RESULTS / "recipes.csv", RESULTS / "curves.csv", RESULTS / "predictions"
KEYS = ["recipe", "seed"]


class Recipe(NamedTuple):
    """A configuration to train, and the published result to compare it with."""

    description: str
    hyperparameters: dict  # fields of Config
    published: str = ""
    dataset: str = "fashion_mnist"
    test: bool = True  # False: compared on validation data only; the test images are not used
    predictions: bool = False  # whether the predictions are stored
    validation_split: float = 0.1  # 0: train on all training images, with hyperparameters chosen before


COMMON = {"weight_init": "He", "schedule": "cosine", "warmup": 1, "decoupled_weight_decay": 0.05}
TUNED = {"num_layers": 6, "hidden_size": 239, "batch_size": 32, "dropout": 0.026, "weight_init": "He"}
SMALL = COMMON | {"dropout": 0.1, "epochs": 15}
WIDE = COMMON | {"batch_size": 128, "dropout": 0.2, "epochs": 15}
MIXUP = {
    "num_layers": 2, "hidden_size": (1024, 512), "weight_init": "He", "batch_size": 256, "epochs": 36, "dropout": 0.1,
    "schedule": "cosine", "warmup": 2, "decoupled_weight_decay": 0.02, "flip_probability": 0.5, "mixup": 0.2,
}  # fmt: skip
DROPOUT = MIXUP | {"mixup": 0.0, "max_shift": 1, "receptive_field": 3, "epochs": 75}
RECORD = DROPOUT | {"hidden_size": (2048, 1024), "epochs": 150}
FAST = {
    "num_layers": 2, "hidden_size": (1024, 512), "weight_init": "He", "batch_size": 256, "epochs": 100,
    "schedule": "cosine", "warmup": 2, "flip_probability": 0.5, "max_shift": 1, "receptive_field": 3,
}  # fmt: skip
AFFINE = FAST | {"flip_probability": 0.0, "affine": 0.15, "epochs": 80}

RECIPES = {
    "record": Recipe(
        "three dense layers, trained on all 60,000 images", RECORD, "0.9009", validation_split=0, predictions=True,
    ),
    "fast": Recipe("784-1024-512-10", FAST, "0.9009; 0.9011 in nine layers", predictions=True),
    "fast-75": Recipe("`fast` for 75 epochs", FAST | {"epochs": 75}, "0.9009; 0.9011 in nine layers"),
    "dropout-75": Recipe("`fast-75` with dropout and decay", DROPOUT, "0.9009; 0.9011 in nine layers"),
    "mixup-36": Recipe(
        "784-1024-512-10, mixup instead of shifts and receptive fields", MIXUP, "0.9009; 0.9011 in nine layers",
    ),
    "1024": Recipe("one hidden layer, 784-1024-10", WIDE | {"num_layers": 1, "hidden_size": 1024}, "0.8946"),
    "256-128-100": Recipe(
        "the data set's own table: 784-256-128-100-10", SMALL | {"hidden_size": (256, 128, 100)}, "0.8833",
    ),
    "256-128-64": Recipe(
        "784-256-128-64-10, which the data set's table no longer lists",
        SMALL | {"hidden_size": (256, 128, 64)}, "validation 0.900",
    ),
    "256x4": Recipe(
        "the best of forty repositories of this assignment: 784-256×4-10",
        SMALL | {"num_layers": 4, "hidden_size": 256, "batch_size": 128}, "0.8948",
    ),
    "grid": Recipe("784-128×3-10, the defaults", {}, "validation 0.8925"),
    "tuned-6x239": Recipe(
        "784-239×6-10 from a Keras tuner, with early stopping",
        TUNED | COMMON | {"decoupled_weight_decay": 0.1, "epochs": 20, "patience": 5},
        "validation 0.9055, test 0.8950",
    ),
    "overfit-6x239": Recipe(
        "784-239×6-10 for 100 epochs, hardly regularised", TUNED | {"epochs": 100},
        "validation 0.9000, train 0.9838", test=False,
    ),
    "mnist-128x3": Recipe("MNIST, 784-128×3-10", WIDE | {"hidden_size": 128}, "0.9667", "mnist"),
    "mnist-256x2": Recipe("MNIST, 784-256×2-10", WIDE | {"num_layers": 2, "hidden_size": 256}, "0.9701", "mnist"),
    "mnist-512-256": Recipe(
        "MNIST, 784-512-256-10", WIDE | {"num_layers": 2, "hidden_size": (512, 256)}, "0.9748; 0.9794 claimed",
        "mnist",
    ),
    "mnist-affine": Recipe(
        "MNIST, `fast` with rotation, scaling and shear instead of flips", AFFINE, "0.9748; 0.9794 claimed", "mnist",
    ),
    "mnist-1024-512": Recipe(
        "MNIST, `dropout-75` without flips", DROPOUT | {"flip_probability": 0.0, "epochs": 60},
        "0.9748; 0.9794 claimed", "mnist",
    ),
}  # fmt: skip

# The ablation study: `fast` without each of its techniques
ABLATIONS = {
    "shifts": {"max_shift": 0},
    "flips": {"flip_probability": 0.0},
    "receptive-fields": {"receptive_field": 0.0},
    "schedule": {"schedule": "constant", "warmup": 0.0},
}
RECIPES |= {
    f"fast-without-{name}": Recipe(f"`fast` without {name.replace('-', ' ')}", FAST | change, test=False)
    for name, change in ABLATIONS.items()
}


def run(name, seed):
    """Train the recipe once; return its row of RUNS, its rows of CURVES, and Ŷ (N, 10) of the parts "val" and "test".

    The test images are evaluated once, after the training, with the parameters of the epoch that has the best
    validation accuracy, or of the last epoch where nothing is held out. Precision and recall are macro averages. Raises
    FileNotFoundError without data, InterruptedError if stopped.
    """
    from helpers.data import load_data
    from helpers.experiment.metrics import accuracy, per_class_scores, predict

    recipe = RECIPES[name]
    config = Config(**recipe.hyperparameters, seed=seed)
    data = load_data(recipe.dataset, validation_split=recipe.validation_split)
    params, history, best_epoch, interrupted = train(data, config, progress=False)
    if interrupted:
        raise InterruptedError(f"the training of {name} with seed {seed} was stopped")
    row = {"recipe": name, "seed": seed, "epochs": len(history), "best_epoch": best_epoch}
    row |= {column: history.loc[best_epoch - 1, column] for column in ("train_loss", "train_accuracy")}
    scores = ("val_loss", "val_accuracy", "test_accuracy", "test_precision", "test_recall")
    row |= dict.fromkeys(scores, np.nan)
    images = {"val": data.x_val, "test": data.x_test if recipe.test else None}
    probabilities = {part: predict(params, X, **config.prediction) for part, X in images.items() if X is not None}
    if "val" in probabilities:
        row["val_loss"] = LOSSES[config.loss][0](probabilities["val"], data.y_val)
        row["val_accuracy"] = accuracy(probabilities["val"], data.y_val)
    if recipe.test:
        macro = per_class_scores(probabilities["test"], data.y_test, data.class_names).loc["macro avg"]
        row["test_accuracy"] = accuracy(probabilities["test"], data.y_test)
        row |= {f"test_{score}": macro[score] for score in ("precision", "recall")}
    row["seconds"] = history["seconds"].sum()
    return pd.DataFrame([row]), history.assign(recipe=name, seed=seed), probabilities


def save_run(result):
    """Print what `run` returned, and write it to helpers/results."""
    row, curve, probabilities = result
    print(row.to_csv(index=False, sep="\t", float_format="%.4f"), end="", flush=True)
    name, seed = row.loc[0, KEYS]
    if RECIPES[name].predictions:
        save_predictions(PREDICTIONS / f"{name}-{seed}.npz", probabilities)
    upsert(CURVES, curve)
    upsert(RUNS, row)


def upsert(path, rows):
    """Insert the rows into the CSV file under a lock, replacing those of the same recipe and seed."""
    with locked(path):
        if path.exists():
            existing = read(path)
            replaced = existing.set_index(KEYS).index.isin(rows.set_index(KEYS).index)
            rows = pd.concat([existing[~replaced], rows])
        rows = rows.sort_values(KEYS, kind="stable")
        with atomic_write(path) as file:
            rows[[*KEYS, *rows.columns.difference(KEYS, sort=False)]].round(5).to_csv(file, index=False)


def save_predictions(path, probabilities):
    """Write the most probable class and its probability for each row of each Ŷ (N, 10)."""
    path.parent.mkdir(exist_ok=True)
    arrays = {f"{part}_class": Y_hat.argmax(axis=1).astype(np.uint8) for part, Y_hat in probabilities.items()}
    arrays |= {f"{part}_probability": Y_hat.max(axis=1).astype(np.float16) for part, Y_hat in probabilities.items()}
    with atomic_write(path) as file:
        np.savez_compressed(file, **arrays)


def read(path):
    """Return RUNS or CURVES as a data frame."""
    return pd.read_csv(path, dtype={"recipe": str})  # a recipe is named 1024


def table(names=None):
    """Return the results of the recipes as a Markdown table."""
    rows = read(RUNS)
    lines = ["| recipe | | published | validation | test | seeds | epochs | minutes per run |", "|---" * 8 + "|"]
    for name in names or RECIPES:
        recipe, runs = RECIPES[name], rows[rows["recipe"] == name]
        if len(runs):
            scores = [mean_and_deviation(runs[column].dropna()) for column in ("val_accuracy", "test_accuracy")]
            cells = [f"`{name}`", recipe.description, recipe.published, *scores]
            cells += [len(runs), f"{runs['epochs'].mean():.0f}", f"{runs['seconds'].mean() / 60:.1f}"]
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def mean_and_deviation(values):
    """Return "mean ± standard deviation" of the values, or an empty string if there are none."""
    if values.empty:
        return ""
    return f"{values.mean():.4f}" + (f" ± {values.std():.4f}" if len(values) > 1 else "")


def main(arguments=None):
    """Train the named recipes and print their table.

    Returns the exit code: 0; 1 if there are no data, the disk is full or processes are killed again and again; 130
    after Ctrl-C and 143 after SIGTERM; 2 for arguments that are not valid.
    """
    parser = cli.parser("helpers.recipes", __doc__)
    parser.add_argument("names", nargs="*", metavar="recipe", help=", ".join(RECIPES))
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="train with the seeds 0 to N-1 (default: 3)")
    parser.add_argument("--workers", type=int, metavar="N", help="number of processes (default: one per core)")
    parser.add_argument("--table", action="store_true", help="print the table of the stored results, without training")
    args = parser.parse_args(arguments)
    for name in args.names:
        if name not in RECIPES:
            parser.error(f"recipe {name!r} is unknown; choose from: {', '.join(RECIPES)}")
    workers = available_threads() if args.workers is None else args.workers
    if args.seeds < 1 or workers < 1:
        parser.error(f"--seeds {args.seeds} --workers {workers}: both must be at least 1")
    if args.table and not RUNS.exists():
        parser.error(f"there are no results: {RUNS.name} does not exist")
    names = args.names or list(RECIPES)
    runs = [] if args.table else [(name, seed) for name in names for seed in range(args.seeds)]
    with stopping.watching() as stop:
        try:
            for _, result in side_by_side(run, runs, workers, stop):
                save_run(result)
            if stop.requested:
                raise InterruptedError
        except (BrokenExecutor, KeyboardInterrupt, OSError, ValueError, TrainingDiverged) as error:
            reason = "processes are killed again and again" if isinstance(error, BrokenExecutor) else error
            cli.error(f"{'interrupted' if stop.requested else reason}; the finished runs are stored")
            return stop.exit_code or 1
        print(table(names))
    return stop.exit_code
