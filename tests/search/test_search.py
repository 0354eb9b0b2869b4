"""The local search: reproducible, continued after interrupts and kills, separate from other searches."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml
from sqlalchemy import event
from sqlalchemy.engine import Engine

from helpers import sweep, train
from helpers.search import importance, run, search
from tests.support.datasets import blobs

ROOT = Path(__file__).parents[2]
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="/proc, which lists a process's children, is Linux's")
LIMIT = 400  # seconds for what takes ten on a quiet machine
SMALL = {
    "method": "bayes",
    "metric": {"name": "val_accuracy", "goal": "maximize"},
    "parameters": {
        "epochs": {"value": 3},
        "batch_size": {"value": 20},
        "hidden_size": {"values": [4, 8, [8, 6, 4]]},
        "learning_rate": {"min": 0.0001, "max": 0.05, "distribution": "log_uniform_values"},
        "optimizer": {"values": ["sgd", "nadam"]},
    },
}
GRID = SMALL | {
    "method": "grid",
    "parameters": {
        "epochs": {"value": 2},
        "hidden_size": {"values": [4, 8, [8, 6, 4]]},
        "optimizer": {"values": ["sgd", "adam", "nadam"]},
    },
}
LONG = {"parameters": GRID["parameters"] | {"epochs": {"value": 20}}}  # so that a trial is hit while it is trained


def quick(content, data, **options):
    return search(content, data=data, progress=False, **options)


def sqlite(folder):
    return f"sqlite:///{folder / 'a.db'}"


@pytest.fixture(autouse=True)
def no_wait_for_the_disk():
    """SQLite does not wait until its pages are on the disk, which takes seconds on a busy machine."""

    def connected(connection, _):
        connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", connected)
    yield
    event.remove(Engine, "connect", connected)


def points(results):
    return {(str(row.hidden_size), row.optimizer) for row in results.itertuples()}


@pytest.fixture
def trained(monkeypatch):
    """A list of the configurations that are trained; ``trained.before`` is called before each training."""

    class Trained(list):
        before = staticmethod(lambda config: None)

    train, configs = run.train, Trained()

    def recorded(data, config, **options):
        configs.append(config)
        configs.before(config)
        return train(data, config, **options)

    monkeypatch.setattr(run, "train", recorded)
    return configs


# --- choosing the configurations


def test_search_is_reproducible(data):
    a, b = (quick(SMALL, data, trials=6, seed=3).drop(columns="seconds") for _ in range(2))
    assert a.equals(b)
    assert a.learning_rate.between(0.0001, 0.05).all()
    assert list(a.trial) == list(range(6))
    assert (a.state == "complete").all()
    assert (a.epochs_run == 3).all()
    assert a.attrs == {
        "hyperparameters": ["epochs", "batch_size", "hidden_size", "learning_rate", "optimizer", "seed"],
        "interrupted": False,
    }


def test_bayes_starts_after_random_quarter(data):
    """With the same seed, bayes draws the first quarter as random does, and then differs."""
    one = {"parameters": {"epochs": {"value": 1}, "learning_rate": {"min": 0.001, "max": 0.1}}}
    bayes, random = (quick(SMALL | one | {"method": method}, data, trials=16) for method in ("bayes", "random"))
    assert list(bayes.learning_rate[:4]) == list(random.learning_rate[:4])
    assert bayes.learning_rate[4:].corr(random.learning_rate[4:]) < 0.9


def test_grid_covers_every_point_once(data):
    results = quick(GRID, data, trials=50)
    assert len(results) == len(points(results)) == 9
    constants = {"epochs": {"value": 1}, "hidden_size": {"value": 4}}
    assert len(quick(GRID | {"parameters": constants}, data)) == 1


def test_repeated_configuration_gets_next_seed(data):
    one = {"epochs": {"value": 1}, "optimizer": {"values": ["adam"]}}
    assert list(quick(SMALL | {"parameters": one}, data, trials=3, seed=5).seed) == [5, 6, 7]


@pytest.mark.parametrize("min_iter", [1, 5])
def test_hyperband_prunes_poor_trials(data, min_iter):
    """After min_iter epochs or more; a trial has three."""
    early = {"early_terminate": {"type": "hyperband", "min_iter": min_iter, "eta": 2}}
    results = quick(SMALL | early, data, trials=12)
    pruned = results[results.state == "pruned"]
    assert (len(pruned) > 0) == (min_iter < 3)
    assert (pruned.epochs_run < 3).any() == (min_iter < 3)


@pytest.mark.parametrize(("goal", "metric"), [("maximize", "val_accuracy"), ("minimize", "val_loss")])
def test_search_ends_when_the_target_is_reached(data, goal, metric, tmp_path):
    """At the first trial that reaches it; the same search continues with a further target."""
    content, storage = SMALL | {"metric": {"name": metric, "goal": goal}}, sqlite(tmp_path)
    values = quick(content, data, trials=6)[metric]
    best = values.max() if goal == "maximize" else values.min()
    content["metric"]["target"] = float(best)
    assert list(quick(content, data, trials=6, storage=storage)[metric]) == list(values)[: list(values).index(best) + 1]
    content["metric"]["target"] = 2.0 if goal == "maximize" else -1.0
    assert len(quick(content, data, trials=6, storage=storage)) == 6


def test_trials_that_fail_have_a_reason(data, trained):
    """A training that diverges, values that do not fit together, a network that does not fit the memory."""

    def hungry(config):
        if config.hidden_size == 8:
            raise MemoryError("Unable to allocate 9 GiB")

    trained.before = hungry
    rates, sizes = {"values": [1e308, 0.001]}, {"values": [4, 8, [4, 4]]}
    wild = {"learning_rate": rates, "hidden_size": sizes, "optimizer": {"value": "sgd"}}
    wild |= {"activation": {"value": "identity"}, "epochs": {"value": 1}, "num_layers": {"value": 3}}
    results = quick(GRID | {"parameters": wild}, data)
    failed = results[results.state == "failed"].reason
    assert sorted(results.state) == ["complete"] + ["failed"] * 5
    for words, count in {"no longer finite in epoch": 1, "Unable to allocate 9 GiB": 2, "hidden_size": 2}.items():
        assert failed.str.contains(words).sum() == count


def test_q_uniform_reaches_both_ends():
    """Although 0.7 / 0.1 is less than 7, and 7 × 0.1 is more than 0.7."""
    for low, high in ((0.1, 0.7), (0.0, 0.3)):
        parameter = {"distribution": "q_uniform", "min": low, "max": high, "q": 0.1}
        ends = [
            run.suggest(SimpleNamespace(suggest_float=lambda name, *ends, step, i=i: ends[i]), "dropout", parameter)
            for i in range(2)
        ]
        assert ends == [low, high]


# --- interrupted, stopped and killed


def test_trial_that_another_process_has_taken_for_dead(data, trained, tmp_path):
    """As after a pause of more than 30 s: the trial is trained again, and the search goes on."""

    def pause(_):
        if len(trained) == 2:
            optuna.storages.RDBStorage(sqlite(tmp_path)).set_trial_state_values(2, optuna.trial.TrialState.FAIL)

    trained.before = pause
    assert len(quick(SMALL, data, trials=3, storage=sqlite(tmp_path))) == 3
    assert len(trained) == 4


@pytest.mark.slow
def test_second_search_with_workers_in_another_folder(tmp_path, monkeypatch):
    """It does not meet the processes of the first, which know another folder and perhaps other data."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        found = search(SMALL, trials=2, workers=2, storage="sqlite:///s.db", allow_sample=True, progress=False)
        assert len(found) == 2


