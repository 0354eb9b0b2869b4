"""The figures of the notebook, and the listing of a function. Each function shows its figure and returns nothing.

The colours are those of Okabe and Ito (2008), which are distinguishable with the common colour-vision deficiencies.
Titles are given by the caller, because they state the result. The name of the data set is in the lower right corner.
Matplotlib's global settings are not changed.
"""

import inspect
import itertools
from contextlib import contextmanager

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
LINE_STYLES = plt.cycler(linestyle=["-", "-.", ":", "--"])
CURVES = LINE_STYLES * plt.cycler(color=COLOURS)  # 28 different curves, the first seven with solid lines
MARKED_CURVES = LINE_STYLES * plt.cycler(color=COLOURS, marker="os^Dv*P")
STYLE = {
    "axes.prop_cycle": plt.cycler(color=COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12,
    "axes.labelsize": 12,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
    "figure.dpi": 100,
    "figure.titlesize": 15,
    "figure.titleweight": "bold",
    "font.size": 11,
    "legend.frameon": False,
    "lines.linewidth": 2,
}


@contextmanager
def figure(rows=1, columns=1, *, size, title, source=None, **subplots):
    """Create a figure in the style of the notebook; show and close it at the end of the block.

    Parameters
    ----------
    rows, columns : int, default=1
        Number of axes in each direction.
    size : tuple of float
        Width and height in inches.
    title : str
        The title of the figure, left-aligned.
    source : str, optional
        The name of the data set, for the lower right corner.
    **subplots
        Further arguments of `matplotlib.pyplot.subplots`.

    Yields
    ------
    figure : matplotlib.figure.Figure
    axes : matplotlib.axes.Axes or ndarray of Axes
    """
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", **subplots)
        try:
            fig.suptitle(title, x=0.01, ha="left")
            yield fig, axes
            if source:
                fig.supxlabel(source, x=0.995, ha="right", fontsize=9, color="grey")
            plt.show()
        finally:
            plt.close(fig)


def _image(axis, pixels, title="", colour="black"):
    axis.imshow(pixels.reshape(28, 28), cmap="Greys", vmin=0, vmax=1)
    axis.set_title(title, fontsize=11, color=colour)
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(True)
        spine.set_color("lightgrey")


def _format_epochs(axis, column):
    """Label the axes of a curve over the epochs, for a column of a training history."""
    names = {"val_accuracy": "validation accuracy", "train_loss": "training loss", "val_loss": "validation loss"}
    axis.set(xlabel="epoch", ylabel=names.get(column, column))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    if "accuracy" in column:
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))


def show_source(*functions):
    """Display the source code of the functions, as it is in their modules."""
    from IPython.display import Markdown, display

    listing = "\n\n".join(inspect.getsource(function).rstrip() for function in functions)
    display(Markdown(f"```python\n{listing}\n```"))


def class_examples(data):
    """Plot the first training image of each of the ten classes."""
    labels = data.y_train.argmax(axis=1)
    with figure(2, 5, size=(9, 4.4), title=f"{data.name}: one image of each class") as (_, axes):
        for label, (axis, name) in enumerate(zip(axes.flat, data.class_names, strict=True)):
            first = np.flatnonzero(labels == label)[0]
            _image(axis, data.x_train[first], f"{label}  {name}")


def activation_functions(activations, title):
    """Plot activation functions and their derivatives; the identity is dashed.

    Parameters
    ----------
    activations : dict of str to (callable, callable)
        For each name the function f(A), and its derivative in terms of the output H = f(A), as in ``ACTIVATIONS``.
    title : str
        The title of the figure.
    """
    A = np.linspace(-5, 5, 501)[None]
    with figure(1, 2, size=(9, 3.8), title=title) as (_, axes):
        for (name, (f, d_f)), curve in zip(activations.items(), itertools.cycle(CURVES)):
            style = {**curve, "linestyle": "--"} if name == "identity" else curve
            H = f(A)
            axes[0].plot(A[0], H[0], **style, label=name)
            axes[1].plot(A[0], d_f(H)[0], **style, label=name)
        axes[0].set(title="activation f(a)", xlabel="a", ylabel="f(a)", ylim=(-1.6, 3.1))
        axes[1].set(title="derivative f ′(a)", xlabel="a", ylabel="f ′(a)", ylim=(-0.1, 1.15))
        axes[0].legend(loc="upper left")


