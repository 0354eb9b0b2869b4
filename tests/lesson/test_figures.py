"""The figures: each one is drawn without a warning, names its data set, has an alternative text and is closed."""

import io
import os
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

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
RUNS = pd.DataFrame(
    [[0.01, "adam", 0, 0.8], [0.01, "adam", 1, 0.9], [0.1, "adam", 0, 0.6], [0.1, "adam", 1, None],
     [0.01, "sgd", 0, 0.5], [0.01, "sgd", 1, 0.5], [0.1, "sgd", 0, None], [0.1, "sgd", 1, None]],
    columns=["learning_rate", "optimizer", "seed", "val_accuracy"],
)  # fmt: skip
CALIBRATION = pd.DataFrame({"probability": [0.4, 0.9], "accuracy": [0.5, 0.8], "images": [3, 9]})
NAMES = tuple("abcdefghij")
RNG = np.random.default_rng(0)
Y = np.eye(10)[RNG.integers(0, 10, 30)]
Y_HAT = RNG.dirichlet(np.ones(10), 30)
MATRIX = RNG.integers(0, 9, (10, 10))
X = RNG.random((30, 784))
SCALES = {"sigmoid": {"He": [1, 0.5], "Xavier": [1, 0.1]}, "ReLU": {"He": [1, 1], "Xavier": [1, 0.2]}}
IMPORTANCES = {
    "all trials": pd.DataFrame({"importance": [0.3, 0.7], "std": [0.1, 0.1]}, ["batch_size", "optimizer"]),
    "some": pd.DataFrame({"importance": [0.6, 0.4]}, ["batch_size", "optimizer"]),
}
LONG_TITLE = "A title of many words that says in detail what can be seen in the figure, with the numbers 12.5 and 98.4%"

FIGURES = {  # function: its arguments
    "class_examples": lambda sample: (sample,),
    "activation_functions": lambda sample: (functions.ACTIVATIONS, "title"),
    "loss_functions": lambda sample: (functions.LOSSES, functions.softmax, "title"),
    "network_diagram": lambda sample: ([784, 20, 10, 3], "title"),
    "layer_graph": lambda sample: ("title",),
    "layer_scales": lambda sample: (SCALES, SCALES, "title", sample.name),
    "optimizer_path": lambda sample: (
        {"a": np.ones((5, 2)), "b": np.full((5, 2), 2.0)}, lambda x, y: x**2 + y**2, "title",
    ),
    "learning_curves": lambda sample: ({"a": HISTORY, "b": HISTORY}, "title"),
    "accuracy_by": lambda sample: (RUNS, "learning_rate", "title", sample.name, "optimizer"),
    "training_curves": lambda sample: (HISTORY, "title"),
    "lines": lambda sample: ({"a": [1, 2, 3], "b": [3, 2, 1]}, "title", sample.name),
    "confusion_matrix": lambda sample: (MATRIX, NAMES, "title", sample.name),
    "misclassified": lambda sample: (X, Y, Y_HAT, np.arange(9), NAMES, "title", sample.name),
    "image_grid": lambda sample: (X[:8], ["a"] * 8, ["b"] * 8, "title", sample.name),
    "augmented_images": lambda sample: ({"a": X[:4], "b": X[4:8]}, "title", sample.name),
    "prediction": lambda sample: (X[0], Y_HAT[0], NAMES, "title", sample.name),
    "reliability_diagram": lambda sample: ({"a": CALIBRATION}, "title", sample.name),
    "ablation": lambda sample: ({"a": [-1.2, -0.8], "b": [0, 0.2]}, "title", sample.name),
    "overfitting": lambda sample: (
        pd.concat([HISTORY.assign(seed=0), HISTORY.assign(seed=1)]), [1, 2], "title", sample.name,
    ),
    "trial_history": lambda sample: (TRIALS, "title", sample.name),
    "parallel_coordinates": lambda sample: (TRIALS, ["optimizer", "epochs"], "title", sample.name),
    "hyperparameter_importance": lambda sample: (
        IMPORTANCES, pd.DataFrame({"correlation": [0.5, -0.5]}, ["a", "b"]), "title", sample.name,
    ),
    "first_layer_weights": lambda sample: (RNG.normal(size=(784, 40)), "title", sample.name),
}  # fmt: skip
KEYWORDS = {"lines": {"xlabel": "epoch", "ylabel": "learning rate"}}
WITHOUT_DATA = {"network_diagram", "layer_graph", "activation_functions", "loss_functions", "optimizer_path"}


