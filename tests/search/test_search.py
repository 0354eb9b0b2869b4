"""The local search: reproducible, continued after interrupts and kills, separate from other searches."""

import functools
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml
from optuna.trial import TrialState
from sqlalchemy.exc import IntegrityError, OperationalError

from helpers import sweep
from helpers.nn.training import Trainer
from helpers.search import importance, local, read_sweep, search, study
from tests.support.datasets import blobs

ROOT = Path(__file__).parents[2]
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
GRID = {
    "epochs": {"value": 2},
    "hidden_size": {"values": [4, 8, [8, 6, 4]]},
    "optimizer": {"values": ["sgd", "adam", "nadam"]},
}


def without_time(results):
    return results.drop(columns="seconds")


def test_search_is_reproducible(data):
    a, b = (search(SMALL, trials=6, seed=3, data=data, progress=False) for _ in range(2))
    assert without_time(a).equals(without_time(b))
    assert a.learning_rate.between(0.0001, 0.05).all()
    assert list(a.trial) == list(range(6))
    assert (a.state == "complete").all()
    assert (a.epochs_run == 3).all()


def test_bayes_starts_after_random_quarter(data):
    """With the same seed, bayes draws the first quarter as random does, and then differs."""
    one = {"parameters": {"epochs": {"value": 1}, "learning_rate": {"min": 0.001, "max": 0.1}}}
    bayes, random = (
        search(SMALL | one | {"method": method}, trials=16, data=data, progress=False) for method in ("bayes", "random")
    )
    assert list(bayes.learning_rate[:4]) == list(random.learning_rate[:4])
    assert bayes.learning_rate[4:].corr(random.learning_rate[4:]) < 0.9


def test_grid_covers_every_point_once(data):
    grid = {name: SMALL["parameters"][name] for name in ("epochs", "batch_size", "hidden_size", "optimizer")}
    results = search(SMALL | {"method": "grid", "parameters": grid}, trials=50, data=data, progress=False)
    assert len(results) == 6
    assert len({(str(row.hidden_size), row.optimizer) for row in results.itertuples()}) == 6


def test_repeated_configuration_gets_next_seed(data):
    one = {"epochs": {"value": 1}, "optimizer": {"values": ["adam"]}}
    results = search(SMALL | {"parameters": one}, trials=3, seed=5, data=data, progress=False)
    assert list(results.seed) == [5, 6, 7]


