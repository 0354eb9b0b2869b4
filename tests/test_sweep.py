"""The search on this machine: it repeats itself, resumes after a kill, refuses what is not its own."""

import os
import signal
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

from helpers import space, study, sweep, training
from helpers.study import importance
from helpers.sweep import search

ROOT = Path(__file__).parent.parent
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


def test_the_same_seed_finds_the_same_with_one_worker(data):
    a, b = (search(SMALL, trials=6, seed=3, data=data, progress=False) for _ in range(2))
    assert without_time(a).equals(without_time(b))
    assert a.learning_rate.between(0.0001, 0.05).all()
    assert list(a.trial) == list(range(6))
    assert (a.state == "complete").all()
    assert (a.epochs_run == 3).all()


def test_bayes_learns_after_a_quarter_of_the_trials(data):
    """With the same seed, random goes on as bayes begins, and then they part."""
    one = {"parameters": {"epochs": {"value": 1}, "learning_rate": {"min": 0.001, "max": 0.1}}}
    bayes, random = (
        search(SMALL | one | {"method": method}, trials=16, data=data, progress=False) for method in ("bayes", "random")
    )
    assert list(bayes.learning_rate[:4]) == list(random.learning_rate[:4])
    assert bayes.learning_rate[4:].corr(random.learning_rate[4:]) < 0.9


def test_grid_tries_everything_once(data):
    grid = {name: SMALL["parameters"][name] for name in ("epochs", "batch_size", "hidden_size", "optimizer")}
    results = search(SMALL | {"method": "grid", "parameters": grid}, trials=50, data=data, progress=False)
    assert len(results) == 6
    assert len({(str(row.hidden_size), row.optimizer) for row in results.itertuples()}) == 6


def test_a_configuration_that_comes_again_gets_another_seed(data):
    one = {"epochs": {"value": 1}, "optimizer": {"values": ["adam"]}}
    results = search(SMALL | {"parameters": one}, trials=3, seed=5, data=data, progress=False)
    assert list(results.seed) == [5, 6, 7]