def loss_functions(losses, softmax, title):
    """Plot losses, and their gradients with respect to the logit, against the probability of the true class.

    Parameters
    ----------
    losses : dict of str to (callable, callable)
        For each name the loss L(Ŷ, Y) and its gradient with respect to the logits, as in ``LOSSES``.
    softmax : callable
        The function from logits to probabilities.
    title : str
        The title of the figure.
    """
    logits = np.linspace(-8, 8, 401)
    Y_hat = softmax(np.stack([logits, np.zeros_like(logits)], axis=1))
    Y = np.array([[1.0, 0.0]])
    with figure(1, 2, size=(9, 3.8), title=title) as (_, axes):
        for (name, (loss, d_loss)), style in zip(losses.items(), itertools.cycle(CURVES)):
            axes[0].plot(Y_hat[:, 0], [loss(row[None], Y) for row in Y_hat], **style, label=name)
            axes[1].plot(Y_hat[:, 0], [abs(d_loss(row[None], Y)[0, 0]) for row in Y_hat], **style, label=name)
        axes[0].set(title="Loss", ylabel="loss", ylim=(0, 5))
        axes[1].set(title="Gradient magnitude", ylabel="|dL/da|")
        for axis in axes:
            axis.set_xlabel("predicted probability of the true class")
        axes[0].legend()


def activation_std(deviations, title, source):
    """Plot the standard deviation of the activations of each hidden layer.

    Parameters
    ----------
    deviations : dict of str to list of float
        For each initialisation scheme one standard deviation per hidden layer.
    title, source : str
        The title of the figure, and the name of the data set.
    """
    with figure(size=(8, 4), title=title, source=source) as (_, axis):
        for (name, values), style in zip(deviations.items(), itertools.cycle(CURVES)):
            axis.semilogy(range(1, len(values) + 1), values, marker="o", **style, label=name)
        axis.set(xlabel="hidden layer", ylabel="standard deviation\nof the activations")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.legend(title="weight_init")


def optimizer_path(paths, loss, title):
    """Plot the path of the last optimizer over a loss of two parameters, and the loss of all of them at each step.

    Parameters
    ----------
    paths : dict of str to ndarray, shape (T, 2)
        The points of each optimizer; the last one is highlighted.
    loss : callable
        The loss of arrays x and y; its minimum is at (0, 0).
    title : str
        The title of the figure.
    """
    x, y = np.meshgrid(np.linspace(-10, 5, 200), np.linspace(-3.6, 3.6, 120))
    with figure(1, 2, size=(10, 3.4), title=title, width_ratios=(3, 2)) as (_, axes):
        for (name, path), style in zip(paths.items(), itertools.cycle(CURVES)):
            (line,) = axes[1].semilogy(loss(*path.T), **style, linewidth=1.5, alpha=0.35, label=name)
        line.set(linewidth=3, alpha=1)
        axes[1].set(xlabel="step", ylabel="loss", ylim=(1e-7, 30))
        axes[1].legend(loc="lower left", fontsize=9, labelspacing=0.2)
        axes[0].contour(x, y, loss(x, y), levels=np.geomspace(0.05, 15, 9), colors="lightgrey", linewidths=1)
        axes[0].plot(*path.T, marker=".", markersize=6, linewidth=1.5, **style)
        axes[0].plot(0, 0, "k+", markersize=12, markeredgewidth=2)
        axes[0].set(xlabel="flat direction", ylabel="steep direction")
        axes[0].grid(visible=False)


def learning_curves(histories, title, column="val_accuracy"):
    """Plot one column of several training histories.

    Parameters
    ----------
    histories : dict of str to pandas.DataFrame
        Histories that `model_train` returned, by the name for the legend.
    title : str
        The title of the figure.
    column : str, default="val_accuracy"
        The column to plot.
    """
    source = next(iter(histories.values())).attrs["data"]
    with figure(size=(9, 4.6), title=title, source=source) as (_, axis):
        for (name, history), style in zip(histories.items(), itertools.cycle(MARKED_CURVES)):
            axis.plot(history["epoch"], history[column], **style, markersize=6, label=name)
        _format_epochs(axis, column)
        axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def training_curves(history, title):
    """Plot the loss and the accuracy of training and validation, and mark the best epoch.

    Parameters
    ----------
    history : pandas.DataFrame
        The history that `model_train` returned. It may be empty.
    title : str
        The title of the figure.
    """
    best_epoch = history.attrs["best_epoch"]
    with figure(1, 2, size=(9.5, 4), title=title, source=history.attrs["data"]) as (_, axes):
        for axis, metric in zip(axes, ("loss", "accuracy"), strict=True):
            axis.plot(history["epoch"], history[f"train_{metric}"], "o-", label="training")
            axis.plot(history["epoch"], history[f"val_{metric}"], "s-", label="validation")
            if best_epoch is not None:
                axis.axvline(best_epoch, color="grey", linestyle=":", label="best epoch")
            _format_epochs(axis, metric)
        axes[0].legend()