def test_hyperband_prunes_poor_trials(data):
    early = {"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 2}}
    results = search(SMALL | early, trials=12, data=data, progress=False)
    pruned = results[results.state == "pruned"]
    assert len(pruned) > 0
    assert (pruned.epochs_run < 3).any()


@pytest.mark.parametrize(("goal", "metric"), [("maximize", "val_accuracy"), ("minimize", "val_loss")])
def test_search_ends_when_the_target_is_reached(data, goal, metric, tmp_path):
    """At the first trial that reaches it; the same search continues with a further target."""
    sweep = SMALL | {"metric": {"name": metric, "goal": goal}}
    values = search(sweep, trials=6, data=data, progress=False)[metric]
    best = values.max() if goal == "maximize" else values.min()
    sweep["metric"]["target"] = float(best)
    until_target = search(sweep, trials=6, data=data, progress=False, storage=f"sqlite:///{tmp_path / 'a.db'}")
    assert list(until_target[metric]) == list(values)[: list(values).index(best) + 1]
    sweep["metric"]["target"] = 2.0 if goal == "maximize" else -1.0
    again = search(sweep, trials=6, data=data, progress=False, storage=f"sqlite:///{tmp_path / 'a.db'}")
    assert len(again) == 6


def test_diverged_trial_fails_with_reason(data):
    wild = {
        "learning_rate": {"values": [1e308, 0.001]},
        "optimizer": {"value": "sgd"},
        "activation": {"value": "identity"},
    }
    results = search(SMALL | {"method": "grid", "parameters": wild}, trials=2, data=data, progress=False)
    assert sorted(results.state) == ["complete", "failed"]
    failed = results[results.state == "failed"].iloc[0]
    assert "no longer finite in epoch" in failed.reason


def test_search_continues_from_storage(data, tmp_path):
    places = {"storage": f"sqlite:///{tmp_path / 'a.db'}", "results": tmp_path / "a.csv"}
    first = search(SMALL, trials=3, data=data, progress=False, **places)
    both = search(SMALL, trials=5, data=data, progress=False, **places)
    assert both.iloc[:3].astype(str).equals(first.astype(str))
    assert len(both) == 5
    assert len(search(SMALL, trials=5, data=data, progress=False, **places)) == 5
    assert list(pd.read_csv(places["results"]).trial) == [0, 1, 2, 3, 4]
    assert sorted(os.listdir(tmp_path)) == ["a.csv", "a.db"]


def test_killed_trial_is_requeued(data):
    spec = read_sweep(SMALL)
    opened = study.open_study(spec, optuna.storages.InMemoryStorage(), 4, 0)
    killed = opened.ask()
    local.suggest(killed, "learning_rate", spec.parameters["learning_rate"])
    opened.tell(killed, state=TrialState.FAIL)
    assert study.finished_trials(opened) == []
    study.requeue(opened, opened.trials[0])
    again = opened.ask()
    assert local.suggest(again, "learning_rate", spec.parameters["learning_rate"]) == killed.params["learning_rate"]


def test_interrupted_grid_covers_every_point_once(data, monkeypatch, tmp_path):
    spec = SMALL | {"method": "grid", "parameters": {"epochs": {"value": 1}, "hidden_size": {"values": [2, 3, 4, 5]}}}
    storage, fit, trained = f"sqlite:///{tmp_path / 'a.db'}", Trainer.fit, []

    def interrupted(self, **arguments):
        trained.append(self.config.hidden_size)
        if len(trained) == 3:
            raise KeyboardInterrupt
        fit(self, **arguments)

    monkeypatch.setattr(Trainer, "fit", interrupted)
    stopped = search(spec, trials=10, data=data, progress=False, storage=storage)
    assert stopped.attrs["interrupted"]
    assert len(stopped) == 2
    results = search(spec, trials=10, data=data, progress=False, storage=storage, seed=7)
    assert not results.attrs["interrupted"]
    assert sorted(results.hidden_size) == [2, 3, 4, 5]
    assert len(trained) == 5
    assert trained.count(trained[2]) == 2


def test_grid_interrupted_twice_covers_every_point(data, monkeypatch, tmp_path):
    spec = SMALL | {"method": "grid", "parameters": GRID}
    storage, fit, interrupts = f"sqlite:///{tmp_path / 'a.db'}", Trainer.fit, iter([False, True, False, True])

    def interrupted(self, **arguments):
        if next(interrupts, False):
            raise KeyboardInterrupt
        fit(self, **arguments)

    monkeypatch.setattr(Trainer, "fit", interrupted)
    for _ in range(2):
        assert search(spec, data=data, progress=False, storage=storage).attrs["interrupted"]
    results = search(spec, data=data, progress=False, storage=storage)
    assert len(results.astype({"hidden_size": str}).drop_duplicates(["hidden_size", "optimizer"])) == len(results) == 9


def test_grid_of_constants_is_one_point(data):
    spec = SMALL | {"method": "grid", "parameters": {"epochs": {"value": 1}, "hidden_size": {"value": 4}}}
    assert len(search(spec, data=data, progress=False)) == 1


def test_superfluous_trial_is_not_counted(data):
    """A trial that starts although others have started all that were asked for, as another machine's."""
    spec, storage = read_sweep(SMALL), optuna.storages.InMemoryStorage()
    job = local.Job(spec, storage, 2, 0, False)
    opened = job.open()
    job.run(opened, data)
    job.run_trial(opened, {"fashion_mnist": data})
    assert [trial.state for trial in opened.trials] == [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.FAIL]
    assert len(study.trials_frame(opened, spec)) == 2


def test_grid_point_of_running_trial_is_not_trained_again(data):
    """Two workers may draw the same point at the same moment."""
    spec = read_sweep(SMALL | {"method": "grid", "parameters": GRID})
    job = local.Job(spec, optuna.storages.InMemoryStorage(), 9, 0, False)
    opened = job.open()
    running, other = opened.ask(), opened.ask()
    for trial in (running, other):
        opened._storage.set_trial_system_attr(trial._trial_id, "grid_id", 5)
    with pytest.raises(local.Superfluous):
        job.train(opened, other, {"fashion_mnist": data})
    job.train(opened, running, {"fashion_mnist": data})


def test_trial_of_other_worker_may_be_half_recorded(data):
    """Its values are recorded before its hyperparameters."""
    spec = read_sweep(SMALL | {"parameters": {"epochs": {"value": 1}, "hidden_size": {"value": 4}}})
    job = local.Job(spec, optuna.storages.InMemoryStorage(), 2, 0, False)
    opened = job.open()
    opened.ask().set_user_attr("drawn", {"epochs": 1, "hidden_size": 4})
    job.run_trial(opened, {"fashion_mnist": data})
    assert opened.trials[1].state == TrialState.COMPLETE


@pytest.mark.slow
def test_searches_started_together_share_new_storage(tmp_path):
    """Three processes create the tables of one database at the same time."""
    processes = [start(tmp_path, "--trials", "6", method="random") for _ in range(3)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert len(pd.read_csv(tmp_path / "sweeps" / "small.csv")) == 6


def test_old_storage_is_refused(tmp_path):
    storage = f"sqlite:///{tmp_path / 'a.db'}"
    optuna.create_study(storage=storage, study_name="sweep").set_user_attr("fingerprint", read_sweep(SMALL).fingerprint)
    with pytest.raises(ValueError, match="written by an older version"):
        search(SMALL, storage=storage, progress=False)


@pytest.mark.slow
def test_workers_cover_grid_once(tmp_path):
    process = start(tmp_path, "--workers", "2", method="grid", parameters=GRID)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "Results of all 9 trials" in output
    results = pd.read_csv(tmp_path / "sweeps" / "small.csv")
    assert len(results.drop_duplicates(["hidden_size", "optimizer"])) == 9


@pytest.mark.slow
def test_interrupted_workers_cover_grid_once(tmp_path):
    flags = {"method": "grid", "parameters": GRID | {"epochs": {"value": 15}}}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it, and its children would too
    process = start(tmp_path, "--workers", "2", **flags)
    results = tmp_path / "sweeps" / "small.csv"
    deadline = time.monotonic() + 120
    while not (results.exists() and len(pd.read_csv(results)) >= 2):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
        assert time.monotonic() < deadline
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.strip().endswith("Interrupted; run the same command again to continue the search.")
    assert "Traceback" not in errors
    process = start(tmp_path, "--workers", "2", **flags)
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors
    after = pd.read_csv(results)
    assert len(after) == len(after.drop_duplicates(["hidden_size", "optimizer"])) == 9


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc, which lists a process's children, is Linux's")
def test_killed_worker_point_is_retried(tmp_path):
    """After the grace period of half a minute."""
    process = start(tmp_path, "--workers", "2", method="grid", parameters=GRID | {"epochs": {"value": 15}})
    results = tmp_path / "sweeps" / "small.csv"
    deadline = time.monotonic() + 120
    while not (results.exists() and len(pd.read_csv(results)) >= 3):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
        assert time.monotonic() < deadline
    os.kill(int(workers_of(process)[0]), signal.SIGKILL)
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors
    after = pd.read_csv(results)
    assert len(after) == len(after.drop_duplicates(["hidden_size", "optimizer"])) == 9
    assert set(after.seed) == {0}


def test_other_sweep_is_refused(data, tmp_path):
    storage, results = f"sqlite:///{tmp_path / 'a.db'}", tmp_path / "a.csv"
    search(SMALL, trials=1, data=data, progress=False, storage=storage, results=results)
    other = SMALL | {"method": "random"}
    with pytest.raises(ValueError, match="the storage holds another sweep"):
        search(other, trials=1, data=data, progress=False, storage=storage)
    before = results.read_bytes()
    with pytest.raises(ValueError, match=r"a\.csv' does not hold the results of this sweep"):
        search(other, trials=1, data=data, progress=False, results=results)
    assert results.read_bytes() == before
    results.write_text("my,own\n1,2\n", "utf-8")
    with pytest.raises(ValueError, match="does not hold the results"):
        search(SMALL, trials=1, data=data, progress=False, results=results)
    with pytest.raises(ValueError, match="does not exist"):
        search(SMALL, trials=1, data=data, progress=False, results=tmp_path / "none" / "a.csv")
    (tmp_path / "b.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(ValueError, match="cannot be used"):
        search(SMALL, trials=1, data=data, progress=False, storage=f"sqlite:///{tmp_path / 'b.db'}")


def test_workers_need_storage():
    with pytest.raises(ValueError, match="workers=2"):
        search(SMALL, trials=2, workers=2)
    with pytest.raises(ValueError, match="workers=0"):
        search(SMALL, trials=2, workers=0)


def start(folder, *flags, **more):
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL | {"program": "x.py"} | more), "utf-8")
    return subprocess.Popen(
        [sys.executable, "-m", "helpers.sweep", "small.yaml", "--allow_sample", *flags],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def workers_of(process):
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.slow
def test_killed_search_keeps_finished_trials(tmp_path):
    results = tmp_path / "sweeps" / "small.csv"
    process = start(tmp_path, "--trials", "400", "--workers", "2")
    deadline = time.monotonic() + 120
    while not (results.exists() and len(pd.read_csv(results)) >= 3):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
        assert time.monotonic() < deadline
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = pd.read_csv(results)
    wanted = len(before) + 8
    process = start(tmp_path, "--trials", str(wanted), "--workers", "2")
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    after = pd.read_csv(results)
    assert len(after) == wanted
    assert after.trial.is_unique
    kept = after[after.trial.isin(before.trial)]
    assert kept.to_csv(index=False) == before.to_csv(index=False)
    assert "Ignored here, used only by W&B: program" in errors
    assert f"Results of all {wanted} trials" in output


def test_trials_frame_omits_running_trials():
    """Also a trial that has recorded its reason, but not yet its end."""
    spec = read_sweep(SMALL)
    opened = study.open_study(spec, optuna.storages.InMemoryStorage(), 4, 0)
    running = opened.ask()
    running.set_user_attr("reason", "x")
    assert study.trials_frame(opened, spec).empty
    opened.tell(running, state=TrialState.FAIL)
    assert list(study.trials_frame(opened, spec).state) == ["failed"]


def test_trial_killed_before_its_first_heartbeat_is_trained_again(data, monkeypatch, tmp_path):
    """Optuna alone would count it as running for ever."""
    monkeypatch.setattr(study, "GRACE_PERIOD", 3)
    storage = f"sqlite:///{tmp_path / 'a.db'}"
    with pytest.warns(UserWarning, match="Heartbeat"):  # it is not recorded, which is what the test needs
        study.open_study(read_sweep(SMALL), storage, 2, 0).ask()
    found = search(SMALL, trials=2, data=data, progress=False, storage=storage)
    assert list(found.state) == ["complete"] * 2
    assert 0 not in list(found.trial)


@pytest.mark.parametrize("before", [True, False], ids=["during the training", "after its last epoch"])
def test_suspended_trial_loses_only_itself(data, monkeypatch, tmp_path, before):
    """Its process was suspended for longer than the grace period, and continues."""
    fit, storage = Trainer.fit, f"sqlite:///{tmp_path / 'a.db'}"

    def slow(self, **arguments):
        opened = study.open_study(read_sweep(SMALL), storage, 2, 0)
        taken = len(opened.trials) == 1
        if taken and before:
            opened.tell(0, state=TrialState.FAIL)
        fit(self, **arguments)
        if taken and not before:
            opened.tell(0, state=TrialState.FAIL)

    monkeypatch.setattr(Trainer, "fit", slow)
    assert len(search(SMALL, trials=2, data=data, progress=False, storage=storage)) == 2


def test_unexpected_value_error_of_storage_is_raised(data, monkeypatch):
    """Only a trial that was taken away may lose its result silently."""

    def broken(*_, **__):
        raise ValueError("the storage is broken")

    monkeypatch.setattr(optuna.study.Study, "optimize", broken)
    with pytest.raises(ValueError, match="the storage is broken"):
        search(SMALL, trials=1, data=data, progress=False)


def test_memory_error_is_failed_trial(data, monkeypatch):
    fit = Trainer.fit

    def hungry(self, **arguments):
        if self.config.hidden_size == 8:
            raise MemoryError("Unable to allocate 9 GiB")
        fit(self, **arguments)

    monkeypatch.setattr(Trainer, "fit", hungry)
    results = search(SMALL | {"method": "grid", "parameters": GRID}, trials=9, data=data, progress=False)
    assert sorted(results.state) == ["complete"] * 6 + ["failed"] * 3
    assert set(results.reason.dropna()) == {"Unable to allocate 9 GiB"}


@pytest.mark.parametrize("seed", [-1, "x", True, None, 1.5])
def test_search_rejects_invalid_seed(seed):
    with pytest.raises(ValueError, match=f"seed={seed!r}"):
        search(SMALL, seed=seed)


def test_large_seed(data, tmp_path):
    own = {"data": data, "progress": False, "storage": f"sqlite:///{tmp_path / 'a.db'}", "seed": 2**32 - 1}
    assert [len(search(SMALL, trials=trials, **own)) for trials in (1, 2)] == [1, 2]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nodriver://me:secret@host/x", "storage='nodriver://host/x' cannot be used"),
        ("nodriver://host/x?user=me&password=secret", "storage='nodriver://host/x' cannot be used"),
        ("nodriver://me:a/secret@host/x", "storage='nodriver://host/x' cannot be used"),
        ("nodriver://me@server:secret@host/x", "storage='nodriver://host/x' cannot be used"),
        ("nodriver://me:sec@ret@host/x", "storage='nodriver://…' is not the URL of a database"),
        ("nodriver://me:a@b:secret@host/x", "in a password, write @ as %40"),
        ("nodriver://me:a@sec/ret@host/x", "in a password, write @ as %40, / as %2F"),
        ("nodriver://me:a@sec?ret@host/x", "in a password, write @ as %40"),
        ("nodriver://host:secret/x", "is not the URL of a database"),
        ("secret@host/x", "storage='…' is not the URL of a database"),
        ("me:secret", "storage='…' is not the URL of a database"),
    ],
)
def test_password_is_not_shown(url, shown):
    with pytest.raises(ValueError, match=shown) as caught:
        search(SMALL, storage=url)
    assert not [part for part in ("secret", "sec", "ret@") if part in str(caught.value)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "more", "message"),
    [
        (["--trials", "0"], {}, "trials=0"),
        (["--trials", "2", "--workers", "-1"], {}, "workers=-1"),
        ([], {"method": "guess"}, r"small\.yaml: method='guess' is unknown"),
        ([], {"metric": {"name": "loss"}}, r"metric\.name='loss'"),
        (["--storage", "nodriver://x"], {}, "cannot be used"),
    ],
)
def test_invalid_arguments_exit_code_2(tmp_path, flags, more, message):
    process = start(tmp_path, *flags, **more)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2, errors
    assert message.replace("\\", "") in errors
    assert "Traceback" not in errors


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_missing_data_message(tmp_path, monkeypatch, workers):
    monkeypatch.setenv("DATASETS_DIR", "nowhere")
    process = start(tmp_path, "--trials", "3", "--workers", workers)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2, errors
    assert "DATASETS_DIR='nowhere' is not a folder" in errors
    assert "Traceback" not in errors