@pytest.fixture
def shown(monkeypatch):
    """The figures that were shown, each with its alternative text as the attribute ``alt``."""
    figures = []

    def show(figure, alt):
        figure.alt = alt
        figures.append(figure)

    monkeypatch.setattr(plots, "_show", show)
    return figures


def draw(name, sample, title="title"):
    """Call the function with its arguments of ``FIGURES``, and with the title in place of "title"."""
    arguments = [
        title if isinstance(argument, str) and argument == "title" else argument for argument in FIGURES[name](sample)
    ]
    getattr(plots, name)(*arguments, **KEYWORDS.get(name, {}))


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


def legend_below(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def error_bars(axis):
    """The ends of the error bars, (lower, upper), for each call of `errorbar`."""
    return [
        [tuple(bar[:, int(container.has_yerr)]) for bar in container.lines[2][0].get_segments()]
        for container in axis.containers
    ]


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_drawn_without_warning_and_closed(name, sample, shown):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw(name, sample)
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


@pytest.mark.parametrize("name", FIGURES)
def test_alternative_text_describes_the_figure_and_ends_with_its_title(name, sample, shown):
    draw(name, sample, LONG_TITLE)
    title = f"{sample.name}: 8 training images of each class" if name == "class_examples" else LONG_TITLE
    assert shown[0].alt.endswith(f". {title}")
    assert len(shown[0].alt) > len(title) + 40
    assert "\n" not in shown[0].alt


@pytest.mark.parametrize("name", FIGURES)
def test_figure_and_its_text_are_readable_on_a_phone(name, sample, shown):
    draw(name, sample)
    assert shown[0].get_figwidth() <= 8.5
    assert min(text.get_fontsize() for text in shown[0].findobj(plt.Text) if text.get_text()) >= 10.5


@pytest.mark.parametrize("name", sorted(FIGURES.keys() - {"class_examples"}))
def test_long_title_is_broken_into_lines_inside_the_figure(name, sample, shown):
    draw(name, sample, LONG_TITLE)
    shown[0].canvas.draw()
    title = shown[0].get_suptitle()
    assert title.split() == LONG_TITLE.split()
    assert "\n" in title
    assert shown[0]._suptitle.get_window_extent().x1 < shown[0].bbox.width


def test_title_of_one_long_word_is_kept(shown):
    with plots.figure(size=(2, 2), title="w" * 40, alt="text"):
        pass
    assert shown[0].get_suptitle().replace("\n", "") == "w" * 40


# ---- the PNG ----


@pytest.fixture
def displayed(monkeypatch):
    """The data and metadata of what was displayed."""
    outputs = []
    monkeypatch.setattr("IPython.display.display", lambda data, metadata, raw: outputs.append((data, metadata)))
    return outputs


def test_figure_is_shown_as_png_with_palette_width_and_alternative_text(displayed):
    with plots.figure(size=(4, 3), title="title", alt="a line") as (_, axis):
        axis.plot([0, 1])
    [(data, metadata)] = displayed
    assert metadata == {"image/png": {"width": 400, "alt": "a line. title"}}
    assert list(data) == ["image/png", "text/plain"]
    assert data["text/plain"] == "a line. title"
    image = Image.open(io.BytesIO(data["image/png"]))
    assert image.mode == "P"
    assert image.size == (4 * plots.DPI, 3 * plots.DPI)
    assert len(image.getcolors()) <= plots.PALETTE


def test_png_keeps_the_colours_of_lines(displayed):
    with plots.figure(size=(4, 3), title="title", alt="lines") as (_, axis):
        for i, colour in enumerate(plots.COLOURS):
            axis.plot([0, 1], [i, i], color=colour)
    [(data, _)] = displayed
    image = Image.open(io.BytesIO(data["image/png"])).convert("RGB")
    pixels = np.unique(np.asarray(image).reshape(-1, 3), axis=0)
    for colour in [*plots.COLOURS, "white"]:
        expected = 255 * np.array(matplotlib.colors.to_rgb(colour))
        assert np.abs(pixels - expected).max(axis=1).min() <= 12


def test_figure_outside_a_notebook_gives_no_warning():
    code = "from helpers import plots; plots.layer_graph('title')"
    result = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, "MPLBACKEND": "agg"},
    )  # fmt: skip
    assert result.stderr == ""


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
    with plots.figure(size=(4, 3), title="title", alt="text") as (figure, axis):
        assert matplotlib.rcParams["axes.grid"]
        axis.plot([0, 1])
        assert not shown
    assert matplotlib.rcParams == before
    assert shown == [figure]
    assert not axis.spines["top"].get_visible()


