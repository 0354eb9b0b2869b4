"""Figures: each is drawn without a warning, says whose data it shows, and is closed again."""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from helpers import functions, plots

HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2],
        "train_loss": [1, 0.5],
        "val_loss": [1, 0.7],
        "train_accuracy": [0.5, 0.8],
        "val_accuracy": [0.5, 0.7],
    }
)
HISTORY.attrs = {"data": "Toys (sample)", "best_epoch": 2, "interrupted": False}
TRIALS = pd.DataFrame(
    [[0, "complete", 0.8, "sgd", 5], [1, "pruned", 0.6, "nadam", 10], [2, "failed", None, "sgd", 10]],
    columns=["trial", "state", "val_accuracy", "optimizer", "epochs"],
)
NAMES = tuple("abcdefghij")
RNG = np.random.default_rng(0)
Y = np.eye(10)[RNG.integers(0, 10, 30)]
Y_HAT = RNG.dirichlet(np.ones(10), 30)
MATRIX = RNG.integers(0, 9, (10, 10))
X = RNG.random((30, 784))

FIGURES = {  # name: (arguments, whether it shows data)
    "one_of_each_class": lambda sample: (sample,),
    "functions_and_derivatives": lambda sample: (functions.ACTIVATIONS, "title"),
    "losses_of_one_answer": lambda sample: (functions.LOSSES, functions.softmax, "title"),
    "activation_spread": lambda sample: ({"He": [1, 0.5], "Xavier": [1, 0.1]}, "title", sample.name),
    "path_over_a_bowl": lambda sample: (
        {"a": np.ones((5, 2)), "b": np.full((5, 2), 2.0)}, lambda x, y: x**2 + y**2, "title",
    ),
    "learning_curves": lambda sample: ({"a": HISTORY, "b": HISTORY}, "title"),
    "training_curves": lambda sample: (HISTORY, "title"),
    "confusion": lambda sample: (MATRIX, NAMES, "title", sample.name),
    "mistakes": lambda sample: (X, Y, Y_HAT, np.arange(9), NAMES, "title", sample.name),
    "gallery": lambda sample: (X[:8], ["a"] * 8, ["b"] * 8, "title", sample.name),
    "reliability": lambda sample: (
        {"a": pd.DataFrame({"probability": [0.4, 0.9], "accuracy": [0.5, 0.8], "images": [3, 9]})},
        "title", sample.name,
    ),
    "ablation": lambda sample: ({"a": (-1.0, 0.2, [-1.2, -0.8]), "b": (0.1, 0.1, [0, 0.2])}, "title", sample.name),
    "overfitting": lambda sample: (
        pd.concat([HISTORY.assign(seed=0), HISTORY.assign(seed=1)]), [1, 2], "title", sample.name,
    ),
    "trials_in_order": lambda sample: (TRIALS, "title", sample.name),
    "parallel_coordinates": lambda sample: (TRIALS, ["optimizer", "epochs"], "title", sample.name),
    "importance": lambda sample: (
        pd.DataFrame({"importance": [0.7, 0.3]}, ["a", "b"]), pd.DataFrame({"correlation": [0.5, -0.5]}, ["a", "b"]),
        "title", sample.name,
    ),
    "first_layer": lambda sample: (RNG.normal(size=(784, 40)), "title", sample.name),
}  # fmt: skip
OF_NO_DATA = {"functions_and_derivatives", "losses_of_one_answer", "path_over_a_bowl"}


def texts(figure):
    return " | ".join(text.get_text() for text in figure.findobj(plt.Text))


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_says_its_source_and_is_closed(name, sample, monkeypatch):
    seen = []
    monkeypatch.setattr(plt, "show", lambda: seen.append(plt.gcf()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(plots, name)(*FIGURES[name](sample))
        seen[0].canvas.draw()
    assert len(seen) == 1
    assert plt.get_fignums() == []
    assert ("sample" in texts(seen[0])) == (name not in OF_NO_DATA)


def test_every_figure_is_tested():
    functions_here = {
        name for name, value in vars(plots).items()
        if callable(value) and getattr(value, "__module__", "") == "helpers.plots" and not name.startswith("_")
    }  # fmt: skip
    assert functions_here == {*FIGURES, "show_source"}


def test_the_confusion_matrix_shows_shares_of_the_true_class(monkeypatch):
    seen = []
    monkeypatch.setattr(plt, "show", lambda: seen.append(plt.gcf()))
    plots.confusion(np.array([[3, 1], [0, 5]]), ("cat", "dog"), "title", "toys")
    assert {"75%", "25%", "100%"} <= set(texts(seen[0]).split(" | "))
    assert "0%" not in texts(seen[0]).split(" | ")


def test_mistakes_name_what_was_said_and_what_it_is(monkeypatch):
    seen = []
    monkeypatch.setattr(plt, "show", lambda: seen.append(plt.gcf()))
    plots.mistakes(X[:1], np.eye(2)[[1]], np.array([[0.9, 0.1]]), [0], ("cat", "dog"), "title", "toys")
    assert "cat 90.0%" in texts(seen[0])
    assert "is: dog" in texts(seen[0])


def test_a_listing_is_the_functions_own_source(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    plots.show_source(functions.relu, functions.d_relu)
    assert shown[0].data.startswith('```python\ndef relu(A, out=None):\n    """ReLU(a) = max(a, 0)"""')
    assert "def d_relu(H, out=None):" in shown[0].data
