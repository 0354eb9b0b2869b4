"""Recipes: settings with a name, each trained over several seeds: python -m helpers.recipes fast --seeds 5

Without a name all of them are run, a process a core. What comes out stands in helpers/results: recipes.csv, a row a
run; curves.csv, a row an epoch; predictions/, what some networks say of each image. --table prints the README's table.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from helpers import console
from helpers.atomic import replacing
from helpers.config import Config
from helpers.learner import TrainingDiverged
from helpers.processes import share
from helpers.training import model_train

RESULTS = Path(__file__).parent / "results"
RUNS, CURVES, PREDICTIONS = RESULTS / "recipes.csv", RESULTS / "curves.csv", RESULTS / "predictions"


class Recipe(NamedTuple):
    """What is trained, and what others report for it."""

    about: str
    settings: dict  # fields of Config
    published: str = ""
    dataset: str = "fashion_mnist"
    test: bool = True  # False: it serves a comparison, so the test images stay unread
    predictions: bool = False  # whether to keep what it says of each image
    validation_split: float = 0.1  # 0: trained on every training image, with settings that were chosen before


SETTLED = {"weight_init": "He", "schedule": "cosine", "warmup": 1, "decoupled_weight_decay": 0.05}
TUNED = {"num_layers": 6, "hidden_size": 239, "batch_size": 32, "dropout": 0.026, "weight_init": "He"}
MNIST = SETTLED | {"batch_size": 128, "dropout": 0.2, "epochs": 15}
FAST = {
    "num_layers": 2, "hidden_size": (1024, 512), "weight_init": "He", "batch_size": 256, "epochs": 36, "dropout": 0.1,
    "schedule": "cosine", "warmup": 2, "decoupled_weight_decay": 0.02, "flip": 0.5, "mixup": 0.2,
}  # fmt: skip

RECORD = FAST | {"hidden_size": (2048, 1024), "epochs": 70, "mixup": 0.4, "receptive_field": 3}

RECIPES = {
    "record": Recipe(
        "three dense layers, trained on all 60,000 images", RECORD, "0.9009", validation_split=0,
    ),
    "fast": Recipe(
        "three dense layers, three minutes on one core", FAST, "0.9009; 0.9011 in nine layers",
        predictions=True,
    ),
    "1024": Recipe(
        "one hidden layer, 784-1024-10",
        SETTLED | {"num_layers": 1, "hidden_size": 1024, "batch_size": 128, "dropout": 0.2, "epochs": 15},
        "0.8946",
    ),
    "256-128-100": Recipe(
        "the data set's own table: 784-256-128-100-10",
        SETTLED | {"hidden_size": (256, 128, 100), "dropout": 0.1, "epochs": 15},
        "0.8833",
    ),
    "256x4": Recipe(
        "the best of forty repositories of this assignment: 784-256×4-10",
        SETTLED | {"num_layers": 4, "hidden_size": 256, "batch_size": 128, "dropout": 0.1, "epochs": 15},
        "0.8948",
    ),
    "grid": Recipe("the best mean of the course's grid: 784-128×3-10, the defaults", {}, "validation 0.8925"),
    "tuned-6x239": Recipe(
        "784-239×6-10 from a Keras tuner, with early stopping",
        TUNED | SETTLED | {"decoupled_weight_decay": 0.1, "epochs": 20, "patience": 5},
        "validation 0.9055, test 0.8950",
    ),
    "overfit-6x239": Recipe(
        "784-239×6-10 for 100 epochs, with little against overfitting", TUNED | {"epochs": 100},
        "validation 0.9000, train 0.9838", test=False,
    ),
    "mnist-128x3": Recipe("MNIST, 784-128×3-10", MNIST | {"hidden_size": 128}, "0.9667", "mnist"),
    "mnist-256x2": Recipe("MNIST, 784-256×2-10", MNIST | {"num_layers": 2, "hidden_size": 256}, "0.9701", "mnist"),
    "mnist-512-256": Recipe(
        "MNIST, 784-512-256-10", MNIST | {"num_layers": 2, "hidden_size": (512, 256)}, "0.9748; 0.9794 claimed",
        "mnist",
    ),
}  # fmt: skip

# What each technique brings: `fast` without it, and with the one that only `record` has.
ABLATIONS = {
    "mirror": {"flip": 0.0},
    "mixup": {"mixup": 0.0},
    "cosine": {"schedule": "constant", "warmup": 0.0},
    "decay": {"decoupled_weight_decay": 0.0},
    "dropout": {"dropout": 0.0},
}
ABLATIONS["all-but-cosine"] = {"flip": 0.0, "mixup": 0.0, "decoupled_weight_decay": 0.0, "dropout": 0.0}
ABLATIONS["all"] = ABLATIONS["all-but-cosine"] | ABLATIONS["cosine"]
RECIPES |= {
    f"fast-without-{name}": Recipe("", FAST | change, test=False, predictions=name == "mixup")
    for name, change in ABLATIONS.items()
}
RECIPES["fast-with-receptive-fields"] = Recipe("", FAST | {"receptive_field": 3}, test=False)


def run(name, seed):
    """Train the recipe once; return (row of RUNS, rows of CURVES, Ŷ of the validation and the test images it has).

    The test images are read once, after the training, at the epoch that the validation images picked, or at the last
    where none are held out; precision and recall are macro means. Raises FileNotFoundError where there is no data.
    """
    from helpers.data import load_data
    from helpers.evaluation import accuracy, per_class, predict

    recipe = RECIPES[name]
    config = Config(**recipe.settings, seed=seed)
    data = load_data(recipe.dataset, validation_split=recipe.validation_split)
    params, history = model_train(data, **vars(config), progress=False)
    if history.attrs["interrupted"]:
        raise KeyboardInterrupt
    best = history.iloc[history.attrs["best_epoch"] - 1]
    row = {"recipe": name, "seed": seed, "epochs": len(history), "best_epoch": int(best.epoch)}
    row |= {column: best[column] for column in history.columns[1:5]}
    row |= dict.fromkeys(("test_accuracy", "test_precision", "test_recall"), np.nan)
    parts = {"val": data.x_val, "test": data.x_test if recipe.test else None}
    said = {
        part: predict(params, X, activation=config.activation, mirror=config.flip > 0)
        for part, X in parts.items()
        if X is not None
    }
    if recipe.test:
        scores = per_class(said["test"], data.y_test, data.class_names).loc["macro mean"]
        row |= {"test_accuracy": accuracy(said["test"], data.y_test)}
        row |= {f"test_{score}": scores[score] for score in ("precision", "recall")}
    row["seconds"] = history["seconds"].sum()
    return pd.DataFrame([row]), history.assign(recipe=name, seed=seed), said


def keep_run(done):
    """Print what `run` returned, and keep it in helpers/results."""
    row, curve, said = done
    print(row.to_csv(index=False, sep="\t", float_format="%.4f"), end="", flush=True)
    name, seed = row.loc[0, ["recipe", "seed"]]
    if RECIPES[name].predictions:
        keep_predictions(PREDICTIONS / f"{name}-{seed}.npz", said)
    keep(CURVES, curve)
    keep(RUNS, row)


def keep(path, rows):
    """Put the rows into the CSV file, in place of the same recipe's and seed's; a crash leaves the old file."""
    keys = ["recipe", "seed"]
    if path.exists():
        old = read(path)
        again = old.set_index(keys).index.isin(rows.set_index(keys).index)
        rows = pd.concat([old[~again], rows])
    rows = rows.sort_values(keys, kind="stable")
    with replacing(path) as file:
        rows[[*keys, *rows.columns.difference(keys, sort=False)]].round(5).to_csv(file, index=False)


def keep_predictions(path, said):
    """Keep the most probable class and its probability for each row of each part's Ŷ (N, 10)."""
    path.parent.mkdir(exist_ok=True)
    arrays = {f"{part}_class": Y_hat.argmax(axis=1).astype(np.uint8) for part, Y_hat in said.items()}
    arrays |= {f"{part}_probability": Y_hat.max(axis=1).astype(np.float16) for part, Y_hat in said.items()}
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)