def test_importance_accepts_lists(data):
    """hidden_size may be a list."""
    results = search(SMALL | {"method": "grid", "parameters": GRID}, data=data, progress=False)
    importances, correlations = importance(results)
    assert set(importances.index) == {"hidden_size", "optimizer"}
    assert "hidden_size_[8, 6, 4]" in correlations.index


@pytest.mark.parametrize(
    ("failure", "message"),
    [(OSError(28, "No space left on device"), "No space left"), (ChildProcessError("killed"), "killed")],
)
def test_full_disk_and_killed_workers_exit_code_1(failure, message, monkeypatch, capsys, tmp_path):
    """They are no usage errors."""

    def fail(*_, **__):
        raise failure

    monkeypatch.setattr(sweep, "search", fail)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL), "utf-8")
    assert sweep.main(["small.yaml"]) == 1
    errors = capsys.readouterr().err
    assert message in errors
    assert "usage" not in errors


def test_importance_ranks_hyperparameters():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"trial": range(120), "state": "complete"})
    rate, words = rng.choice([1, 2, 3], 120), rng.choice(["a", "b"], 120)
    frame["val_accuracy"] = 0.1 * rate + 0.03 * (words == "b") + rng.normal(0, 0.005, 120)
    frame["reason"], frame["rate"], frame["word"], frame["noise"] = None, rate, words, rng.random(120)
    frame["sweep"] = "x"
    shares, correlations = importance(frame)
    assert list(shares.index[:2]) == ["rate", "word"]
    assert shares.importance.sum() == pytest.approx(1)
    assert shares.importance["rate"] > 0.6
    assert correlations.correlation["rate"] > 0.8
    assert correlations.correlation["word_b"] == pytest.approx(-correlations.correlation["word_a"])


