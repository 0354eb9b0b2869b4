"""Write the draft of the assignment's report, with Weights & Biases' panels of a project's runs.

Example: python -m helpers.report --wandb_entity my-team

The draft has a heading for each of the assignment's ten questions, the panels that belong to it, and a place for your
own words. It needs an account, and the package wandb-workspaces: pip install wandb-workspaces
"""

import os
import sys
from pathlib import Path

if __name__ == "__main__":  # before the other imports, which need this path, and of which one may fail
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # was the folder of this file, if it is run as a file
    from helpers.cli import run_module

    run_module("helpers.report")

from helpers import cli

TITLE = "A neural network for Fashion-MNIST in NumPy"
YOUR_WORDS = "Your words: "
METRIC = "val_accuracy"
# The hyperparameters of sweep.yaml, from left to right in the parallel coordinates
SEARCHED = (
    "num_layers", "hidden_size", "activation", "weight_init", "optimizer", "learning_rate", "batch_size",
    "weight_decay", "epochs",
)  # fmt: skip


def build_blocks(entity, project):
    """Return the blocks of the report for the runs of entity/project."""
    import wandb_workspaces.reports.v2 as wr

    def panels(*panels, **filters):
        conditions = " and ".join(f"Config('{name}') = '{value}'" for name, value in filters.items())
        runs = wr.Runset(entity=entity, project=project, name=conditions or "all runs", filters=conditions)
        return wr.PanelGrid(runsets=[runs], panels=list(panels))

    def curves(metric, title, by):
        return wr.LinePlot(title=title, x="epoch", y=[metric], groupby=wr.Config(by), groupby_rangefunc="minmax")

    fashion = {"dataset": "fashion_mnist"}
    columns = [
        *(wr.ParallelCoordinatesPlotColumn(metric=wr.Config(name)) for name in SEARCHED),
        wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(METRIC)),
    ]
    questions = {
        "1 One image of each class": (
            "Which classes look alike, and which pixels tell them apart?",
            panels(wr.MediaBrowser(title="one image of each class", media_keys=["images"])),
        ),
        "2 The feed-forward network": ("The layers, the shapes of their weights, and the activations.",),
        "3 Back-propagation and the optimizers": (
            "How the gradients were checked. Runs with --log_gradients show where they vanish, and how many ReLU units "
            "are dead.",
            panels(
                curves(METRIC, "validation accuracy by optimizer", "optimizer"),
                curves("train_loss", "training loss by optimizer", "optimizer"),
                wr.LinePlot(
                    title="gradient norm of each layer", x="epoch", metric_regex="gradient_norm/.*", log_y=True
                ),
                wr.LinePlot(title="share of dead ReLU units", x="epoch", metric_regex="dead_units/.*"),
                **fashion,
            ),
        ),
        "4 The hyperparameter search": (
            "The search space, the method, and the number of runs.",
            panels(
                wr.ParallelCoordinatesPlot(title="configurations and validation accuracy", columns=columns), **fashion
            ),
        ),
        "5 The best validation accuracy": (
            "The accuracy against the time at which a run started; the line is the best so far.",
            panels(
                wr.ScatterPlot(
                    title="best so far", x=wr.SummaryMetric("_timestamp"), y=wr.SummaryMetric(METRIC), running_ymax=True
                ),
                **fashion,
            ),
        ),
        "6 What the hyperparameters do": (
            "What the panels suggest, a configuration that should reach 95 %, and what contradicts your expectation.",
            panels(
                wr.ParameterImportancePlot(with_respect_to=METRIC),
                wr.ParallelCoordinatesPlot(title="configurations and validation accuracy", columns=columns),
                **fashion,
            ),
        ),
        "7 The test accuracy": (
            "The chosen configuration, its test accuracy, and the classes that it confuses.",
            panels(
                wr.CustomChart(
                    query={"summaryTable": {"tableKey": "confusion_matrix_table"}},
                    chart_name="wandb/confusion_matrix/v1",
                    chart_fields={"Actual": "Actual", "Predicted": "Predicted", "nPredictions": "nPredictions"},
                    chart_strings={"title": "confusion matrix of the validation images"},
                ),
                **fashion,
            ),
        ),
        "8 Cross-entropy and squared error": (
            "Both losses with the same hyperparameters, each with its own learning rate.",
            panels(curves(METRIC, "validation accuracy by loss", "loss"), **fashion),
        ),
        "9 The code": ("The address of your repository, and how it is tested.",),
        "10 MNIST with three configurations": (
            "Three configurations chosen on Fashion-MNIST, and their accuracy on MNIST.",
            panels(curves(METRIC, "validation accuracy by width", "hidden_size"), dataset="mnist"),
        ),
    }
    blocks = [wr.TableOfContents()]
    for heading, (task, *grids) in questions.items():
        blocks += [wr.H2(heading), wr.P(task), *grids, wr.P(YOUR_WORDS)]
    return blocks


def reason_impossible():
    """Return in one line why no report can be written from here; None if it can."""
    import wandb.sdk  # noqa: F401 (if this is missing, it is the wrong environment; a folder wandb/ may be there)

    try:
        import wandb_workspaces.reports.v2  # noqa: F401
    except ImportError:
        return f'the package wandb-workspaces is missing: "{sys.executable}" -m pip install wandb-workspaces'
    from helpers.tracking import reason_offline

    reason = reason_offline()
    return reason and f"a report needs W&B: {reason}"


def save_report(entity, project):
    """Save the draft, and return its address; the entity None is the account's own.

    Raises
    ------
    ValueError
        If the project does not exist, cannot be read, or has no runs.
    """
    import wandb
    import wandb_workspaces.reports.v2 as wr

    from helpers.tracking import CONNECT_TIMEOUT

    api = wandb.Api(timeout=CONNECT_TIMEOUT)
    entity = entity or os.environ.get("WANDB_ENTITY") or api.default_entity
    runs = api.runs(f"{entity}/{project}", per_page=1)
    if len(runs) == 0:  # W&B would create a missing project
        raise ValueError(f"the project {entity}/{project} has no runs; record some with python -m helpers.train")
    report = wr.Report(entity=entity, project=project, title=TITLE, width="fluid", blocks=build_blocks(entity, project))
    return report.save(draft=True).url


def main(arguments=None):
    """Save the draft and print its address; return the exit code: 0, or 1 with W&B's reason."""
    parser = cli.parser("helpers.report", __doc__)
    cli.add_wandb_project(parser)
    args = parser.parse_args(arguments)
    os.environ.setdefault("WANDB_SILENT", "true")
    reason = reason_impossible()
    if reason:
        return cli.error(reason)
    from helpers.tracking import first_line

    try:
        url = save_report(args.wandb_entity, args.wandb_project)
    except Exception as error:  # whatever W&B raises: no such project, no rights, no answer
        return cli.error(error if isinstance(error, ValueError) else first_line(error))
    print(f"The draft of the report: {url}")
    return 0
