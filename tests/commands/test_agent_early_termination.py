"""A run that W&B's early termination stops reaches the Bayesian search with the accuracy that it had.

The rules are those of W&B's engine (github.com/wandb/sweeps): ``bayes_search._construct_gp_data`` and ``impute`` for
the value of a run, ``hyperband_stopping`` for the runs to stop.
"""

import math

import pytest
import yaml

from tests.commands.test_tracking import ROOT, SWEEP, WANDB, call, environment, parameters
from tests.support.wandb_server import serving

pytestmark = pytest.mark.slow

CONFIG = yaml.safe_load((ROOT / "sweep.yaml").read_text("utf-8"))
METRIC = CONFIG["metric"]["name"]


def history(run):
    """Return the values of the metric that a run has sent."""
    values = [row[METRIC] for row in run["history"] if METRIC in row]
    return [value for value in values if isinstance(value, (int, float)) and math.isfinite(value)]


def value_for_search(runs, name, impute):
    """Return the metric of a run that is no longer running, as Bayesian search reads it; the goal is a maximum."""
    worst = min((min(history(run)) for run in runs.values() if history(run)), default=0.0)
    values = history(runs[name])
    finished = runs[name]["exit_code"] == 0
    if finished and values:
        summary = runs[name]["summary"].get(METRIC)
        return max([*values, *([summary] if isinstance(summary, (int, float)) else [])])
    return {"worst": worst, "best": max(values, default=0.0), "latest": [0.0, *values][-1]}[impute]


def hyperband(runs, name):
    """Return whether Hyperband stops the run, as `early_terminate` of sweep.yaml has it."""
    rule = CONFIG["early_terminate"]
    values = history(runs[name])
    bands = [rule["min_iter"] * rule["eta"] ** k for k in range(20)]
    reached = [band for band in bands if band <= len(values)]
    if not reached:
        return False
    others = sorted(history(run)[reached[-1] - 1] for run in runs.values() if len(history(run)) >= reached[-1])
    threshold = others[::-1][int(len(others) / rule["eta"])]
    return (values[reached[-1] - 1] if rule["strict"] else max(values)) < threshold


def sweep(folder, queue, early_terminate):
    """Run a sweep with W&B's agent; return what the server has received."""
    with serving(queue, early_terminate=early_terminate) as server:
        env = environment(folder, server.url)
        assert call([WANDB, "sweep", "sweep.yaml"], env).returncode == 0
        agent = call([WANDB, "agent", "--count", len(queue), f"me/DA6401-assignment-1/{SWEEP}"], env, timeout=280)
        assert agent.returncode == 0, agent.stderr
    return server


def test_hyperband_keeps_the_better_half():
    runs = {name: {"history": [{METRIC: value}, {METRIC: value}]} for name, value in zip("abcd", range(4), strict=True)}
    assert [name for name in runs if hyperband(runs, name)] == ["a"]
    assert not hyperband({"a": {"history": [{METRIC: 0.1}]}}, "a")


def test_stopped_run_keeps_its_accuracy(tmp_path):
    """Of three runs one ends, one is stopped in its middle, one diverges."""
    queue = [
        parameters(learning_rate=1e-5), parameters(epochs=2000),
        parameters(learning_rate=1e38, optimizer="sgd", activation="identity"),
    ]  # fmt: skip
    server = sweep(tmp_path, queue, lambda runs, name: name == "run1" and len(history(runs[name])) >= 2)
    ended, stopped, diverged = (server.runs[name] for name in ("run0", "run1", "run2"))
    assert [ended["exit_code"], stopped["exit_code"], diverged["exit_code"]] == [0, 0, 1]
    assert 2 <= len(history(stopped)) < 2000
    assert stopped["summary"]["stopped"] is True
    assert "stopped" not in ended["summary"]
    best = max(history(stopped))
    assert best > max(history(ended)) > 0
    for impute in ("best", "worst", "latest"):
        assert value_for_search(server.runs, "run1", impute) == best
    assert value_for_search(server.runs, "run2", CONFIG["metric"]["impute"]) == 0.0
    assert server.unknown == []
