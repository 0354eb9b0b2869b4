"""Recipes: valid configurations, complete result files, and their tables."""

import dataclasses
import re
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from helpers import recipes
from helpers.experiment.config import Config
from helpers.experiment.metrics import accuracy, predict
from helpers.experiment.run import TrainingDiverged, train
from helpers.recipes import RECIPES, Recipe

RESULTS_PAGE = (recipes.RESULTS / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_is_valid_config(name):
    config = Config(**RECIPES[name].hyperparameters)
    assert config.seed == 0  # the seeds are the command's
    assert not set(name) & set(" /\\")


def test_ablation_removes_one_technique():
    fast, default = (vars(Config(**values)) for values in (RECIPES["fast"].hyperparameters, {}))
    for name, change in recipes.ABLATIONS.items():
        config = vars(Config(**RECIPES[f"fast-without-{name}"].hyperparameters))
        assert {key for key, value in fast.items() if config[key] != value} == set(change)
        assert all(value == default[key] for key, value in change.items())  # gone is the default


def all_of(data):
    """The data set with nothing held out."""
    x, y = np.concatenate([data.x_train, data.x_val]), np.concatenate([data.y_train, data.y_val])
    return dataclasses.replace(data, x_train=x, y_train=y, x_val=None, y_val=None)


@pytest.fixture
def tiny(monkeypatch, sample, tmp_path):
    """Three small recipes on the sample, run in this process, with results in a temporary folder."""
    settings = {"epochs": 2, "batch_size": 256, "num_layers": 1, "hidden_size": 16}
    mine = {
        "a": Recipe("flips", settings | {"flip_probability": 0.5}, "0.9", predictions=True),
        "b": Recipe("none", settings, test=False),
        "1024": Recipe("all images", settings, "0.8", validation_split=0, predictions=True),
    }
    monkeypatch.setattr(recipes, "RECIPES", mine)
    monkeypatch.setattr(
        "helpers.data.load_data", lambda dataset, validation_split: sample if validation_split else all_of(sample)
    )
    monkeypatch.setattr(recipes, "available_threads", lambda: 1)
    for name in ("RUNS", "CURVES", "PREDICTIONS"):
        monkeypatch.setattr(recipes, name, tmp_path / getattr(recipes, name).name)
    return tmp_path


def test_command_runs_every_seed_and_stores_results(tiny, sample, capsys):
    assert recipes.main(["a", "b", "--seeds", "2", "--workers", "1"]) == 0
    runs, curves = pd.read_csv(recipes.RUNS), pd.read_csv(recipes.CURVES)
    assert runs[["recipe", "seed"]].to_numpy().tolist() == [["a", 0], ["a", 1], ["b", 0], ["b", 1]]
    assert (runs.test_accuracy.notna() == [True, True, False, False]).all()  # b leaves the test images unread
    assert len(curves) == 8
    assert sorted(path.name for path in recipes.PREDICTIONS.iterdir()) == ["a-0.npz", "a-1.npz"]
    kept = np.load(recipes.PREDICTIONS / "a-1.npz")
    hits = kept["test_class"] == sample.y_test.argmax(axis=1)
    assert hits.mean() == pytest.approx(runs.test_accuracy[1], abs=1e-5)
    assert ((kept["val_probability"] >= 0.1) & (kept["val_probability"] <= 1)).all()
    best = curves[(curves.recipe == "b") & (curves.seed == 0)].val_accuracy.max()
    assert runs.val_accuracy[2] == best
    assert f"{runs.val_accuracy[:2].mean():.4f} ± {runs.val_accuracy[:2].std():.4f}" in capsys.readouterr().out


def test_recipe_without_validation_split(tiny, sample, capsys):
    """It is trained on every image to the last epoch, and its row has no validation scores. Its name is a number."""
    for _ in range(2):
        recipes.main(["1024", "--seeds", "1"])
    (row,), kept = recipes.read(recipes.RUNS).itertuples(), np.load(recipes.PREDICTIONS / "1024-0.npz")
    assert (row.recipe, row.epochs, row.best_epoch) == ("1024", 2, 2)
    assert np.isnan(row.val_accuracy)
    result = train(all_of(sample), Config(**recipes.RECIPES["1024"].hyperparameters), progress=False)
    Y_hat = predict(result.params, sample.x_test, activation="ReLU")
    assert row.test_accuracy == pytest.approx(accuracy(Y_hat, sample.y_test), abs=1e-5)
    assert sorted(kept) == ["test_class", "test_probability"]
    assert f"| `1024` | all images | 0.8 |  | {row.test_accuracy:.4f} | 1 |" in capsys.readouterr().out


def test_repeated_run_replaces_its_rows(tiny, monkeypatch):
    recipes.main(["b", "--seeds", "1"])
    short = recipes.RECIPES["b"]._replace(hyperparameters={"epochs": 1, "hidden_size": 4})
    monkeypatch.setitem(recipes.RECIPES, "b", short)
    recipes.main(["b", "--seeds", "1"])
    recipes.main(["a", "--seeds", "1"])
    assert list(pd.read_csv(recipes.RUNS).recipe) == ["a", "b"]
    assert list(pd.read_csv(recipes.CURVES).epoch) == [1, 2, 1]


@pytest.mark.parametrize(
    "error", [FileNotFoundError("no files here"), OSError("No space left"), TrainingDiverged(1, 2, 0.5)]
)
def test_error_ends_the_command(error, tiny, monkeypatch, capsys):
    """The runs that are finished are stored."""
    run = recipes.run

    def fail(name, seed):
        if seed > 0:
            raise error
        return run(name, seed)

    monkeypatch.setattr(recipes, "run", fail)
    assert recipes.main(["b", "--seeds", "3"]) == 1
    assert f"error: {error}; the finished runs are stored" in capsys.readouterr().err
    assert list(recipes.read(recipes.RUNS).seed) == [0]


def test_interrupted_training_is_not_stored(tiny, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        signal.raise_signal(signal.SIGINT)
        return train(*arguments, **options)

    monkeypatch.setattr(recipes, "train", interrupted)
    assert recipes.main(["b", "--seeds", "2"]) == 130
    assert capsys.readouterr().err == "error: interrupted; the finished runs are stored\n"
    assert not recipes.RUNS.exists()


def killed(name, seed):
    signal.raise_signal(signal.SIGKILL)


@pytest.mark.slow
def test_killed_process_ends_the_command(monkeypatch, capsys):
    monkeypatch.setattr(recipes, "run", killed)
    assert recipes.main(["grid", "--seeds", "2", "--workers", "2"]) == 1
    assert "error: processes are killed again and again; the finished runs are stored" in capsys.readouterr().err


@pytest.mark.slow
def test_concurrent_commands_lose_no_run(tmp_path):
    """Two processes add 40 rows each to one file."""
    code = (
        "import sys; from pathlib import Path; import pandas as pd; from helpers.recipes import upsert\n"
        "for seed in range(40):\n"
        "    upsert(Path(sys.argv[1]), pd.DataFrame([{'recipe': sys.argv[2], 'seed': seed, 'x': 1.0}]))"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "runs.csv"), name]) for name in "ab"]
    assert [process.wait(timeout=200) for process in processes] == [0, 0]
    assert len(pd.read_csv(tmp_path / "runs.csv")) == 80


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["fats"], "'fats' is unknown.*fast"), (["--seeds", "0"], "--seeds 0.*at least 1"), (["--seeds", "x"], "'x'")],
)
def test_invalid_recipe_arguments_exit_code_2(arguments, words, capsys):
    with pytest.raises(SystemExit) as caught:
        recipes.main(arguments)
    assert caught.value.code == 2
    assert re.search(words, capsys.readouterr().err)