@pytest.mark.parametrize("name", FIGURES)
def test_drawing_leaves_rcparams_unchanged(name, sample, shown):
    before = matplotlib.rcParams.copy()
    draw(name, sample)
    assert matplotlib.rcParams == before


def test_figure_is_closed_and_not_shown_after_an_error(shown):
    before = matplotlib.rcParams.copy()
    with pytest.raises(ZeroDivisionError), plots.figure(size=(4, 3), title="title", alt="text"):
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


def test_layer_scales_distinguishes_nine_schemes(shown):
    names = [f"scheme {i}" for i in range(9)]
    scales = dict.fromkeys(["tanh", "ReLU"], dict.fromkeys(names, (1, 0.5)))
    plots.layer_scales(scales, scales, "title", "toys")
    assert len(shown[0].axes) == 4
    for axis in shown[0].axes:
        assert len(set(curves(axis))) == len(curves(axis)) == 9
    assert legend_below(shown[0]) == names
    assert [axis.get_title() for axis in shown[0].axes] == ["tanh", "ReLU", "", ""]


def test_lines_distinguishes_twelve_curves(shown):
    names = [f"curve {i}" for i in range(12)]
    plots.lines(dict.fromkeys(names, (1, 2)), "title", "toys", xlabel="x", ylabel="y")
    assert len(set(curves(shown[0].axes[0]))) == 12
    assert legend(shown[0].axes[0]) == names