def test_search_continues_from_storage(data, tmp_path):
    places = {"storage": sqlite(tmp_path), "results": tmp_path / "a.csv"}
    first = quick(SMALL, data, trials=3, **places)
    both = quick(SMALL, data, trials=5, seed=2**32 - 1, **places)
    assert both.iloc[:3].astype(str).equals(first.astype(str))
    assert len(both) == len(quick(SMALL, data, trials=5, **places)) == 5
    assert list(pd.read_csv(places["results"]).trial) == [0, 1, 2, 3, 4]
    assert sorted(os.listdir(tmp_path)) == ["a.csv", "a.db"]


@pytest.mark.parametrize(("at", "signals"), [([2, 6], 1), ([8, 9], 2)])
def test_interrupted_grid_covers_every_point_once(data, trained, tmp_path, at, signals):
    """The trial that a signal stops is trained again; the other trials are kept."""

    def interrupt(_):
        if len(trained) in at:
            for _ in range(signals):
                signal.raise_signal(signal.SIGINT)

    trained.before = interrupt
    for number in at:
        stopped = quick(GRID, data, storage=sqlite(tmp_path), results=tmp_path / "a.csv")
        assert stopped.attrs["interrupted"]
        assert len(stopped) == len(pd.read_csv(tmp_path / "a.csv")) == number - 1 - at.index(number)
    results = quick(GRID, data, storage=sqlite(tmp_path), seed=7)
    assert not results.attrs["interrupted"]
    assert len(results) == len(points(results)) == 9
    assert len(trained) == 9 + len(at)


