"""The figures: each one is drawn without a warning, names its data set, has an alternative text and is closed."""

import io
import warnings

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.lesson import figures, show_source
from helpers.lesson.figures import style
from helpers.nn import functions, intial_weights

HISTORY = pd.DataFrame(
    [[1, 1.0, 1.0, 0.5, 0.5], [2, 0.5, 0.7, 0.8, 0.7]],
    columns=["epoch", "train_loss", "val_loss", "train_accuracy", "val_accuracy"],
)
HISTORY.attrs = {"data": "Toys (sample)", "best_epoch": 2, "interrupted": False, "config": {}}
EMPTY_HISTORY = pd.DataFrame([], columns=HISTORY.columns)
EMPTY_HISTORY.attrs = HISTORY.attrs | {"best_epoch": None, "interrupted": True}
TRIALS = pd.DataFrame(
    [[0, "complete", 0.8, "sgd", 5], [1, "pruned", 0.6, "nadam", 10], [2, "failed", None, "sgd", 10]],
    columns=["trial", "state", "val_accuracy", "optimizer", "epochs"],
)
RUNS = pd.DataFrame(
    [[0.01, "adam", 0, 0.8], [0.01, "adam", 1, 0.9], [0.1, "adam", 0, 0.6], [0.1, "adam", 1, None],
     [0.01, "sgd", 0, 0.5], [0.01, "sgd", 1, 0.5], [0.1, "sgd", 0, None], [0.1, "sgd", 1, None]],
    columns=["learning_rate", "optimizer", "seed", "val_accuracy"],
)  # fmt: skip
NAMES = tuple("abcdefghij")
RNG = np.random.default_rng(0)
Y = np.eye(10)[RNG.integers(0, 10, 30)]
Y_HAT = RNG.dirichlet(np.ones(10), 30)
X = RNG.random((30, 784))
NETWORK, ZEROS = (intial_weights(1, 5, name, inputs=2, classes=3) for name in ("He", "zeros"))
SCALES = {"sigmoid": {"He": [1, 0.5], "Xavier": [1, 0.1]}, "ReLU": {"He": [1, 1], "Xavier": [1, 0.2]}}
IMPORTANCES = {
    "all trials": pd.DataFrame({"importance": [0.3, 0.7]}, ["batch_size", "optimizer"]),
    "some": pd.DataFrame({"importance": [0.6, 0.4]}, ["batch_size", "optimizer"]),
}
CORRELATIONS = pd.DataFrame({"correlation": [0.5, -0.5]}, ["weight_init_He", "batch_size"])
T = "A title of many words that says in detail what can be seen in the figure, with the numbers 12.5 and 98.4%"


def bowl(x, y):
    return x**2 + y**2


FIGURES = {  # function: its arguments; T stands for the title
    "activation_functions": (functions.ACTIVATIONS, T),
    "loss_functions": (functions.LOSSES, functions.softmax, T),
    "network_diagram": ([784, 20, 10, 3], T),
    "decision_regions": ({"a": NETWORK, "b": ZEROS, "c": NETWORK}, RNG.normal(size=(9, 2)), np.arange(9) % 3, T),
    "layer_graph": (T,),
    "layer_scales": (SCALES, SCALES, T, "toys"),
    "optimizer_paths": ({"a": np.ones((5, 2)), "b": np.full((5, 2), 2.0)}, bowl, T),
    "learning_curves": ({"a": HISTORY, "b": HISTORY}, T),
    "accuracy_by": (RUNS, "learning_rate", T, "toys", "optimizer"),
    "training_curves": (HISTORY, T),
    "lines": ({"a": [1, 2, 3], "b": [3, 2, 1]}, T, "toys"),
    "confusion_matrix": (RNG.integers(0, 9, (10, 10)), NAMES, T, "toys"),
    "misclassified": (X, Y, Y_HAT, np.arange(9), NAMES, T, "toys"),
    "augmented_images": ({"a": X[:4], "b": X[4:8]}, T, "toys"),
    "prediction": (X[0], Y_HAT[0], NAMES, T, "toys"),
    "own_picture": (255 * RNG.random((60, 40)), X[0], Y_HAT[0], NAMES, T, "toys"),
    "panels": ({"loss": {"a": pd.Series([1, 2], [0, 25])}, "norm": {"a": pd.Series([1, 2], [0, 25])}}, T, "toys"),
    "weight_table": ({"mean": X[:3].T, "weights": X[3:6].T}, NAMES[:3], T, "toys"),
    "trial_history": (TRIALS, T, "toys"),
    "parallel_coordinates": (TRIALS, ["optimizer", "epochs"], T, "toys"),
    "hyperparameter_importance": (IMPORTANCES, CORRELATIONS, T, "toys"),
    "first_layer_weights": (RNG.normal(size=(784, 40)), T, "toys"),
    "class_examples": (),
}
KEYWORDS = {"lines": {"xlabel": "epoch", "ylabel": "learning rate"}, "panels": {"xlabel": "step"}}
WITHOUT_DATA = {
    "network_diagram",
    "decision_regions",
    "layer_graph",
    "activation_functions",
    "loss_functions",
    "optimizer_paths",
}