@pytest.mark.slow
def test_import_is_light():
    code = "import sys, helpers.sweep; print({'optuna', 'pandas', 'sklearn', 'wandb'} & {*sys.modules})"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "set()"


@pytest.mark.slow
@pytest.mark.parametrize("failure", ["full", "removed", "worker"])
def test_storage_that_fails_in_mid_search(failure, data, monkeypatch, tmp_path):
    """One message; nothing that is finished is lost, and the search continues when the cause is gone."""
    path, url, fit, calls = tmp_path / "a.db", f"sqlite:///{tmp_path / 'a.db'}", Trainer.fit, []

    def execute(self, *arguments):
        raise sqlite3.OperationalError("database or disk is full")

    def train(self, **options):
        calls.append(self)
        if len(calls) == 3 and failure == "removed":
            path.rename(tmp_path / "gone.db")
        if len(calls) == 3 and failure in ("full", "worker"):
            patch.setattr("sqlalchemy.engine.default.DefaultDialect.do_execute", execute)
        return fit(self, **options)

    monkeypatch.setattr(Trainer, "fit", train)
    monkeypatch.setattr(study, "GRACE_PERIOD", 2)
    run = functools.partial(search, SMALL, trials=5, data=data, storage=url, progress=False)
    if failure == "worker":  # what a process of a search with workers does
        monkeypatch.setattr(local, "load_silently", lambda *_: data)
        run = local.Job(read_sweep(SMALL), url, 5, 0, False).work
    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError, match=r"failed .*run the same search again"):
        run()
    if failure == "removed":
        (tmp_path / "gone.db").replace(path)
    results = search(SMALL, trials=5, data=data, storage=url, progress=False)
    assert len(results) == 5
    assert list(results.trial[:2]) == [0, 1]