def confusion_matrix(matrix, class_names, title, source):
    """Plot a confusion matrix in per cent of each true class: correct predictions in blue, errors in orange.

    Parameters
    ----------
    matrix : ndarray of int, shape (C, C)
        Row i, column j: the number of images of class i that were predicted as class j.
    class_names : sequence of str
        The C names.
    title, source : str
        The title of the figure, and the name of the data set.
    """
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    correct = np.eye(len(matrix), dtype=bool)
    with figure(size=(8.6, 7.4), title=title, source=source) as (_, axis):
        axis.imshow(np.ma.masked_where(~correct, share), cmap="Blues", vmin=0, vmax=1.3)
        axis.imshow(np.ma.masked_where(correct, share), cmap="Oranges", vmin=0, vmax=0.25)
        for i, j in np.ndindex(*matrix.shape):
            if matrix[i, j]:
                text = f"{share[i, j]:.0%}" if round(100 * share[i, j]) else "·"
                axis.text(j, i, text, ha="center", va="center", color="white" if share[i, j] > 0.6 else "black")
        axis.set_xticks(range(len(matrix)), class_names, rotation=40, ha="right")
        axis.set_yticks(range(len(matrix)), class_names)
        axis.set(xlabel="predicted class", ylabel="true class")
        axis.grid(visible=False)


def misclassified(X, Y, Y_hat, indices, class_names, title, source):
    """Plot misclassified images: the predicted class and its probability above, the true class below.

    Parameters
    ----------
    X : ndarray, shape (N, 784)
        The images.
    Y, Y_hat : ndarray, shape (N, C)
        One-hot labels and predicted probabilities.
    indices : sequence of int
        The rows to plot.
    class_names : sequence of str
        The C names.
    title, source : str
        The title of the figure, and the name of the data set.
    """
    predicted, true = Y_hat.argmax(axis=1), Y.argmax(axis=1)
    above = [f"{class_names[predicted[i]]} {Y_hat[i, predicted[i]]:.1%}" for i in indices]
    below = [f"true: {class_names[true[i]]}" for i in indices]
    image_grid(X[indices], above, below, title, source, COLOURS[1])