@pytest.fixture
def shown(monkeypatch):
    """The figures that were shown, each with its alternative text as the attribute ``alt``; a warning is an error."""
    drawn = []

    def show(figure, alt):
        figure.alt = alt
        figure.canvas.draw()
        drawn.append(figure)

    monkeypatch.setattr(style, "show", show)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield drawn


def texts(figure):
    return [text.get_text() for text in figure.findobj(plt.Text)]


def legend(figure):
    box = figure.axes[0].get_legend() or figure.legends[0]
    return [text.get_text() for text in box.get_texts()]


def labels(axis):
    return [label.get_text() for label in axis.get_yticklabels()]


def error_bars(axis):
    """The ends of the error bars, (lower, upper), of the first call of `errorbar`."""
    container = axis.containers[0]
    return [tuple(bar[:, int(container.has_yerr)]) for bar in container.lines[2][0].get_segments()]


# ---- what all figures promise ----


def test_all_figures_are_tested():
    functions_of_figures = {name for name, value in vars(figures).items() if callable(value)}
    assert functions_of_figures == set(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_complete(name, sample, shown):
    """Its title is in lines inside the figure, it can be read on a phone, and it leaves nothing behind."""
    before = matplotlib.rcParams.copy()
    getattr(figures, name)(*(FIGURES[name] or [sample]), **KEYWORDS.get(name, {}))
    [figure] = shown
    title = T if FIGURES[name] else f"{sample.name}: 8 training images of each class"
    assert figure.get_suptitle().split() == title.split()
    assert ("\n" in figure.get_suptitle()) == (title == T)
    assert figure._suptitle.get_window_extent().x1 < figure.bbox.width
    assert figure.alt.endswith(f". {title}")
    assert len(figure.alt) > len(title) + 40
    assert "\n" not in figure.alt
    assert any("toys" in text.lower() or "sample" in text for text in texts(figure)) == (name not in WITHOUT_DATA)
    assert figure.get_figwidth() <= 8.5
    assert min(text.get_fontsize() for text in figure.findobj(plt.Text) if text.get_text()) >= 10.5
    assert plt.get_fignums() == []
    assert matplotlib.rcParams == before


def test_figure_is_shown_as_png_with_palette_width_and_alternative_text(monkeypatch):
    displayed = []
    monkeypatch.setattr("IPython.get_ipython", lambda: "a shell")
    monkeypatch.setattr("IPython.display.display", lambda data, metadata, raw: displayed.append((data, metadata)))
    with style.figure(size=(4, 3), title="title", alt="lines") as (_, axis):
        for i, colour in enumerate(style.COLOURS):
            axis.plot([0, 1], [i, i + 1], color=colour)
            axis.fill_between([0, 1], [i - 0.3, i + 0.7], [i + 0.3, i + 1.3], color=colour, alpha=0.2, linewidth=0)
    [(data, metadata)] = displayed
    assert metadata == {"image/png": {"width": 400, "alt": "lines. title"}}
    assert data["text/plain"] == "lines. title"
    image = Image.open(io.BytesIO(data["image/png"]))
    assert image.mode == "P"
    assert image.size == (4 * style.DPI, 3 * style.DPI)
    assert len(image.getcolors()) <= style.PNG_COLOURS
    pixels = np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)
    for colour in [*style.COLOURS, "white"]:
        line = 255 * np.array(matplotlib.colors.to_rgb(colour))
        for expected in (line, 0.2 * line + 0.8 * 255):  # and the band around it
            assert np.abs(pixels - expected).max(axis=1).min() <= 10