def test_sweep_names_that_are_special_in_a_url(tmp_path, monkeypatch, sample):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("helpers.data.load_data", lambda name, allow_sample: sample)
    content = SMALL | {"parameters": {"epochs": {"value": 1}, "hidden_size": {"values": [4, 8]}}}
    for name, change in {"a?b": {}, "a?c": {"method": "random"}, "d%41": {}}.items():
        Path(f"{name}.yaml").write_text(yaml.safe_dump(content | change), "utf-8")
        assert sweep.main([f"{name}.yaml", "--trials=1"]) == 0
    assert sorted(path.name for path in Path("sweeps").glob("*.db")) == ["a_b.db", "a_c.db", "d_41.db"]


def test_search_needs_validation_data():
    with pytest.raises(ValueError, match="data has no validation part"):
        search(SMALL, trials=1, data=blobs(validation=False), progress=False)


def test_database_server_that_does_not_answer_is_an_oserror(data, monkeypatch):
    """It is no invalid argument: the command ends with exit code 1, and can be repeated."""

    def refused(*_):
        raise OperationalError("SELECT 1", {}, Exception("connection refused\n"))

    monkeypatch.setattr("helpers.search.study.create_study", refused)
    with pytest.raises(OSError, match=r"storage='mysql://h/x' cannot be used: OperationalError: connection refused$"):
        search(SMALL, trials=1, data=data, storage="mysql://me:secret@h/x", progress=False)
    with pytest.raises(ValueError, match=r"storage='sqlite:////nowhere/x.db' cannot be used"):
        search(SMALL, trials=1, data=data, storage="sqlite:////nowhere/x.db", progress=False)


