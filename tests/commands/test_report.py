"""The report, with W&B's real client against the stand-in server; and what stands in its way, in one line."""

import json
import sys

import pytest

from tests.commands.test_tracking import call, environment, train
from tests.support.wandb_server import serving

pytestmark = pytest.mark.slow

PROJECT = "DA6401-assignment-1"
PANELS = {  # the type of each panel, and what its settings contain
    "3 Back-propagation and the optimizers": [
        ("Run History Line Plot", "optimizer"), ("Run History Line Plot", "train_loss"),
        ("Run History Line Plot", "gradient_norm"), ("Run History Line Plot", "dead_units"),
    ],
    "4 The hyperparameter search": [("Parallel Coordinates Plot", "learning_rate")],
    "5 The best validation accuracy": [("Scatter Plot", "val_accuracy")],
    "6 What the hyperparameters do": [
        ("Parameter Importance", "val_accuracy"), ("Parallel Coordinates Plot", "weight_init"),
    ],
    "7 The test accuracy": [("Vega2", "confusion_matrix_table")],
    "8 Cross-entropy and squared error": [("Run History Line Plot", "loss")],
    "10 MNIST with three configurations": [("Run History Line Plot", "hidden_size")],
}  # fmt: skip


def report(env, *flags):
    return call([sys.executable, "-m", "helpers.report", *flags], env)


def text(block):
    return "".join(child.get("text", "") for child in block.get("children", []))


def test_report_arrives_with_every_question_and_panel(tmp_path):
    with serving() as server:
        env = environment(tmp_path, server.url)
        assert train(env).returncode == 0
        answer = report(env)
        assert answer.returncode == 0, answer.stderr
        assert server.unknown == []
    (sent,) = server.reports
    assert f"{server.url}/me/{PROJECT}/reports/" in answer.stdout
    assert (sent["entityName"], sent["projectName"], sent["type"]) == ("me", PROJECT, "runs/draft")
    sections, heading = {}, None
    for block in sent["spec"]["blocks"]:
        if block["type"] == "heading":
            heading = text(block)
        sections.setdefault(heading, []).append(block)
    sections.pop(None)
    assert [int(name.split()[0]) for name in sections] == list(range(1, 11))
    for name, blocks in sections.items():
        assert text(blocks[-1] if text(blocks[-1]) else blocks[-2]) == "Your words: "
        grids = [block for block in blocks if block["type"] == "panel-grid"]
        for grid in grids:
            for runs in grid["metadata"]["runSets"]:
                assert (runs["project"]["name"], runs["project"]["entityName"]) == (PROJECT, "me")
        panels = [panel for grid in grids for panel in grid["metadata"]["panelBankSectionConfig"]["panels"]]
        for kind, words in PANELS.get(name, []):
            assert [p for p in panels if p["viewType"] == kind and words in json.dumps(p)], (name, kind, words)


def test_project_without_runs_is_refused(tmp_path):
    """W&B's client would create a project with that name."""
    with serving() as server:
        answer = report(environment(tmp_path, server.url), "--wandb_project=typo")
    assert answer.returncode == 1
    assert server.reports == []
    assert answer.stderr.startswith("error: ")
    assert "project typo" in answer.stderr
    assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("key", "reason"), [(None, "a report needs W&B: not logged in; run wandb login"), ("k" * 40, "127.0.0.1")]
)
def test_no_account_or_no_network_is_one_line(tmp_path, key, reason):
    answer = report(environment(tmp_path, "http://127.0.0.1:9") | {"WANDB_API_KEY": key or ""})
    assert answer.returncode == 1
    assert answer.stderr.startswith("error: ")
    assert reason in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_missing_package_is_named(tmp_path):
    code = (
        "import sys; sys.modules['wandb_workspaces'] = None\n"
        "from helpers import cli, report; cli.run(lambda: report.main([]))"
    )
    answer = call([sys.executable, "-c", code], environment(tmp_path))
    assert answer.returncode == 1
    assert answer.stderr.startswith("error: the package wandb-workspaces is missing: ")
    assert answer.stderr.count("\n") == 1