def start(folder, content, *flags):
    (folder / "small.yaml").write_text(yaml.safe_dump(content | {"program": "x.py"}), "utf-8")
    return subprocess.Popen(
        [sys.executable, "-m", "helpers.sweep", "small.yaml", "--allow_sample", *flags],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def end(process, code):
    """Wait for the command; return its output and the lines of its messages."""
    output, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    return output, errors.strip().splitlines()


def wait_for_trials(process, folder, count):
    results, deadline = folder / "sweeps" / "small.csv", time.monotonic() + LIMIT
    while not (results.exists() and len(pd.read_csv(results)) >= count):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def workers_of(process):
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in children if b"popen_loky" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.slow
@pytest.mark.timeout(3 * LIMIT)
@pytest.mark.parametrize(("number", "all_processes"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_stopped_workers_cover_grid(tmp_path, number, all_processes):
    """Ctrl-C reaches all processes of a terminal, kill only one."""
    process = start(tmp_path, GRID | LONG, "--workers", "2")
    wait_for_trials(process, tmp_path, 2)
    (os.killpg if all_processes else os.kill)(process.pid, number)
    _, messages = end(process, 128 + number)
    assert messages[-1] == "Interrupted; run the same command again to continue the search."
    before = pd.read_csv(tmp_path / "sweeps" / "small.csv")
    assert 2 <= len(before) < 9
    output, _ = end(start(tmp_path, GRID | LONG, "--workers", "2"), 0)
    after = pd.read_csv(tmp_path / "sweeps" / "small.csv")
    assert f"Results of all {len(after)} trials" in output
    assert len(points(after)) == 9
    assert len(after) <= 10  # two workers may draw the same point at the end
    assert set(before.trial) <= set(after.trial)


@needs_proc
@pytest.mark.slow
@pytest.mark.timeout(3 * LIMIT)
def test_killed_worker_does_not_end_the_search(tmp_path):
    process = start(tmp_path, GRID | LONG, "--workers", "2")
    wait_for_trials(process, tmp_path, 2)
    before = pd.read_csv(tmp_path / "sweeps" / "small.csv")
    os.kill(workers_of(process)[0], signal.SIGKILL)
    end(process, 0)
    after = pd.read_csv(tmp_path / "sweeps" / "small.csv")
    assert len(points(after)) == 9
    assert len(after) <= 10  # two workers may draw the same point at the end
    assert set(before.trial) <= set(after.trial)


@needs_proc
@pytest.mark.slow
@pytest.mark.timeout(3 * LIMIT)
def test_killed_search_is_continued(tmp_path):
    """Its workers end too, and its finished trials are kept."""
    process = start(tmp_path, SMALL, "--trials", "400", "--workers", "2")
    wait_for_trials(process, tmp_path, 3)
    workers = workers_of(process)
    process.kill()
    process.communicate()
    kept, deadline = pd.read_csv(tmp_path / "sweeps" / "small.csv"), time.monotonic() + LIMIT
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    total = len(kept) + 6
    end(start(tmp_path, SMALL, "--trials", str(total), "--workers", "2"), 0)
    after = pd.read_csv(tmp_path / "sweeps" / "small.csv")
    assert total <= len(after) <= total + 3
    assert set(kept.trial) <= set(after.trial)


@pytest.mark.slow
@pytest.mark.timeout(3 * LIMIT)
def test_two_commands_share_a_study(tmp_path):
    """As on two machines: the same command twice. Each ends with its current trial when there are enough."""
    end(start(tmp_path, SMALL, "--trials", "1"), 0)
    processes = [start(tmp_path, SMALL, "--trials", "10") for _ in range(2)]
    for process in processes:
        end(process, 0)
    results = pd.read_csv(tmp_path / "sweeps" / "small.csv")
    assert 10 <= len(results) <= 11
    assert results.learning_rate.is_unique


# --- the storage and the table


def test_other_sweep_is_refused(data, tmp_path):
    storage, results = sqlite(tmp_path), tmp_path / "a.csv"
    quick(SMALL, data, trials=1, storage=storage, results=results)
    other, before = SMALL | {"method": "random"}, results.read_bytes()
    with pytest.raises(ValueError, match=r"a\.db' holds another sweep .* choose another storage, or give"):
        quick(other, data, trials=1, storage=storage)
    with pytest.raises(ValueError, match=r"a\.csv' does not hold the results of this sweep"):
        quick(other, data, trials=1, results=results)
    with pytest.raises(ValueError, match=r"a\.csv' has 1 trials that the storage lacks; name another file"):
        quick(SMALL, data, trials=1, storage=storage.replace("a.db", "new.db"), results=results)
    assert results.read_bytes() == before
    results.write_text("my,own\n1,2\n", "utf-8")
    with pytest.raises(ValueError, match="does not hold the results"):
        quick(SMALL, data, trials=1, results=results)
    with pytest.raises(ValueError, match="folder that does not exist"):
        quick(SMALL, data, trials=1, results=tmp_path / "none" / "a.csv")
    results.with_name("b.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(OSError, match=r"b\.db' failed: .*; when the cause is gone, run the same search again"):
        quick(SMALL, data, trials=1, storage=f"sqlite:///{results.with_name('b.db')}")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nodriver://me:secret@host/x?password=secret", "storage='nodriver://me:***@host/x' cannot be used"),
        ("oracle+oracledb://me:secret@h/x", r"storage='oracle\+oracledb://me:\*\*\*@h/x' .* driver oracledb"),
        ("postgresql://me:a@b:secret@host/x", "not the URL of a database.*; in a password, write @ as %40"),
        ("postgresql://host:secret/x", "not the URL of a database"),
        ("secret", "not the URL of a database"),
        (7, "storage=7 must be the URL of a database"),
    ],
)
def test_storage_that_is_not_valid(url, message):
    """The message shows no password."""
    with pytest.raises(ValueError, match=message.replace("***", r"\*\*\*")) as caught:
        search(SMALL, storage=url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("removed", [False, True])
def test_storage_that_fails_in_mid_search(removed, data, trained, monkeypatch, tmp_path):
    """One sentence; nothing that is finished is lost, and the search continues when the cause is gone."""
    path = tmp_path / "a.db"

    def full(self, *arguments):
        raise sqlite3.OperationalError("database or disk is full")

    def fail(_):
        if len(trained) == 3 and removed:
            path.rename(tmp_path / "gone.db")
        elif len(trained) == 3:
            patch.setattr("sqlalchemy.engine.default.DefaultDialect.do_execute", full)

    trained.before = fail
    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError, match=r"failed: .*run the same search again"):
        quick(SMALL, data, trials=5, storage=sqlite(tmp_path))
    if removed:
        (tmp_path / "gone.db").replace(path)
    results = quick(SMALL, data, trials=5, storage=sqlite(tmp_path))
    assert len(results) == 5
    assert list(results.trial[:2]) == [0, 1]


def test_processes_that_are_killed_again_and_again(data, monkeypatch, tmp_path):
    def side_by_side(*arguments):
        raise BrokenExecutor

    monkeypatch.setattr(run, "side_by_side", side_by_side)
    with pytest.raises(OSError, match="killed again and again; run the same search again"):
        quick(SMALL, data, workers=2, storage=sqlite(tmp_path))


def test_invalid_arguments(data):
    for options in ({"workers": 2}, {"workers": 0}, {"trials": 0}, *({"seed": seed} for seed in (-1, "x", True, None))):
        (name, value), *_ = options.items()
        with pytest.raises(ValueError, match=f"{name}={value!r}"):
            search(SMALL, **options)
    with pytest.raises(ValueError, match="data has no validation part"):
        quick(SMALL, blobs(validation=False), trials=1)


# --- the command


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "content", "message"),
    [
        (["--trials", "0"], SMALL, "trials=0"),
        ([], SMALL | {"method": "guess"}, "small.yaml: method='guess' is unknown"),
        (["--storage", "nodriver://x"], SMALL, "storage='nodriver://x' cannot be used"),
        (["--workers", "2"], SMALL, "DATASETS_DIR='nowhere' is not a folder"),
    ],
)
def test_invalid_arguments_exit_code_2(tmp_path, monkeypatch, flags, content, message):
    monkeypatch.setenv("DATASETS_DIR", "nowhere")
    _, messages = end(start(tmp_path, content, *flags), 2)
    assert message in messages[-1]