def test_hopeless_trials_end_early(data):
    early = {"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 2}}
    results = search(SMALL | early, trials=12, data=data, progress=False)
    pruned = results[results.state == "pruned"]
    assert len(pruned) > 0
    assert (pruned.epochs_run < 3).any()


def test_a_trial_that_diverges_fails_with_its_reason_and_the_next_is_run(data):
    wild = {
        "learning_rate": {"values": [1e308, 0.001]},
        "optimizer": {"value": "sgd"},
        "activation": {"value": "identity"},
    }
    results = search(SMALL | {"method": "grid", "parameters": wild}, trials=2, data=data, progress=False)
    assert sorted(results.state) == ["complete", "failed"]
    failed = results[results.state == "failed"].iloc[0]
    assert "no longer finite in epoch" in failed.reason


def test_a_stopped_sweep_goes_on_where_it_was(data, tmp_path):
    places = {"storage": f"sqlite:///{tmp_path / 'a.db'}", "results": tmp_path / "a.csv"}
    first = search(SMALL, trials=3, data=data, progress=False, **places)
    both = search(SMALL, trials=5, data=data, progress=False, **places)
    assert both.iloc[:3].astype(str).equals(first.astype(str))
    assert len(both) == 5
    assert len(search(SMALL, trials=5, data=data, progress=False, **places)) == 5
    assert list(pd.read_csv(places["results"]).trial) == [0, 1, 2, 3, 4]
    assert sorted(os.listdir(tmp_path)) == ["a.csv", "a.db"]


def test_a_killed_trial_is_none_of_the_finished_and_its_configuration_is_tried_again(data):
    spec = space.read(SMALL)
    kept = study.open_study(spec, optuna.storages.InMemoryStorage(), 0, 1)
    killed = kept.ask()
    sweep._suggest(killed, "learning_rate", spec.parameters["learning_rate"], {})
    kept.tell(killed, state=TrialState.FAIL)
    assert study.finished(kept) == []
    study.again(kept, kept.trials[0])
    again = kept.ask()
    assert (
        sweep._suggest(again, "learning_rate", spec.parameters["learning_rate"], {}) == killed.params["learning_rate"]
    )


def test_ctrl_c_in_a_grid_leaves_no_point_out_and_runs_none_twice(data, monkeypatch, tmp_path):
    spec = SMALL | {"method": "grid", "parameters": {"epochs": {"value": 1}, "hidden_size": {"values": [2, 3, 4, 5]}}}
    storage, own, calls = f"sqlite:///{tmp_path / 'a.db'}", training.model_train, []

    def stopped(data, **settings):
        params, history = own(data, **settings)
        calls.append(settings["hidden_size"])
        history.attrs["interrupted"] = len(calls) == 3
        return params, history

    monkeypatch.setattr(training, "model_train", stopped)
    with pytest.raises(KeyboardInterrupt):
        search(spec, trials=10, data=data, progress=False, storage=storage)
    results = search(spec, trials=10, data=data, progress=False, storage=storage)
    assert sorted(results.hidden_size) == [2, 3, 4, 5]
    assert set(results.seed) == {0}
    assert len(calls) == 5
    assert calls.count(calls[2]) == 2


def test_workers_share_a_grid_without_leaving_a_point_out(tmp_path):
    process = start(tmp_path, "--workers", "2", method="grid", parameters=GRID)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "All 9 trials are in" in output
    results = pd.read_csv(tmp_path / "sweeps" / "small.csv")
    assert len(results.drop_duplicates(["hidden_size", "optimizer"])) == 9


def test_ctrl_c_with_workers_leaves_no_point_of_a_grid_out(tmp_path):
    flags = {"method": "grid", "parameters": GRID | {"epochs": {"value": 15}}}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it, and its children would too
    process = start(tmp_path, "--workers", "2", **flags)
    results = tmp_path / "sweeps" / "small.csv"
    while not (results.exists() and len(pd.read_csv(results)) >= 2):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.strip().endswith("Stopped; the same command goes on from here.")
    assert "Traceback" not in errors
    process = start(tmp_path, "--workers", "2", **flags)
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors
    after = pd.read_csv(results)
    assert len(after) == len(after.drop_duplicates(["hidden_size", "optimizer"])) == 9


@pytest.mark.skipif(sys.platform != "linux", reason="/proc, which lists a process's children, is Linux's")
def test_a_killed_worker_s_point_of_a_grid_is_tried_again(tmp_path):
    """After the half minute in which it may still be alive."""
    process = start(tmp_path, "--workers", "2", method="grid", parameters=GRID | {"epochs": {"value": 15}})
    results = tmp_path / "sweeps" / "small.csv"
    while not (results.exists() and len(pd.read_csv(results)) >= 3):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    os.kill(int(workers_of(process)[0]), signal.SIGKILL)
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors
    after = pd.read_csv(results)
    assert len(after) == len(after.drop_duplicates(["hidden_size", "optimizer"])) == 9
    assert set(after.seed) == {0}


def test_what_belongs_to_another_sweep_is_refused(data, tmp_path):
    storage, results = f"sqlite:///{tmp_path / 'a.db'}", tmp_path / "a.csv"
    search(SMALL, trials=1, data=data, progress=False, storage=storage, results=results)
    other = SMALL | {"method": "random"}
    with pytest.raises(ValueError, match="the storage holds another sweep"):
        search(other, trials=1, data=data, progress=False, storage=storage)
    before = results.read_bytes()
    with pytest.raises(ValueError, match=r"a\.csv' holds something else than this sweep"):
        search(other, trials=1, data=data, progress=False, results=results)
    assert results.read_bytes() == before
    results.write_text("my,own\n1,2\n", "utf-8")
    with pytest.raises(ValueError, match="holds something else"):
        search(SMALL, trials=1, data=data, progress=False, results=results)
    with pytest.raises(ValueError, match="there is no folder"):
        search(SMALL, trials=1, data=data, progress=False, results=tmp_path / "none" / "a.csv")
    (tmp_path / "b.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(ValueError, match="cannot be used"):
        search(SMALL, trials=1, data=data, progress=False, storage=f"sqlite:///{tmp_path / 'b.db'}")


def test_workers_need_a_storage():
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


def test_a_killed_sweep_loses_no_finished_trial_and_runs_none_twice(tmp_path):
    results = tmp_path / "sweeps" / "small.csv"
    process = start(tmp_path, "--trials", "400", "--workers", "2")
    while not (results.exists() and len(pd.read_csv(results)) >= 3):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
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
    assert "Not used here, only by W&B: program" in errors
    assert f"All {wanted} trials are in" in output


def test_the_table_leaves_out_what_still_runs():
    """Also a trial that has noted its reason, but not yet its end."""
    spec = space.read(SMALL)
    kept = study.open_study(spec, optuna.storages.InMemoryStorage(), 0, 1)
    running = kept.ask()
    running.set_user_attr("reason", "x")
    assert study.table(kept, spec).empty
    kept.tell(running, state=TrialState.FAIL)
    assert list(study.table(kept, spec).state) == ["failed"]


def test_a_trial_that_somebody_else_gave_up_costs_itself_alone(data, monkeypatch, tmp_path):
    """Its process was stopped for longer than a killed one's is waited for, and goes on."""
    own = training.model_train
    storage = f"sqlite:///{tmp_path / 'a.db'}"

    def slow(data, **settings):
        kept = study.open_study(space.read(SMALL), storage, 0, 1)
        if len(kept.trials) == 1:
            kept.tell(0, state=TrialState.FAIL)
        return own(data, **settings)

    monkeypatch.setattr(training, "model_train", slow)
    search(SMALL, trials=2, data=data, progress=False, storage=storage)
    assert len(search(SMALL, trials=2, data=data, progress=False, storage=storage)) == 2


def test_settings_for_which_there_is_no_memory_are_a_failed_trial(data, monkeypatch):
    own = training.model_train

    def hungry(data, **settings):
        if settings["hidden_size"] == 8:
            raise MemoryError("Unable to allocate 9 GiB")
        return own(data, **settings)

    monkeypatch.setattr(training, "model_train", hungry)
    results = search(SMALL | {"method": "grid", "parameters": GRID}, trials=9, data=data, progress=False)
    assert sorted(results.state) == ["complete"] * 6 + ["failed"] * 3
    assert set(results.reason.dropna()) == {"Unable to allocate 9 GiB"}


@pytest.mark.parametrize("seed", [-1, "x", True, None, 1.5])
def test_a_seed_that_is_none_is_named(seed):
    with pytest.raises(ValueError, match=f"seed={seed!r}"):
        search(SMALL, seed=seed)


def test_a_large_seed_is_one(data, tmp_path):
    own = {"data": data, "progress": False, "storage": f"sqlite:///{tmp_path / 'a.db'}", "seed": 2**32 - 1}
    assert [len(search(SMALL, trials=trials, **own)) for trials in (1, 2)] == [1, 2]


def test_a_password_of_a_database_is_not_shown():
    with pytest.raises(ValueError, match="storage='host/x' cannot be used") as caught:
        search(SMALL, storage="nodriver://me:secret@host/x")
    assert "secret" not in str(caught.value)


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
def test_nonsense_ends_with_exit_code_2_before_any_training(tmp_path, flags, more, message):
    process = start(tmp_path, *flags, **more)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2, errors
    assert message.replace("\\", "") in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("workers", ["1", "2"])
def test_data_that_cannot_be_had_end_the_search_with_a_message(tmp_path, monkeypatch, workers):
    monkeypatch.setenv("DATASETS_DIR", "nowhere")
    process = start(tmp_path, "--trials", "3", "--workers", workers)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2, errors
    assert "DATASETS_DIR='nowhere' is not a folder" in errors
    assert "Traceback" not in errors


def test_importance_finds_what_matters():
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


def test_the_module_needs_no_optuna_before_it_searches():
    code = "import sys, helpers.sweep; print({'optuna', 'pandas', 'sklearn'} & {*sys.modules})"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "set()"
    assert sweep.__doc__