def test_figure_with_an_error_is_closed_and_not_shown(shown):
    before = matplotlib.rcParams.copy()
    with pytest.raises(ZeroDivisionError), style.figure(size=(4, 3), title="title", alt="text"):
        raise ZeroDivisionError
    assert shown == []
    assert plt.get_fignums() == []
    assert matplotlib.rcParams == before


def test_show_source_displays_the_source_code(monkeypatch):
    displayed = []
    monkeypatch.setattr("IPython.display.display", displayed.append)
    show_source(functions.relu, functions.d_relu)
    listing = '\n\n```python\ndef relu(A):\n    """ReLU(a) = max(a, 0)"""'
    assert displayed[0].data.startswith('<div style="font-family: monospace">' + listing)
    assert displayed[0].data.endswith("```\n\n</div>")
    assert "def d_relu(H):" in displayed[0].data


# ---- any number of curves ----

MANY = [f"curve {i}" for i in range(9)]
MANY_RUNS = pd.concat([RUNS.assign(optimizer=name) for name in MANY])


@pytest.mark.parametrize(
    ("name", "arguments", "keywords"),
    [
        ("learning_curves", (dict.fromkeys(MANY, HISTORY),), {}),
        ("activation_functions", (dict.fromkeys(MANY, functions.ACTIVATIONS["tanh"]),), {}),
        ("loss_functions", (dict.fromkeys(MANY, functions.LOSSES["cross_entropy"]), functions.softmax), {}),
        ("layer_scales", [dict.fromkeys(["tanh", "ReLU"], dict.fromkeys(MANY, (1, 0.5)))] * 2, {"source": "toys"}),
        ("lines", (dict.fromkeys(MANY, (1, 2)),), {"source": "toys", "xlabel": "x", "ylabel": "y"}),
        ("accuracy_by", (MANY_RUNS, "learning_rate"), {"source": "toys", "by": "optimizer"}),
        ("panels", ({"loss": dict.fromkeys(MANY, pd.Series([1, 2]))},), {"source": "toys", "xlabel": "step"}),
    ],
)
def test_nine_curves_are_distinguished(name, arguments, keywords, shown):
    getattr(figures, name)(*arguments, title="title", **keywords)
    for axis in [axis for axis in shown[0].axes if axis.axison]:
        lines = [line for line in axis.get_lines() if not line.get_label().startswith("_")]
        lines = lines or [container.lines[0] for container in axis.containers]
        assert len({(line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines}) == len(lines) == 9
    assert legend(shown[0]) == MANY


# ---- data ----


def test_class_examples_shows_images_of_each_class_in_its_row(sample, shown):
    figures.class_examples(sample, count=3)
    axis = shown[0].axes[0]
    assert labels(axis) == list(sample.class_names)
    third = sample.x_train[sample.y_train[:, 1] == 1][2]
    assert np.array_equal(axis.get_images()[0].get_array()[34:62, 66:94], third.reshape(28, 28))


def test_misclassified_shows_predicted_and_true_class(shown):
    figures.misclassified(X[:1], np.eye(2)[[1]], np.array([[0.9, 0.1]]), [0], ("cat", "dog"), "title", "toys")
    assert {"cat 90.0%", "true: dog"} <= set(texts(shown[0]))


@pytest.mark.parametrize(("units", "count"), [(10, 24), (2000, 25), (2, 3)])
def test_first_layer_weights_shows_any_number_of_units_and_says_which(units, count, shown):
    figures.first_layer_weights(RNG.normal(size=(784, units)), "title", "toys", count=count)
    drawn = min(units, count)
    assert len([axis for axis in shown[0].axes if axis.get_images()]) == drawn
    assert any(f"the first {drawn} of {units:,} units" in text for text in texts(shown[0]))


# ---- networks ----


def test_network_diagram_names_layers_and_parameters_with_their_shapes(shown):
    figures.network_diagram([784, 128, 10], "title")
    assert {
        "$H_0 = X$\n($N$, 784)", "$H_1$\n($N$, 128)", "$H_2 = \\hat{Y}$\n($N$, 10)",
        "$W_1$ (784, 128)\n$b_1$ (128,)\n$f$", "$W_2$ (128, 10)\n$b_2$ (10,)\nsoftmax",
    } <= set(texts(shown[0]))  # fmt: skip


# ---- trainings ----


@pytest.mark.parametrize(
    ("losses", "inside"),
    [([9, 0.6, 0.5, 0.4], False), ([0.64, 0.6, 0.5, 0.4], True), ([9, 0.6, 0.5], True), ([9], True)],
)
@pytest.mark.parametrize("val_loss", [0.5, None])
def test_training_curves_leaves_out_a_first_epoch_that_is_far_outside(losses, inside, val_loss, shown):
    history = pd.DataFrame({"epoch": range(1, len(losses) + 1), "train_loss": losses, "val_loss": val_loss})
    history = history.assign(train_accuracy=0.8, val_accuracy=None)
    history.attrs = HISTORY.attrs
    figures.training_curves(history, "title")
    low, high = shown[0].axes[0].get_ylim()
    assert (low <= losses[0] <= high) == inside
    assert low <= min(losses) < high
    assert inside or high < 0.7


def test_training_curves_marks_the_best_epoch_if_there_is_one(shown):
    figures.training_curves(HISTORY, "title")
    figures.training_curves(EMPTY_HISTORY, "title")
    assert legend(shown[0]) == ["training, mean during the epoch", "validation", "best epoch"]
    assert list(shown[0].axes[0].get_lines()[-1].get_xdata()) == [2, 2]
    assert legend(shown[1]) == ["training, mean during the epoch", "validation"]


def test_learning_curves_accepts_an_empty_history(shown):
    figures.learning_curves({"interrupted": EMPTY_HISTORY, "complete": [HISTORY]}, "title")
    assert legend(shown[0]) == ["interrupted (stopped)", "complete"]
    assert shown[0].axes[0].get_legend().get_title().get_text() == ""


def test_learning_curves_shows_mean_and_range_of_several_seeds(shown):
    other = HISTORY.assign(val_accuracy=[0.7, 0.8])
    figures.learning_curves({"a": [HISTORY, other], "b": HISTORY, "c": [HISTORY, HISTORY, HISTORY[:1]]}, "title")
    axis = shown[0].axes[0]
    assert np.allclose(axis.get_lines()[0].get_ydata(), [0.6, 0.75])
    assert list(axis.get_lines()[2].get_xdata()) == [1]  # the epochs that all seeds have
    assert len(axis.collections) == 2
    band = axis.collections[0].get_paths()[0].vertices
    assert {tuple(point) for point in band.round(6)} == {(1, 0.5), (2, 0.7), (1, 0.7), (2, 0.8)}
    assert axis.get_legend().get_title().get_text() == "mean and range\nof 2 to 3 seeds"


def test_accuracy_by_of_equal_values(shown):
    """Their mean is rounded to more than each of them."""
    runs = pd.DataFrame({"learning_rate": 0.1, "seed": [0, 1, 2], "val_accuracy": 0.1})
    assert runs["val_accuracy"].mean() > 0.1
    figures.accuracy_by(runs, "learning_rate", "title", "toys")
    assert np.allclose(error_bars(shown[0].axes[0]), [(0.1, 0.1)])


def test_accuracy_by_leaves_out_diverged_runs(shown):
    figures.accuracy_by(RUNS, "learning_rate", "title", "toys", by="optimizer")
    axis = shown[0].axes[0]
    points = [container.lines[0].get_xydata() for container in axis.containers]
    assert np.allclose(points[0], [(0.01, 0.85), (0.1, 0.6)])
    assert np.allclose(points[1], [(0.01, 0.5)])
    assert np.allclose(error_bars(axis), [(0.8, 0.9), (0.6, 0.6)])
    assert axis.get_ylabel() == "validation accuracy\n(mean and range of 2 seeds)"


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.0005, 0.05, 0.5], ["0.0005", "0.05", "0.5"]), ([16, 32, 64], ["16", "32", "64"])],
)
def test_accuracy_by_writes_plain_decimals(values, expected, shown):
    runs = pd.DataFrame({"weight_decay": values, "seed": 0, "val_accuracy": 0.9})
    figures.accuracy_by(runs, "weight_decay", "title", "toys")
    axis = shown[0].axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == expected
    assert axis.get_xlabel() == "weight decay"
    assert axis.get_legend() is None