def test_database_server_that_returns_is_used_by_all_at_once(monkeypatch, tmp_path):
    """Two searches wait for a server; at the last attempt it is there, but both create its tables."""
    create, waits = optuna.create_study, []
    errors = [OperationalError("SELECT 1", {}, Exception("connection refused"))] * 4
    errors += [IntegrityError("CREATE TABLE x", {}, Exception("duplicate key"))] * 4

    def hindered(**arguments):
        if errors:
            raise errors.pop(0)
        return create(**arguments)

    monkeypatch.setattr(optuna, "create_study", hindered)
    monkeypatch.setattr(study.time, "sleep", waits.append)
    opened = study.open_study(read_sweep(SMALL), f"sqlite:///{tmp_path / 'a.db'}", 2, 0)
    assert opened.user_attrs["sweep"] == read_sweep(SMALL).fingerprint
    assert np.allclose(waits, [0.2, 0.4, 0.8, 1.6] * 2)


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_heartbeat_that_fails_is_left_to_the_next_one(data, monkeypatch, tmp_path):
    """An error in Optuna's thread would print a traceback, and without heartbeats the trial would count as killed."""
    calls = []

    def fail(self, trial_id):
        calls.append(trial_id)
        raise optuna.exceptions.StorageInternalError("database or disk is full")

    monkeypatch.setattr(optuna.storages.RDBStorage, "record_heartbeat", fail)
    storage = study.rdb_storage(f"sqlite:///{tmp_path / 'a.db'}")
    assert len(search(SMALL, trials=1, data=data, storage=storage, progress=False)) == 1
    storage.record_heartbeat(7)
    assert calls[-1] == 7