def test_accuracy_by_distinguishes_nine_curves(shown):
    runs = pd.concat([RUNS.assign(optimizer=f"optimizer {i}") for i in range(9)])
    plots.accuracy_by(runs, "learning_rate", "title", "toys", by="optimizer")
    lines = [container.lines[0] for container in shown[0].axes[0].containers]
    assert len({(line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines}) == 9
    assert legend(shown[0].axes[0]) == [f"optimizer {i}" for i in range(9)]


def test_optimizer_path_distinguishes_nine_optimizers(shown):
    names = [f"optimizer {i}" for i in range(9)]
    plots.optimizer_path(dict.fromkeys(names, np.ones((5, 2))), lambda x, y: x**2 + y**2, "title")
    path, losses = shown[0].axes
    assert len(set(curves(losses))) == len(curves(losses)) == 9
    assert legend_below(shown[0]) == names
    last = losses.get_lines()[-1]
    assert [line.get_linewidth() for line in losses.get_lines()] == [1.5] * 8 + [3]
    assert (path.get_lines()[0].get_color(), path.get_lines()[0].get_linestyle()) == (
        last.get_color(), last.get_linestyle(),
    )  # fmt: skip


def test_reliability_diagram_draws_eight_tables(shown):
    names = [f"network {i}" for i in range(8)]
    plots.reliability_diagram(dict.fromkeys(names, CALIBRATION), "title", "toys")
    above, below = shown[0].axes[:8], shown[0].axes[8:]
    assert [axis.get_title() for axis in above] == names
    assert all(len(axis.containers) == 1 for axis in above)
    assert all(len(axis.patches) == 2 for axis in below)


# ---- single figures ----


@pytest.mark.parametrize("title", ["activation f(a)", "derivative f ′(a)"])
def test_activation_functions_titles(title, shown):
    plots.activation_functions(functions.ACTIVATIONS, "title")
    assert title in [axis.get_title() for axis in shown[0].axes]


def test_training_curves_marks_best_epoch(shown):
    plots.training_curves(HISTORY, "title")
    assert legend_below(shown[0]) == ["training, mean during the epoch", "validation", "best epoch"]
    assert list(shown[0].axes[0].get_lines()[-1].get_xdata()) == [2, 2]


def history(train_loss):
    """A history of these training losses; the other columns are constant."""
    epochs = range(1, len(train_loss) + 1)
    table = pd.DataFrame({"epoch": epochs, "train_loss": train_loss, "val_loss": 0.5, "train_accuracy": 0.8})
    table = table.assign(val_accuracy=0.7)
    table.attrs = HISTORY.attrs
    return table


@pytest.mark.parametrize(
    ("losses", "inside"),
    [([9, 0.6, 0.5, 0.4], False), ([0.64, 0.6, 0.5, 0.4], True), ([9, 0.6, 0.5], True), ([9], True)],
)
def test_training_curves_leaves_out_a_first_epoch_that_is_far_outside(losses, inside, shown):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.training_curves(history(losses), "title")
    low, high = shown[0].axes[0].get_ylim()
    assert (low <= losses[0] <= high) == inside
    assert low <= min(losses[1:], default=losses[0])
    assert inside or 0.6 < high < 0.7


def test_training_curves_without_validation(shown):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.training_curves(history([9, 0.6, 0.5, 0.4]).assign(val_loss=None, val_accuracy=None), "title")
        shown[0].canvas.draw()
    assert shown[0].axes[0].get_ylim()[1] < 0.7


def test_training_curves_accepts_empty_history(shown):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.training_curves(EMPTY_HISTORY, "title")
        shown[0].canvas.draw()
    assert legend_below(shown[0]) == ["training, mean during the epoch", "validation"]


def test_learning_curves_accepts_empty_history(shown):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.learning_curves({"interrupted": EMPTY_HISTORY, "complete": HISTORY}, "title")
        shown[0].canvas.draw()
    assert legend(shown[0].axes[0]) == ["interrupted (stopped)", "complete"]


def test_learning_curves_shows_mean_and_range_of_several_seeds(shown):
    other = HISTORY.assign(val_accuracy=[0.7, 0.8])
    plots.learning_curves({"mean_squared_error": [HISTORY, other], "cross_entropy": HISTORY}, "title")
    axis = shown[0].axes[0]
    assert np.allclose(axis.get_lines()[0].get_ydata(), [0.6, 0.75])
    assert len(axis.collections) == 1
    band = axis.collections[0].get_paths()[0].vertices
    assert {tuple(point) for point in band.round(6)} == {(1, 0.5), (2, 0.7), (1, 0.7), (2, 0.8)}
    assert axis.get_legend().get_title().get_text() == "mean and range\nof 2 seeds"
    assert legend(axis) == ["squared error", "cross-entropy"]


def test_learning_curves_names_no_seeds_for_single_histories(shown):
    plots.learning_curves({"a": HISTORY, "b": [HISTORY]}, "title")
    assert shown[0].axes[0].get_legend().get_title().get_text() == ""


def test_learning_curves_of_seeds_end_where_the_shortest_ends(shown):
    plots.learning_curves({"a": [HISTORY, HISTORY[:1]], "b": [HISTORY] * 3}, "title")
    assert [list(line.get_xdata()) for line in shown[0].axes[0].get_lines()] == [[1], [1, 2]]
    assert "of 2 to 3 seeds" in shown[0].axes[0].get_legend().get_title().get_text()


def test_accuracy_by_leaves_out_diverged_runs(shown):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.accuracy_by(RUNS, "learning_rate", "title", "toys", by="optimizer")
        shown[0].canvas.draw()
    axis = shown[0].axes[0]
    points = [container.lines[0].get_xydata() for container in axis.containers]
    assert np.allclose(points[0], [(0.01, 0.85), (0.1, 0.6)])
    assert np.allclose(points[1], [(0.01, 0.5)])
    assert np.allclose(error_bars(axis)[0], [(0.8, 0.9), (0.6, 0.6)])
    assert axis.get_ylabel() == "validation accuracy\n(mean and range of 2 seeds)"
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0.01", "0.1"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.0005, 0.05, 0.5], ["0.0005", "0.05", "0.5"]), ([16, 32, 64], ["16", "32", "64"])],
)
def test_accuracy_by_writes_plain_decimals(values, expected, shown):
    runs = pd.DataFrame({"weight_decay": values, "seed": 0, "val_accuracy": 0.9})
    plots.accuracy_by(runs, "weight_decay", "title", "toys")
    shown[0].canvas.draw()
    axis = shown[0].axes[0]
    assert set(expected) <= {label.get_text() for label in axis.get_xticklabels()}
    assert axis.get_xlabel() == "weight decay"
    assert axis.get_legend() is None


