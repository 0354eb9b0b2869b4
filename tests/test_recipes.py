"""Recipes: what they say is a configuration, what they leave behind is whole, and the README says the same."""

import dataclasses
import pickle
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers import recipes
from helpers.config import Config
from helpers.evaluation import accuracy, predict
from helpers.learner import TrainingDiverged
from helpers.recipes import RECIPES, Recipe
from helpers.training import model_train


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_a_configuration(name):
    config = Config(**RECIPES[name].settings)
    assert config.seed == 0  # the seeds are the command's
    assert not set(name) & set(" /\\")


def test_an_ablation_is_the_fast_recipe_with_one_thing_gone():
    fast = Config(**RECIPES["fast"].settings)
    for name, change in recipes.ABLATIONS.items():
        config = Config(**RECIPES[f"fast-without-{name}"].settings)
        assert {key for key, value in vars(fast).items() if vars(config)[key] != value} == set(change)
        assert all(value == getattr(Config, key) for key, value in change.items())  # gone is the default


@pytest.fixture
def tiny(monkeypatch, sample, tmp_path):
    """Two small recipes on the sample, in this process, that write into a folder of their own."""
    settings = {"epochs": 2, "batch_size": 256, "num_layers": 1, "hidden_size": 16}
    mine = {
        "a": Recipe("flips", settings | {"flip": 0.5}, "0.9", predictions=True),
        "b": Recipe("none", settings, test=False),
    }
    monkeypatch.setattr(recipes, "RECIPES", mine)
    monkeypatch.setattr(
        "helpers.data.load_data", lambda dataset, validation_split: sample if validation_split else all_of(sample)
    )
    monkeypatch.setattr(recipes, "share", lambda run, runs, workers, after: [after(run(*one)) for one in runs] and [])
    for name in ("RUNS", "CURVES", "PREDICTIONS"):
        monkeypatch.setattr(recipes, name, tmp_path / getattr(recipes, name).name)
    return tmp_path


def test_the_command_runs_every_seed_and_keeps_what_comes_out(tiny, sample, capsys):
    assert recipes.main(["--seeds", "2", "--workers", "1"]) == 0
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


def all_of(data):
    """The data set with nothing held out."""
    x, y = np.concatenate([data.x_train, data.x_val]), np.concatenate([data.y_train, data.y_val])
    return dataclasses.replace(data, x_train=x, y_train=y, x_val=None, y_val=None)


def test_a_recipe_may_hold_nothing_out(tiny, sample, monkeypatch, capsys):
    """It is trained on every image, to the last epoch, and its row says nothing of validation."""
    monkeypatch.setitem(recipes.RECIPES, "a", recipes.RECIPES["a"]._replace(validation_split=0))
    recipes.main(["a", "--seeds", "1"])
    row, kept = recipes.read(recipes.RUNS).iloc[0], np.load(recipes.PREDICTIONS / "a-0.npz")
    assert (row.epochs, row.best_epoch) == (2, 2)
    assert np.isnan(row.val_accuracy)
    params, _ = model_train(all_of(sample), **recipes.RECIPES["a"].settings)
    Y_hat = predict(params, sample.x_test, activation="ReLU", mirror=True)
    assert row.test_accuracy == pytest.approx(accuracy(Y_hat, sample.y_test), abs=1e-5)
    assert sorted(kept) == ["test_class", "test_probability"]
    assert f"| 0.9 |  | {row.test_accuracy:.4f} | 1 |" in capsys.readouterr().out


def test_a_run_again_takes_the_place_of_its_row(tiny):
    for _ in range(2):
        recipes.main(["b", "--seeds", "1"])
    recipes.main(["a", "--seeds", "1"])
    assert list(pd.read_csv(recipes.RUNS).recipe) == ["a", "b"]
    assert len(pd.read_csv(recipes.CURVES)) == 4


def test_a_shorter_run_leaves_nothing_of_the_longer_one_s_curve(tiny, monkeypatch):
    recipes.main(["b", "--seeds", "1"])
    monkeypatch.setitem(recipes.RECIPES, "b", recipes.RECIPES["b"]._replace(settings={"epochs": 1, "hidden_size": 4}))
    recipes.main(["b", "--seeds", "1"])
    assert list(recipes.read(recipes.CURVES).epoch) == [1]


def test_a_recipe_may_be_named_like_a_number(tiny, monkeypatch, capsys):
    monkeypatch.setitem(recipes.RECIPES, "1024", recipes.RECIPES["b"])
    for _ in range(2):
        recipes.main(["1024", "--seeds", "1"])
    assert list(recipes.read(recipes.RUNS).recipe) == ["1024"]
    assert "| `1024` |" in capsys.readouterr().out


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError("no files here"),
        OSError("No space left"),
        ValueError("damaged"),
        TrainingDiverged(1, 2, 0.5),
    ],
)
def test_after_an_error_no_further_run_is_started(error, tiny, monkeypatch, capsys):
    begun = []

    def run(name, seed):
        begun.append((name, seed))
        raise pickle.loads(pickle.dumps(error))  # as it comes from another process

    monkeypatch.setattr(recipes, "run", run)
    assert recipes.main(["b", "--seeds", "50"]) == 1
    assert str(error) in capsys.readouterr().err
    assert len(begun) == 1
    assert not recipes.RUNS.exists()


def test_a_killed_process_is_named(tiny, monkeypatch, capsys):
    recipes.main(["b", "--seeds", "1"])
    monkeypatch.setattr(recipes, "share", lambda run, runs, workers, after: runs[1:])
    assert recipes.main(["b", "--seeds", "2"]) == 1
    assert "the process that ran b with seed 1 was killed" in capsys.readouterr().err


def test_an_interrupted_training_is_no_run(tiny, monkeypatch):
    def interrupted(data, **settings):
        params, history = model_train(data, **settings)
        history.attrs["interrupted"] = True
        return params, history

    monkeypatch.setattr(recipes, "model_train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        recipes.run("b", 0)


def test_a_crash_while_writing_leaves_the_old_file(tiny, monkeypatch):
    recipes.main(["b", "--seeds", "1"])
    before = recipes.RUNS.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        recipes.main(["a", "--seeds", "1"])
    assert recipes.RUNS.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["fats"], "'fats' is unknown.*fast"), (["--seeds", "0"], "--seeds 0.*at least 1"), (["--seeds", "x"], "'x'")],
)
def test_nonsense_ends_with_exit_code_2(arguments, words, capsys):
    with pytest.raises(SystemExit) as caught:
        recipes.main(arguments)
    assert caught.value.code == 2
    assert re.search(words, capsys.readouterr().err)


def test_the_readme_shows_the_table(capsys):
    assert recipes.main(["--table"]) == 0
    table = capsys.readouterr().out.splitlines()
    readme = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
    missing = [line for line in table if line not in readme]
    assert not missing
    assert len(table) > 10