@pytest.fixture
def folder(tmp_path, monkeypatch, data):
    """An empty folder with a sweep file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("helpers.data.load_data", lambda name, allow_sample: data)
    Path("small.yaml").write_text(yaml.safe_dump(SMALL), "utf-8")
    return tmp_path


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), ChildProcessError("killed")])
def test_failure_exit_code_1(failure, folder, monkeypatch, capsys):
    """It is no usage error."""

    def fail(*_, **__):
        raise failure

    monkeypatch.setattr(sweep, "search", fail)
    assert sweep.main(["small.yaml"]) == 1
    assert capsys.readouterr().err == f"error: {failure}\n"


def test_trials_are_printed_and_the_best_one_as_a_command(folder, capsys):
    Path("small.yaml").write_text(yaml.safe_dump(GRID), "utf-8")
    assert sweep.main(["small.yaml", "--trials=3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:30] for line in lines[:3]] == [f"trial {i}, complete: val_accuracy"[:30] for i in range(3)]
    best = pd.read_csv("sweeps/small.csv").sort_values("val_accuracy").iloc[-1]
    args = train.read_arguments(lines[-1].partition("helpers.train ")[2].split())
    assert (args["optimizer"], args["epochs"], args["seed"]) == (best.optimizer, 2, 0)
    assert str(args["hidden_size"]).strip("()") == best.hidden_size.strip("[]")


def test_trials_that_fail_are_printed_with_their_reason_and_rank_last(folder, capsys):
    """Where all of them do, no command is printed. In the table, null is no NaN, and 3 is no 3.0."""
    sizes = {"hidden_size": {"values": [[4, 4], 4]}, "num_layers": {"value": 3}, "epochs": {"value": 1}}
    sizes |= {"patience": {"values": [None, 3]}}
    Path("small.yaml").write_text(yaml.safe_dump({"method": "grid", "parameters": sizes}), "utf-8")
    assert sweep.main(["small.yaml", "--allow_sample"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("trial ") and "complete: val_accuracy 0." in line for line in lines) == 2
    assert sum(line.startswith("trial ") and "failed: hidden_size=(4, 4)" in line for line in lines) == 2
    assert [line.split()[1] for line in lines[5:9]] == ["complete", "complete", "failed", "failed"]
    assert lines[-1].endswith(" --allow_sample")
    assert "--patience 3 " in lines[-1] or "--patience" not in lines[-1]
    del sizes["hidden_size"]["values"][1]
    Path("bad.yaml").write_text(yaml.safe_dump({"method": "grid", "parameters": sizes}), "utf-8")
    assert sweep.main(["bad.yaml"]) == 1
    assert "2 failed: hidden_size" in capsys.readouterr().out


def test_sweep_names_that_are_special_in_a_url(folder):
    for name, method in {"a?b": "bayes", "a?c": "random", "d@41": "bayes"}.items():
        Path(f"{name}.yaml").write_text(yaml.safe_dump(SMALL | {"method": method}), "utf-8")
        assert sweep.main([f"{name}.yaml", "--trials=1"]) == 0
    assert sorted(path.name for path in Path("sweeps").glob("*.db")) == ["a_b.db", "a_c.db", "d_41.db"]


@pytest.mark.slow
def test_import_is_light():
    code = "import sys, helpers.sweep; print({'optuna', 'pandas', 'sklearn', 'wandb'} & {*sys.modules})"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "set()"


# --- importance


def ranked_frame():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"trial": range(120), "state": "complete"})
    rate, words = rng.choice([1, 2, 3], 120), rng.choice(["adam", "sgd"], 120)
    frame["val_accuracy"] = 0.1 * rate + 0.03 * (words == "sgd") + rng.normal(0, 0.005, 120)
    frame["reason"], frame["num_layers"], frame["optimizer"], frame["dropout"] = None, rate, words, rng.random(120)
    frame["seed"], frame["sweep"] = rng.permutation(120), "x"
    return frame


def test_importance_ranks_hyperparameters():
    shares, correlations = importance(ranked_frame())
    assert list(shares.index[:2]) == ["num_layers", "optimizer"]
    assert shares.importance.sum() == pytest.approx(1)
    assert shares.importance["num_layers"] > 0.6
    assert correlations.correlation["num_layers"] > 0.8
    assert correlations.correlation["optimizer_sgd"] == pytest.approx(-correlations.correlation["optimizer_adam"])


@pytest.fixture
def few_trees(monkeypatch):
    """A random forest of five trees, which takes a tenth of the time."""
    monkeypatch.setattr(import_module("helpers.search.importance"), "TREES", 5)


@pytest.mark.usefixtures("few_trees")
def test_importance_finds_columns_by_name():
    """Wherever they stand, whatever else is there; those of a rule that is not registered by their names in attrs."""
    frame = ranked_frame()
    moved = frame[[*reversed(frame.columns)]].drop(columns=["reason", "sweep"]).assign(note=range(120))
    for one, other in zip(importance(frame), importance(moved), strict=True):
        assert set(one.index) == set(other.index)
    own = frame.rename(columns={"num_layers": "k"})
    assert "k" not in importance(own)[0].index
    own.attrs["hyperparameters"] = ["k"]
    assert importance(own)[0].index[0] == "k"
    assert "patience" not in importance(frame.assign(patience=np.nan))[0].index  # as a table has it that was read again
    with pytest.raises(ValueError, match="no hyperparameter with several values"):
        importance(frame.head(1))


@pytest.mark.usefixtures("few_trees")
def test_importance_accepts_lists(data):
    importances, correlations = importance(quick(GRID, data))
    assert set(importances.index) == {"hidden_size", "optimizer"}
    assert "hidden_size_[8, 6, 4]" in correlations.index