def test_lines_counts_from_one(shown):
    plots.lines({"a": [0.1, 0.2]}, "title", "toys", xlabel="epoch", ylabel="rate")
    axis = shown[0].axes[0]
    assert list(axis.get_lines()[0].get_xdata()) == [1, 2]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("epoch", "rate")


def test_loss_functions_writes_names_in_words(shown):
    plots.loss_functions(functions.LOSSES, functions.softmax, "title")
    assert legend(shown[0].axes[0]) == ["cross-entropy", "squared error"]
    assert all("two classes" in axis.get_title() for axis in shown[0].axes)


def test_network_diagram_names_layers_and_parameters_with_their_shapes(shown):
    plots.network_diagram([784, 128, 10], "title")
    assert {
        "$H_0 = X$\n($N$, 784)", "$H_1$\n($N$, 128)", "$H_2 = \\hat{Y}$\n($N$, 10)",
        "$W_1$ (784, 128)\n$b_1$ (128,)\n$f$", "$W_2$ (128, 10)\n$b_2$ (10,)\nsoftmax",
    } <= {text.get_text() for text in shown[0].axes[0].texts}  # fmt: skip


def test_wilson_interval():
    """By hand, for 8 of 10: (0.8 + 0.19207 ± 1.959964 √(0.016 + 0.0096037)) / 1.38415 = 0.71674 ± 0.22657"""
    low, high = plots._wilson_interval(0.8, 10)
    assert (low, high) == pytest.approx((0.49016, 0.94332), abs=1e-4)
    assert plots._wilson_interval(1, 5)[1] == pytest.approx(1)


def test_reliability_diagram_shows_wilson_intervals_and_fractions(shown):
    plots.reliability_diagram(
        {"a": pd.DataFrame({"probability": [0.4, 0.9], "accuracy": [0.5, 0.8], "images": [30, 10]})}, "title", "toys"
    )
    above, below = shown[0].axes
    assert np.allclose(error_bars(above)[0][1], (0.49016, 0.94332), atol=1e-4)
    assert [bar.get_height() for bar in below.patches] == [0.75, 0.25]


def test_ablation_shows_mean_and_interval_of_three_seeds(shown):
    """By hand, for 1, 2, 3: mean 2, standard error 1/√3, t(0.975, 2) = 4.30265, half the interval 2.48414"""
    plots.ablation({"without a": [1.0, 2.0, 3.0], "b": [0.0, 0.1, 0.5]}, "title", "toys")
    axis = shown[0].axes[0]
    assert axis.containers[0].lines[0].get_xdata() == 2
    assert np.allclose(error_bars(axis)[0], (2 - 2.48414, 2 + 2.48414), atol=1e-4)
    assert "95% interval (t, n = 3 seeds)" in axis.get_xlabel()


def test_ablation_accepts_a_single_seed(shown):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.ablation({"a": [0.1], "b": [0.1, 0.2]}, "title", "toys")
        shown[0].canvas.draw()
    assert "n = 1 to 2 seeds" in texts(shown[0])


def test_overfitting_labels_the_vertical_lines(shown):
    curves = pd.concat([HISTORY.assign(seed=0), HISTORY.assign(seed=1)])
    plots.overfitting(curves, [1, 2], "title", "toys")
    for axis in shown[0].axes:
        assert [text.get_text() for text in axis.texts] == ["1", "2"]


