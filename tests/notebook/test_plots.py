"""The figures: each one is drawn without a warning, names its data set and is closed."""

import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from helpers import plots
from helpers.nn import functions

ROOT = Path(__file__).parents[2]

HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2],
        "train_loss": [1, 0.5],
        "val_loss": [1, 0.7],
        "train_accuracy": [0.5, 0.8],
        "val_accuracy": [0.5, 0.7],
    }
)
HISTORY.attrs = {"data": "Toys (sample)", "best_epoch": 2, "interrupted": False, "config": {}}
EMPTY_HISTORY = pd.DataFrame([], columns=HISTORY.columns)
EMPTY_HISTORY.attrs = {"data": "Toys (sample)", "best_epoch": None, "interrupted": True, "config": {}}
TRIALS = pd.DataFrame(
    [[0, "complete", 0.8, "sgd", 5], [1, "pruned", 0.6, "nadam", 10], [2, "failed", None, "sgd", 10]],
    columns=["trial", "state", "val_accuracy", "optimizer", "epochs"],
)
CALIBRATION = pd.DataFrame({"probability": [0.4, 0.9], "accuracy": [0.5, 0.8], "images": [3, 9]})
NAMES = tuple("abcdefghij")
RNG = np.random.default_rng(0)
Y = np.eye(10)[RNG.integers(0, 10, 30)]
Y_HAT = RNG.dirichlet(np.ones(10), 30)
MATRIX = RNG.integers(0, 9, (10, 10))
X = RNG.random((30, 784))

FIGURES = {  # function: its arguments
    "class_examples": lambda sample: (sample,),
    "activation_functions": lambda sample: (functions.ACTIVATIONS, "title"),
    "loss_functions": lambda sample: (functions.LOSSES, functions.softmax, "title"),
    "activation_std": lambda sample: ({"He": [1, 0.5], "Xavier": [1, 0.1]}, "title", sample.name),
    "optimizer_path": lambda sample: (
        {"a": np.ones((5, 2)), "b": np.full((5, 2), 2.0)}, lambda x, y: x**2 + y**2, "title",
    ),
    "learning_curves": lambda sample: ({"a": HISTORY, "b": HISTORY}, "title"),
    "training_curves": lambda sample: (HISTORY, "title"),
    "confusion_matrix": lambda sample: (MATRIX, NAMES, "title", sample.name),
    "misclassified": lambda sample: (X, Y, Y_HAT, np.arange(9), NAMES, "title", sample.name),
    "image_grid": lambda sample: (X[:8], ["a"] * 8, ["b"] * 8, "title", sample.name),
    "reliability_diagram": lambda sample: ({"a": CALIBRATION}, "title", sample.name),
    "ablation": lambda sample: ({"a": (-1.0, 0.2, [-1.2, -0.8]), "b": (0.1, 0.1, [0, 0.2])}, "title", sample.name),
    "overfitting": lambda sample: (
        pd.concat([HISTORY.assign(seed=0), HISTORY.assign(seed=1)]), [1, 2], "title", sample.name,
    ),
    "trial_history": lambda sample: (TRIALS, "title", sample.name),
    "parallel_coordinates": lambda sample: (TRIALS, ["optimizer", "epochs"], "title", sample.name),
    "hyperparameter_importance": lambda sample: (
        pd.DataFrame({"importance": [0.7, 0.3]}, ["a", "b"]), pd.DataFrame({"correlation": [0.5, -0.5]}, ["a", "b"]),
        "title", sample.name,
    ),
    "first_layer_weights": lambda sample: (RNG.normal(size=(784, 40)), "title", sample.name),
}  # fmt: skip
WITHOUT_DATA = {"activation_functions", "loss_functions", "optimizer_path"}


@pytest.fixture
def shown(monkeypatch):
    """The figures that were shown."""
    figures = []
    monkeypatch.setattr(plt, "show", lambda: figures.append(plt.gcf()))
    return figures


def texts(figure):
    return " | ".join(text.get_text() for text in figure.findobj(plt.Text))