def read(path):
    """Return RUNS or CURVES as a data frame."""
    return pd.read_csv(path, dtype={"recipe": str})  # one is called 1024


def table(names=RECIPES):
    """Return what RUNS says of these recipes, a Markdown table."""
    rows = read(RUNS)
    lines = ["| recipe | | published | validation | test | seeds | epochs | seconds a run |", "|---" * 8 + "|"]
    for name in names:
        recipe, own = RECIPES[name], rows[rows.recipe == name]
        if len(own):
            scores = [_mean_and_deviation(own[c].dropna()) for c in ("val_accuracy", "test_accuracy")]
            cells = [f"`{name}`", recipe.about, recipe.published, *scores]
            cells += [len(own), f"{own.epochs.mean():.0f}", f"{own.seconds.mean():.0f}"]
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _mean_and_deviation(values):
    return f"{values.mean():.4f}" + (f" ± {values.std():.4f}" if len(values) > 1 else "") if len(values) else ""


def main(arguments=None):
    """Run the recipes that are named; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m helpers.recipes", description=__doc__, allow_abbrev=False)
    parser.add_argument("names", nargs="*", metavar="recipe", help=", ".join(RECIPES))
    parser.add_argument("--seeds", type=int, default=3, help="how many: 0, 1, … (default: 3)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: one a core)")
    parser.add_argument("--table", action="store_true", help="print the table of what was run, and run nothing")
    given = parser.parse_args(arguments)
    for name in given.names:
        if name not in RECIPES:
            parser.error(f"{name!r} is unknown; choose of: {', '.join(RECIPES)}")
    if given.seeds < 1 or given.workers < 1:
        parser.error(f"--seeds {given.seeds} --workers {given.workers}: both must be at least 1")
    names = given.names or list(RECIPES)
    if given.table and not RUNS.exists():
        parser.error(f"nothing was run yet: there is no {RUNS.name}")
    runs = [] if given.table else [(name, seed) for name in names for seed in range(given.seeds)]
    try:
        killed = share(run, runs, given.workers, after=keep_run)
    except (OSError, ValueError, TrainingDiverged) as error:  # no data, no room
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, seed in killed:
        print(f"error: the process that ran {name} with seed {seed} was killed", file=sys.stderr)
    print(table(names))
    return 1 if killed else 0


if __name__ == "__main__":
    console.run(main)