def image_grid(X, above, below, title, source, colour="black"):
    """Plot images, six per row, each with a text above and one below.

    Parameters
    ----------
    X : ndarray, shape (N, 784)
        The images.
    above, below : sequence of str
        N texts each.
    title, source : str
        The title of the figure, and the name of the data set.
    colour : str, default="black"
        The colour of the texts above.
    """
    rows = max(1, -(-len(X) // 6))
    with figure(rows, 6, size=(9.8, 2.3 * rows + 0.3), title=title, source=source) as (_, axes):
        for axis in axes.flat[len(X) :]:
            axis.set_axis_off()
        for axis, pixels, over, under in zip(axes.flat[: len(X)], X, above, below, strict=True):
            _image(axis, pixels, over, colour)
            axis.set_xlabel(under, fontsize=11)


def reliability_diagram(tables, title, source):
    """Plot accuracy against confidence, in one diagram per network.

    Parameters
    ----------
    tables : dict of str to pandas.DataFrame
        Tables that `helpers.nn.metrics.calibration` returned. Bins with less than 0.1 % of the images are left out.
    title, source : str
        The title of the figure, and the name of the data set.
    """
    size = (4.6 * len(tables), 4.6)
    with figure(1, len(tables), size=size, title=title, source=source, sharey=True, squeeze=False) as (_, axes):
        for axis, (name, table), colour in zip(axes.flat, tables.items(), itertools.cycle(COLOURS)):
            total = table["images"].sum()
            bins = table[table["images"] >= 0.001 * total]
            area = 600 * bins["images"] / bins["images"].sum()
            axis.plot([0, 1], [0, 1], color="grey", linestyle=":", label="perfectly calibrated")
            axis.scatter(bins["probability"], bins["accuracy"], area, color=colour, alpha=0.4)
            axis.plot(bins["probability"], bins["accuracy"], "o-", color=colour, markersize=5)
            axis.set(title=name, xlabel="confidence", xlim=(0.15, 1.03), ylim=(0.15, 1.05))
            axis.xaxis.set_major_formatter(PercentFormatter(1))
            axis.yaxis.set_major_formatter(PercentFormatter(1))
        axes[0, 0].set_ylabel("accuracy")
        axes[0, 0].legend()


def ablation(differences, title, source):
    """Plot the effect of each change on the validation accuracy: mean, standard deviation and single runs.

    Parameters
    ----------
    differences : dict of str to (float, float, list of float)
        For each change the mean and the standard deviation of the difference in percentage points, and the difference
        for each seed.
    title, source : str
        The title of the figure, and the name of the data set.
    """
    with figure(size=(9, 0.55 * len(differences) + 1.6), title=title, source=source) as (_, axis):
        for row, (mean, deviation, points) in enumerate(differences.values()):
            axis.errorbar(mean, row, xerr=deviation, fmt="o", markersize=9, capsize=4, color=COLOURS[0])
            axis.plot(points, [row + 0.24] * len(points), "|", markersize=9, color="grey")
        axis.set_yticks(range(len(differences)), list(differences))
        axis.axvline(0, color="grey", linestyle=":")
        label = "difference in validation accuracy (percentage points)"
        axis.set(xlabel=label, ylim=(len(differences) - 0.4, -0.6))


def overfitting(curves, epochs, title, source):
    """Plot mean and range over the seeds of the loss and accuracy of training and validation.

    Parameters
    ----------
    curves : pandas.DataFrame
        Training histories of several seeds, one row per seed and epoch, with the additional column ``seed``.
    epochs : sequence of int
        The epochs to mark.
    title, source : str
        The title of the figure, and the name of the data set.
    """
    with figure(1, 2, size=(9.8, 4.2), title=title, source=source) as (_, axes):
        for axis, metric in zip(axes, ("loss", "accuracy"), strict=True):
            for part, label in (("train", "training"), ("val", "validation")):
                seeds = curves.pivot_table(index="epoch", columns="seed", values=f"{part}_{metric}")
                (line,) = axis.plot(seeds.index, seeds.mean(axis=1), label=label)
                low, high, colour = seeds.min(axis=1), seeds.max(axis=1), line.get_color()
                axis.fill_between(seeds.index, low, high, color=colour, alpha=0.25)
            for epoch in epochs:
                axis.axvline(epoch, color="grey", linestyle=":")
            _format_epochs(axis, metric)
        axes[0].legend(frameon=True, framealpha=1, edgecolor="none")


def first_layer_weights(dW, title, source, count=24, label="change of the weight"):
    """Plot the incoming weights of units of the first layer as images: positive in purple, negative in orange.

    Parameters
    ----------
    dW : ndarray, shape (784, units)
        Weights, or their changes. The columns of largest norm are plotted.
    title, source : str
        The title of the figure, and the text in its lower right corner.
    count : int, default=24
        The number of units.
    label : str
        The label of the colour bar.
    """
    largest = np.argsort(-np.linalg.norm(dW, axis=0))[:count]
    limit = np.quantile(abs(dW[:, largest]), 0.998)
    columns = -(-len(largest) // 3)
    with figure(3, columns, size=(9.5, 4.2), title=title, source=source, squeeze=False) as (fig, axes):
        for axis in axes.flat:
            axis.set_axis_off()
        for axis, unit in zip(axes.flat[: len(largest)], largest, strict=True):
            image = axis.imshow(dW[:, unit].reshape(28, 28), cmap="PuOr", vmin=-limit, vmax=limit)
        fig.colorbar(image, ax=axes, shrink=0.8, label=label)


def trial_history(results, title, source, metric="val_accuracy"):
    """Plot the metric of each trial of a search, in order of creation, and the best value so far.

    Parameters
    ----------
    results : pandas.DataFrame
        The trials, as `helpers.search.search` returns them.
    title, source : str
        The title of the figure, and the name of the data set.
    metric : str, default="val_accuracy"
        The column to plot, an accuracy.
    """
    states = {"complete": ("o", COLOURS[0]), "pruned": ("x", COLOURS[4]), "failed": ("s", COLOURS[1])}
    with figure(size=(9, 4.2), title=title, source=source) as (_, axis):
        for state, (marker, colour) in states.items():
            rows = results[results["state"] == state].dropna(subset=metric)
            if len(rows):
                label = f"{state} ({len(rows)})"
                axis.plot(rows["trial"], rows[metric], marker, color=colour, alpha=0.8, label=label)
        ordered = results.sort_values("trial")
        axis.plot(ordered["trial"], ordered[metric].cummax(), color=COLOURS[6], linewidth=1.5, label="best so far")
        axis.set(xlabel="trial, in order of creation", ylabel="validation accuracy")
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axis.legend(loc="lower right")


def parallel_coordinates(results, hyperparameters, title, source, metric="val_accuracy", poor=0.65):
    """Plot each trial of a search as a line through its hyperparameters to its accuracy.

    Parameters
    ----------
    results : pandas.DataFrame
        The trials, as `helpers.search.search` returns them.
    hyperparameters : sequence of str
        The columns for the axes, from left to right.
    title, source : str
        The title of the figure, and the name of the data set.
    metric : str, default="val_accuracy"
        The column for the last axis, an accuracy.
    poor : float, default=0.65
        Trials below this value are highlighted, as are those of the best quarter.
    """
    rows = results.dropna(subset=metric)
    rng = np.random.default_rng(0)
    with figure(size=(10, 4.8), title=title, source=source) as (_, axis):
        heights = []
        for x, name in enumerate(hyperparameters):
            values = sorted(rows[name].unique())
            place = {value: i / max(len(values) - 1, 1) for i, value in enumerate(values)}
            heights.append(rows[name].map(place) + rng.normal(0, 0.02, len(rows)))  # jitter against overplotting
            for value in values:
                box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
                axis.text(x + 0.04, place[value], str(value), fontsize=10, va="center", bbox=box, zorder=9)
        low, high = rows[metric].min(), rows[metric].max()
        heights.append((rows[metric] - low) / ((high - low) or 1))
        for value, y in ((low, 0), (high, 1)):
            axis.text(len(hyperparameters) + 0.04, y, f"{value:.0%}", fontsize=10, va="center")
        good = rows[metric].quantile(0.75)
        groups = {
            "others": ((rows[metric] >= poor) & (rows[metric] < good), "lightgrey", 0.8),
            f"below {poor:.0%}": (rows[metric] < poor, COLOURS[1], 1),
            f"best quarter: at least {good:.1%}": (rows[metric] >= good, COLOURS[0], 1),
        }
        for label, (chosen, colour, width) in groups.items():
            lines = axis.plot(np.array(heights)[:, chosen.to_numpy()], color=colour, linewidth=width, alpha=0.6)
            axis.plot([], color=colour, linewidth=3, label=label if lines else None)
        axis.set_xticks(range(len(hyperparameters) + 1), [*hyperparameters, metric], rotation=20, ha="right")
        axis.set(yticks=[], xlim=(-0.1, len(hyperparameters) + 0.4))
        axis.spines["left"].set_visible(False)
        axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)


def hyperparameter_importance(importances, correlations, title, source):
    """Plot the importance of each hyperparameter, and the correlation of its values with the validation accuracy.

    Parameters
    ----------
    importances : pandas.DataFrame
        The column ``importance``, indexed by hyperparameter.
    correlations : pandas.DataFrame
        The column ``correlation``, indexed by hyperparameter, or by hyperparameter and value.
    title, source : str
        The title of the figure, and the name of the data set.
    """
    importance, correlation = importances["importance"].sort_values(), correlations["correlation"]
    with figure(1, 2, size=(10, 5.2), title=title, source=source) as (_, axes):
        axes[0].barh(importance.index, importance, color=COLOURS[0])
        axes[0].set(title="Importance", xlabel="normalised permutation importance")
        colours = np.where(correlation > 0, COLOURS[0], COLOURS[1])
        axes[1].barh(correlation.index, correlation, color=colours)
        axes[1].set(title="Correlation", xlabel="correlation with the validation accuracy")
        axes[1].tick_params(labelsize=9)