def test_panels_have_common_colours_and_their_own_scales(shown):
    one, two = pd.Series([1, 2], [0, 25]), pd.Series([3, 4], [0, 25])
    figures.panels(
        {"loss": {"a": one}, "norm": {"a": one, "b": two}}, "title", "toys", xlabel="step", logarithmic=["norm"]
    )
    first, second = shown[0].axes
    assert (first.get_yscale(), second.get_yscale()) == ("linear", "log")
    assert first.get_lines()[0].get_color() == second.get_lines()[0].get_color() != second.get_lines()[1].get_color()
    assert second.get_lines()[1].get_xydata().tolist() == [[0, 3], [25, 4]]
    assert legend(shown[0]) == ["a", "b"]


def test_optimizer_paths_says_the_last_loss(shown):
    figures.optimizer_paths({"sgd": np.array([[2.0, 0.0], [0.1, 0.0]]), "adam": np.ones((3, 2))}, bowl, "title")
    assert [axis.get_title() for axis in shown[0].axes] == [
        "sgd\nloss 1e-02 after 1 steps",
        "adam\nloss 2e+00 after 2 steps",
    ]


# ---- evaluation ----


def test_confusion_matrix_shows_shares_of_the_true_class(shown):
    figures.confusion_matrix(np.array([[3, 1], [0, 5]]), ("cat", "dog"), "title", "toys")
    assert {"75%", "25%", "100%"} == {text for text in texts(shown[0]) if text.endswith("%")}


