"""Recipes: valid configurations, complete result files, and the README's table."""

import dataclasses
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from helpers import recipes
from helpers.nn import Config, Trainer, TrainingDiverged, model_train, predict
from helpers.nn.metrics import accuracy
from helpers.recipes import RECIPES, Recipe


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_is_valid_config(name):
    config = Config(**RECIPES[name].hyperparameters)
    assert config.seed == 0  # the seeds are the command's
    assert not set(name) & set(" /\\")


def test_ablation_removes_one_technique():
    fast = Config(**RECIPES["fast"].hyperparameters)
    for name, change in recipes.ABLATIONS.items():
        config = Config(**RECIPES[f"fast-without-{name}"].hyperparameters)
        assert {key for key, value in vars(fast).items() if vars(config)[key] != value} == set(change)
        assert all(value == getattr(Config, key) for key, value in change.items())  # gone is the default


@pytest.fixture
def tiny(monkeypatch, sample, tmp_path):
    """Two small recipes on the sample, run in this process, with results in a temporary folder."""
    settings = {"epochs": 2, "batch_size": 256, "num_layers": 1, "hidden_size": 16}
    mine = {
        "a": Recipe("flips", settings | {"flip_probability": 0.5}, "0.9", predictions=True),
        "b": Recipe("none", settings, test=False),
    }
    monkeypatch.setattr(recipes, "RECIPES", mine)
    monkeypatch.setattr(
        "helpers.data.load_data", lambda dataset, validation_split: sample if validation_split else all_of(sample)
    )
    monkeypatch.setattr(
        recipes, "run_in_processes", lambda run, runs, workers, on_result: [on_result(run(*one)) for one in runs] and []
    )
    for name in ("RUNS", "CURVES", "PREDICTIONS"):
        monkeypatch.setattr(recipes, name, tmp_path / getattr(recipes, name).name)
    return tmp_path


def test_command_runs_every_seed_and_stores_results(tiny, sample, capsys):
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


def test_recipe_without_validation_split(tiny, sample, monkeypatch, capsys):
    """It is trained on every image to the last epoch, and its row has no validation scores."""
    monkeypatch.setitem(recipes.RECIPES, "a", recipes.RECIPES["a"]._replace(validation_split=0))
    recipes.main(["a", "--seeds", "1"])
    row, kept = recipes.read(recipes.RUNS).iloc[0], np.load(recipes.PREDICTIONS / "a-0.npz")
    assert (row.epochs, row.best_epoch) == (2, 2)
    assert np.isnan(row.val_accuracy)
    params, _ = model_train(all_of(sample), **recipes.RECIPES["a"].hyperparameters)
    Y_hat = predict(params, sample.x_test, activation="ReLU", flip_tta=True)
    assert row.test_accuracy == pytest.approx(accuracy(Y_hat, sample.y_test), abs=1e-5)
    assert sorted(kept) == ["test_class", "test_probability"]
    assert f"| 0.9 |  | {row.test_accuracy:.4f} | 1 |" in capsys.readouterr().out


def test_seeds_are_recorded_as_a_group(tiny, monkeypatch):
    made = []

    class Recorder:
        def __init__(self, *arguments, **options):
            made.append((arguments, options, []))
            self.log, self.finish = made[-1][2].append, made[-1][2].append

    monkeypatch.setattr("helpers.tracking.Recorder", Recorder)
    assert recipes.main(["a", "--seeds=2", "--wandb_project=p"]) == 0
    for seed, ((project, entity, name, config), options, logged) in enumerate(made):
        assert (project, entity, name) == ("p", None, f"a-seed-{seed}")
        assert (config["seed"], config["epochs"]) == (seed, 2)
        assert options == {"group": "a", "job_type": "recipe"}
        assert [row["epoch"] for row in logged[:2]] == [1, 2]
        assert logged[2:] == [0]
    assert len(made) == 2


def test_repeated_run_replaces_its_row(tiny):
    for _ in range(2):
        recipes.main(["b", "--seeds", "1"])
    recipes.main(["a", "--seeds", "1"])
    assert list(pd.read_csv(recipes.RUNS).recipe) == ["a", "b"]
    assert len(pd.read_csv(recipes.CURVES)) == 4