def curves(axis):
    """The colour, marker and line style of each labelled line of the axes."""
    return [
        (line.get_color(), line.get_marker(), line.get_linestyle())
        for line in axis.get_lines()
        if not line.get_label().startswith("_")
    ]


def legend(axis):
    return [text.get_text() for text in axis.get_legend().get_texts()]


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_drawn_without_warning_and_closed(name, sample, shown):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(plots, name)(*FIGURES[name](sample))
        shown[0].canvas.draw()
    assert len(shown) == 1
    assert plt.get_fignums() == []
    assert ("sample" in texts(shown[0])) == (name not in WITHOUT_DATA)


def test_all_figures_are_tested():
    public = {
        name for name, value in vars(plots).items()
        if callable(value) and getattr(value, "__module__", "") == "helpers.plots" and not name.startswith("_")
    }  # fmt: skip
    assert public == {*FIGURES, "figure", "show_source"}


# ---- matplotlib's settings ----


def test_import_leaves_rcparams_unchanged():
    code = """
import matplotlib
matplotlib.use("agg")
before = matplotlib.rcParams.copy()
import helpers.plots
print(before == matplotlib.rcParams)
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "True"


def test_figure_applies_style_only_inside_the_block(shown):
    before = matplotlib.rcParams.copy()
    with plots.figure(size=(4, 3), title="title") as (figure, axis):
        assert matplotlib.rcParams["axes.grid"]
        axis.plot([0, 1])
        assert not shown
    assert matplotlib.rcParams == before
    assert shown == [figure]
    assert not axis.spines["top"].get_visible()


@pytest.mark.parametrize("name", FIGURES)
def test_drawing_leaves_rcparams_unchanged(name, sample, shown):
    before = matplotlib.rcParams.copy()
    getattr(plots, name)(*FIGURES[name](sample))
    assert matplotlib.rcParams == before


def test_figure_is_closed_and_not_shown_after_an_error(shown):
    before = matplotlib.rcParams.copy()
    with pytest.raises(ZeroDivisionError), plots.figure(size=(4, 3), title="title"):
        raise ZeroDivisionError
    assert shown == []
    assert plt.get_fignums() == []
    assert matplotlib.rcParams == before


# ---- any number of curves ----


def test_learning_curves_distinguishes_twelve_histories(shown):
    names = [f"history {i}" for i in range(12)]
    plots.learning_curves(dict.fromkeys(names, HISTORY), "title")
    axis = shown[0].axes[0]
    assert len(set(curves(axis))) == len(curves(axis)) == 12
    assert legend(axis) == names


def test_activation_functions_distinguishes_nine_functions(shown):
    names = ["identity", *(f"f{i}" for i in range(8))]
    plots.activation_functions(dict.fromkeys(names, functions.ACTIVATIONS["tanh"]), "title")
    for axis in shown[0].axes:
        assert len(set(curves(axis))) == len(curves(axis)) == 9
    assert legend(shown[0].axes[0]) == names


def test_loss_functions_distinguishes_nine_losses(shown):
    names = [f"loss {i}" for i in range(9)]
    plots.loss_functions(dict.fromkeys(names, functions.LOSSES["cross_entropy"]), functions.softmax, "title")
    for axis in shown[0].axes:
        assert len(set(curves(axis))) == len(curves(axis)) == 9
    assert legend(shown[0].axes[0]) == names


def test_activation_std_distinguishes_nine_schemes(shown):
    names = [f"scheme {i}" for i in range(9)]
    plots.activation_std(dict.fromkeys(names, (1, 0.5)), "title", "toys")
    assert len(set(curves(shown[0].axes[0]))) == len(curves(shown[0].axes[0])) == 9
    assert legend(shown[0].axes[0]) == names


def test_optimizer_path_distinguishes_nine_optimizers(shown):
    names = [f"optimizer {i}" for i in range(9)]
    plots.optimizer_path(dict.fromkeys(names, np.ones((5, 2))), lambda x, y: x**2 + y**2, "title")
    path, losses = shown[0].axes
    assert len(set(curves(losses))) == len(curves(losses)) == 9
    assert legend(losses) == names
    last = losses.get_lines()[-1]
    assert [line.get_linewidth() for line in losses.get_lines()] == [1.5] * 8 + [3]
    assert (path.get_lines()[0].get_color(), path.get_lines()[0].get_linestyle()) == (
        last.get_color(), last.get_linestyle(),
    )  # fmt: skip


def test_reliability_diagram_draws_eight_tables(shown):
    names = [f"network {i}" for i in range(8)]
    plots.reliability_diagram(dict.fromkeys(names, CALIBRATION), "title", "toys")
    assert [axis.get_title() for axis in shown[0].axes] == names
    assert all(len(axis.get_lines()) == 2 for axis in shown[0].axes)


# ---- single figures ----


@pytest.mark.parametrize("title", ["activation f(a)", "derivative f ′(a)"])
def test_activation_functions_titles(title, shown):
    plots.activation_functions(functions.ACTIVATIONS, "title")
    assert title in [axis.get_title() for axis in shown[0].axes]


def test_training_curves_marks_best_epoch(shown):
    plots.training_curves(HISTORY, "title")
    assert legend(shown[0].axes[0]) == ["training", "validation", "best epoch"]
    assert list(shown[0].axes[0].get_lines()[-1].get_xdata()) == [2, 2]


def test_training_curves_accepts_empty_history(shown):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.training_curves(EMPTY_HISTORY, "title")
        shown[0].canvas.draw()
    assert legend(shown[0].axes[0]) == ["training", "validation"]


def test_learning_curves_accepts_empty_history(shown):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.learning_curves({"interrupted": EMPTY_HISTORY, "complete": HISTORY}, "title")
        shown[0].canvas.draw()
    assert legend(shown[0].axes[0]) == ["interrupted", "complete"]


def test_confusion_matrix_shows_shares_of_the_true_class(shown):
    plots.confusion_matrix(np.array([[3, 1], [0, 5]]), ("cat", "dog"), "title", "toys")
    assert {"75%", "25%", "100%"} <= set(texts(shown[0]).split(" | "))
    assert "0%" not in texts(shown[0]).split(" | ")


def test_misclassified_shows_predicted_and_true_class(shown):
    plots.misclassified(X[:1], np.eye(2)[[1]], np.array([[0.9, 0.1]]), [0], ("cat", "dog"), "title", "toys")
    assert "cat 90.0%" in texts(shown[0])
    assert "true: dog" in texts(shown[0])


@pytest.mark.parametrize(("above", "below"), [("a", "bb"), ("aa", "b"), ("aaa", "bb")])
def test_image_grid_rejects_lists_of_different_length(above, below, shown):
    with pytest.raises(ValueError, match="zip"):
        plots.image_grid(X[:2], above, below, "title", "toys")
    assert plt.get_fignums() == []


@pytest.mark.parametrize(("units", "count"), [(10, 24), (40, 25), (2, 3)])
def test_first_layer_weights_draws_any_number_of_units(units, count, shown):
    plots.first_layer_weights(RNG.normal(size=(784, units)), "title", "toys", count=count)
    images = [axis for axis in shown[0].axes if axis.get_images()]
    assert len(images) == min(units, count)


def test_parallel_coordinates_accepts_a_single_accuracy(shown):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.parallel_coordinates(TRIALS[:1], ["optimizer"], "title", "toys")
        shown[0].canvas.draw()
    assert len(shown) == 1


def test_show_source_displays_the_source_code(monkeypatch):
    displayed = []
    monkeypatch.setattr("IPython.display.display", displayed.append)
    plots.show_source(functions.relu, functions.d_relu)
    assert displayed[0].data.startswith('```python\ndef relu(A):\n    """ReLU(a) = max(a, 0)"""')
    assert "def d_relu(H):" in displayed[0].data