# ---- search ----


@pytest.mark.parametrize(("best", "low"), [(0.9, 0.85), (0.6, 0.58)])
def test_trial_history_enlarges_the_best_trials(best, low, shown):
    trials = TRIALS.assign(val_accuracy=[0.4, best, None])
    figures.trial_history(trials, "title", "toys")
    all_trials, zoom = shown[0].axes
    assert zoom.get_ylim()[0] == pytest.approx(low)
    assert best < zoom.get_ylim()[1] < best + 0.02
    assert all_trials.get_ylim()[0] < 0.4
    for axis in shown[0].axes:
        (line,) = [line for line in axis.get_lines() if line.get_label() == "best so far"]
        assert list(line.get_ydata()) == [0.4, best, best]


def test_parallel_coordinates_writes_the_values_above_the_lines(shown):
    figures.parallel_coordinates(TRIALS, ["optimizer", "epochs"], "title", "toys")
    axis = shown[0].axes[0]
    boxes = [text for text in axis.texts if text.get_bbox_patch()]
    assert {text.get_text() for text in boxes} == {"sgd", "nadam", "5", "10"}
    assert min(text.get_zorder() for text in boxes) > max(line.get_zorder() for line in axis.get_lines())
    assert sum("%" in text.get_text() for text in axis.texts) >= 4
    assert labels(axis) == ["optimizer", "epochs", "validation\naccuracy"]


def test_parallel_coordinates_of_lists_and_none(shown):
    trials = TRIALS.assign(hidden_size=[[8, 4], 8, 8], patience=pd.Series([None, 3, 3], dtype=object))
    figures.parallel_coordinates(trials, ["hidden_size", "patience"], "title", "toys")
    texts = {text.get_text() for text in shown[0].axes[0].texts if text.get_bbox_patch()}
    assert texts == {"[8, 4]", "8", "None", "3"}


def test_hyperparameter_importance_groups_the_bars_of_several_tables(shown):
    figures.hyperparameter_importance(IMPORTANCES, CORRELATIONS, "title", "toys")
    axis, correlation = shown[0].axes
    assert labels(axis) == ["optimizer", "batch size"]
    assert [bar.get_width() for bar in axis.patches] == [0.7, 0.3, 0.4, 0.6]
    assert legend(shown[0]) == ["all trials", "some"]
    assert labels(correlation) == ["initialisation He", "batch size"]