def test_disk_that_is_full_at_the_start_is_an_oserror(data, monkeypatch, tmp_path):
    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("sqlalchemy.engine.default.DefaultDialect.do_execute", full)
    with pytest.raises(OSError, match=r"cannot be used: .*database or disk is full"):
        search(SMALL, trials=1, data=data, storage=f"sqlite:///{tmp_path / 'a.db'}", progress=False)


def test_interrupt_while_the_sweep_file_is_read(monkeypatch, capsys):
    def interrupt(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep, "read_sweep", interrupt)
    assert sweep.main(["a.yaml"]) == 130
    assert "run the same command again" in capsys.readouterr().err


def test_signal_while_the_results_are_printed(data, monkeypatch, capsys, tmp_path):
    to_string = pd.DataFrame.to_string

    def interrupted(*arguments, **options):
        signal.raise_signal(signal.SIGTERM)
        return to_string(*arguments, **options)

    monkeypatch.setattr("helpers.data.load_data", lambda name, allow_sample: data)
    monkeypatch.setattr(pd.DataFrame, "to_string", interrupted)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL), "utf-8")
    assert sweep.main(["small.yaml", "--trials=1"]) == 143
    assert "Results of all 1 trials" in capsys.readouterr().out


def test_keys_of_a_sweep_file_cannot_control_the_terminal(monkeypatch, capsys, tmp_path):
    def fail(*_, **__):
        raise OSError("\x1b[2J")

    monkeypatch.setattr(sweep, "search", fail)
    monkeypatch.chdir(tmp_path)
    content = SMALL | {"metric": SMALL["metric"] | {"\x1b[2J": 1}}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(content), "utf-8")
    assert sweep.main(["small.yaml"]) == 1
    errors = capsys.readouterr().err
    assert errors.splitlines() == [r"Ignored here, used only by W&B: metric.\x1b[2J", r"error: \x1b[2J"]


def test_errors_of_the_database_are_not_logged_with_a_traceback(data, caplog):
    """SQLAlchemy logs what happens while it returns a connection, such as Ctrl-C or a lost server, and raises it."""
    search(SMALL, trials=1, data=data, progress=False)
    logging.getLogger("sqlalchemy.pool.impl.QueuePool").error("Exception during reset or similar", exc_info=True)
    assert not caplog.records


def test_missing_database_driver_is_named(data):
    with pytest.raises(
        ValueError, match=r"storage='oracle\+oracledb://h/x' cannot be used: .*install the database driver oracledb"
    ):
        search(SMALL, trials=1, storage="oracle+oracledb://user:secret@h/x", progress=False)