def test_table_of_the_stored_results(capsys):
    assert recipes.main(["--table"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + recipes.read(recipes.RUNS)["recipe"].nunique()
    assert all(line.count("|") == 9 for line in lines)
    assert not set(lines) - set(RESULTS_PAGE.splitlines())


def minus(text):
    """Return the text with the sign for minus that the page has."""
    return text.replace("-", "−")


def test_results_page_has_the_numbers_of_the_files():
    """The ablation study, what was tried, and the network that overfits."""
    runs = recipes.read(recipes.RUNS).set_index(["recipe", "seed"])[["val_accuracy", "val_loss"]]
    tried = pd.read_csv(recipes.RESULTS / "exploration.csv")
    compared = {("fast", name): runs.loc[f"fast-without-{name}"] for name in recipes.ABLATIONS}
    for name in ("dropout", "decay"):
        rows = tried[(tried["base"] == "dropout-75") & (tried["change"] == f"no {name}")]
        compared["dropout-75", name] = rows.set_index("seed")[["val_accuracy", "val_loss"]]
    for (recipe, name), without in compared.items():
        difference = (without - runs.loc[recipe]).dropna()
        cells = [f"`{recipe}`", name.replace("-", " "), str(len(difference))]
        for column, unit, digits in (("val_accuracy", 0.01, 2), ("val_loss", 1, 3)):
            values = difference[column] / unit
            low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
            cells += [minus(f"{values.mean():+.{digits}f}"), minus(f"{low:+.{digits}f} to {high:+.{digits}f}")]
        assert f"| {' | '.join(cells)} |" in RESULTS_PAGE
    tried = tried[tried["base"].isin(["shifts", "fast"]) & (tried["predictions"] == "flip and shifts")]
    tried = tried[tried["evaluated_at"] == "last epoch"]
    means = tried.groupby(["base", "network", "epochs", "change"])["val_accuracy"]
    rows = {f"| {' | '.join(map(str, key[1:]))} | {len(values)} | {values.mean():.4f} |" for key, values in means}
    printed = [line for line in RESULTS_PAGE.splitlines() if re.match(r"\| \d+-\d+ \| ", line)]
    assert len(printed) > 20
    assert not {line.rpartition(" | ")[0] + " |" for line in printed} - rows
    curves = recipes.read(recipes.CURVES)
    means = curves[curves["recipe"] == "overfit-6x239"].groupby("epoch")[["train_accuracy", "val_accuracy"]].mean()
    for epoch in (20, 50, 100):
        assert f"| {epoch} | {' | '.join(f'{value:.4f}' for value in means.loc[epoch])} |" in RESULTS_PAGE


def test_exploration_has_each_run_once():
    rows = pd.read_csv(recipes.RESULTS / "exploration.csv")
    assert not rows.drop(columns=["val_accuracy", "val_loss"]).duplicated().any()
    assert set(rows["base"]) == {"shifts", "mixup", "dropout-75", "fast", "mnist"}
    assert rows["val_accuracy"].between(0.9, 0.995).all()