@pytest.mark.parametrize(("best", "low"), [(0.9, 0.85), (0.6, 0.58)])
def test_trial_history_enlarges_the_best_trials(best, low, shown):
    trials = TRIALS.assign(val_accuracy=[0.4, best, None])
    plots.trial_history(trials, "title", "toys")
    all_trials, zoom = shown[0].axes
    assert zoom.get_ylim()[0] == pytest.approx(low)
    assert best < zoom.get_ylim()[1] < best + 0.02
    assert all_trials.get_ylim()[0] < 0.4
    for axis in shown[0].axes:
        (line,) = [line for line in axis.get_lines() if line.get_label() == "best so far"]
        assert list(line.get_ydata()) == [0.4, best, best]


def test_parallel_coordinates_writes_the_values_above_the_lines(shown):
    plots.parallel_coordinates(TRIALS, ["optimizer", "epochs"], "title", "toys")
    axis = shown[0].axes[0]
    boxes = [text for text in axis.texts if text.get_bbox_patch()]
    assert {text.get_text() for text in boxes} == {"sgd", "nadam", "5", "10"}
    assert min(text.get_zorder() for text in boxes) > max(line.get_zorder() for line in axis.get_lines())
    assert sum("%" in text.get_text() for text in axis.texts) >= 4
    assert [label.get_text() for label in axis.get_yticklabels()] == ["optimizer", "epochs", "validation\naccuracy"]


def test_hyperparameter_importance_groups_the_bars_of_several_tables(shown):
    correlations = pd.DataFrame({"correlation": [0.5, -0.5]}, ["weight_init_He", "batch_size"])
    plots.hyperparameter_importance(IMPORTANCES, correlations, "title", "toys")
    axis, correlation = shown[0].axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["optimizer", "batch size"]
    assert [bar.get_width() for bar in axis.patches] == [0.7, 0.3, 0.4, 0.6]
    assert legend_below(shown[0]) == ["all trials", "some"]
    assert [label.get_text() for label in correlation.get_yticklabels()] == ["initialisation He", "batch size"]


def test_reliability_diagram_of_bins_without_an_error(shown):
    """The upper end of Wilson's interval for an accuracy of 1 is 1, but for rounding."""
    images = np.arange(1, 200)
    table = pd.DataFrame({"probability": 0.9, "accuracy": 1.0, "images": images, "fraction": images / images.sum()})
    plots.reliability_diagram({"a": table}, "title", "toys")
    assert len(shown) == 1


def test_augmented_images_shows_each_version_in_its_row(shown):
    plots.augmented_images({"image": X[:2], "flipped": X[2:4]}, "title", "toys")
    axis = shown[0].axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["image", "flipped"]
    pixels = axis.get_images()[0].get_array()
    assert np.array_equal(pixels[34:62, 34:62], X[3].reshape(28, 28))


def test_class_examples_shows_images_of_each_class_in_its_row(sample, shown):
    plots.class_examples(sample, count=3)
    axis = shown[0].axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == list(sample.class_names)
    third = sample.x_train[sample.y_train[:, 1] == 1][2]
    assert np.array_equal(axis.get_images()[0].get_array()[34:62, 66:94], third.reshape(28, 28))


def test_first_layer_weights_says_which_units(shown):
    plots.first_layer_weights(RNG.normal(size=(784, 2000)), "title", "toys")
    assert "the 24 units with the largest norm of 2,000" in texts(shown[0])


def test_confusion_matrix_shows_shares_of_the_true_class(shown):
    plots.confusion_matrix(np.array([[3, 1], [0, 5]]), ("cat", "dog"), "title", "toys")
    assert {"75%", "25%", "100%"} <= set(texts(shown[0]).split(" | "))
    assert "0%" not in texts(shown[0]).split(" | ")
    assert "less than 0.5%" in texts(shown[0])


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
    listing = '\n\n```python\ndef relu(A):\n    """ReLU(a) = max(a, 0)"""'
    assert displayed[0].data.startswith('<div style="font-family: monospace">' + listing)
    assert displayed[0].data.endswith("```\n\n</div>")
    assert "def d_relu(H):" in displayed[0].data