def test_repeated_run_replaces_its_curve(tiny, monkeypatch):
    recipes.main(["b", "--seeds", "1"])
    monkeypatch.setitem(
        recipes.RECIPES, "b", recipes.RECIPES["b"]._replace(hyperparameters={"epochs": 1, "hidden_size": 4})
    )
    recipes.main(["b", "--seeds", "1"])
    assert list(recipes.read(recipes.CURVES).epoch) == [1]


def test_recipe_name_may_be_number(tiny, monkeypatch, capsys):
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
def test_error_stops_command(error, tiny, monkeypatch, capsys):
    begun = []

    def run(name, seed, wandb_project):
        begun.append((name, seed))
        raise pickle.loads(pickle.dumps(error))  # as it comes from another process

    monkeypatch.setattr(recipes, "run", run)
    assert recipes.main(["b", "--seeds", "50"]) == 1
    assert str(error) in capsys.readouterr().err
    assert len(begun) == 1
    assert not recipes.RUNS.exists()


def test_killed_process_is_reported(tiny, monkeypatch, capsys):
    recipes.main(["b", "--seeds", "1"])
    monkeypatch.setattr(recipes, "run_in_processes", lambda run, runs, workers, on_result: runs[1:])
    assert recipes.main(["b", "--seeds", "2"]) == 1
    assert "the process that trained b with seed 1 was killed" in capsys.readouterr().err


def test_interrupted_training_is_not_stored(tiny, monkeypatch, capsys):
    def interrupted(self, **_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "fit", interrupted)
    assert recipes.main(["b", "--seeds", "1"]) == 130
    assert "the finished runs are stored" in capsys.readouterr().err
    assert not recipes.RUNS.exists()


@pytest.mark.slow
def test_concurrent_commands_lose_no_run(tmp_path):
    """Two processes add 40 rows each to one file."""
    code = (
        "import sys; from pathlib import Path; import pandas as pd; from helpers.recipes import upsert\n"
        "for seed in range(40):\n"
        "    upsert(Path(sys.argv[1]), pd.DataFrame([{'recipe': sys.argv[2], 'seed': seed, 'x': 1.0}]))"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "runs.csv"), name]) for name in "ab"]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert len(pd.read_csv(tmp_path / "runs.csv")) == 80


def test_crash_while_writing_keeps_old_file(tiny, monkeypatch):
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
def test_invalid_recipe_arguments_exit_code_2(arguments, words, capsys):
    with pytest.raises(SystemExit) as caught:
        recipes.main(arguments)
    assert caught.value.code == 2
    assert re.search(words, capsys.readouterr().err)


def test_exploration_has_each_run_once():
    rows = pd.read_csv(recipes.EXPLORATION)
    assert not rows.drop(columns=["val_accuracy", "val_loss"]).duplicated().any()
    assert set(rows["base"]) == {"shifts", "mixup"}
    assert rows["val_accuracy"].between(0.9, 0.95).all()


def test_readme_shows_recipe_table(capsys):
    assert recipes.main(["--table"]) == 0
    table = capsys.readouterr().out.splitlines()
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    missing = [line for line in table if line not in readme]
    assert not missing
    assert len(table) > 10


def test_readme_shows_ablation_study():
    """The paired differences between `fast` without a technique and `fast`, with their 95 % intervals."""
    runs = recipes.read(recipes.RUNS).set_index(["recipe", "seed"])
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    for technique in recipes.ABLATIONS:
        without = runs.loc[f"fast-without-{technique}"]
        points = 100 * (without["val_accuracy"] - runs.loc["fast"]["val_accuracy"]).dropna()
        low, high = stats.t.interval(0.95, len(points) - 1, points.mean(), stats.sem(points))
        numbers = f"{points.mean():+.2f} | {low:+.2f} to {high:+.2f} | {without['val_loss'].mean():.3f}"
        assert f"| {technique.replace('-', ' ')} | {numbers.replace('-', '−')} |" in readme
