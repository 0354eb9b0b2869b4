"""Every figure of the notebook, and the listing of a function. Each shows its picture and returns nothing.

Colours are Okabe and Ito's (2008), which colour-blind readers can tell apart. Titles are given by the caller, because
they say what was found. A figure made from data carries the data set's name in its corner.
"""

import inspect

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
STYLE = {  # for every figure of the process that imports this module
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
plt.style.use(STYLE)


def _figure(rows=1, columns=1, *, size, title, **more):
    """Return (figure, axes), with the figure's title at its left."""
    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", **more)
    figure.suptitle(title, x=0.01, ha="left")
    return figure, axes


def _show(figure, source=None):
    """Note the data set's name, if there is one, and show the figure."""
    if source:
        figure.supxlabel(source, x=0.995, ha="right", fontsize=9, color="grey")
    plt.show()
    plt.close(figure)


def _image(axis, pixels, title="", colour="black"):
    axis.imshow(pixels.reshape(28, 28), cmap="Greys", vmin=0, vmax=1)
    axis.set_title(title, fontsize=11, color=colour)
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(True)
        spine.set_color("lightgrey")


def show_source(*functions):
    """List the functions as they stand in their module, so that notebook and module cannot drift apart."""
    from IPython.display import Markdown, display

    listing = "\n\n".join(inspect.getsource(function).rstrip() for function in functions)
    display(Markdown(f"```python\n{listing}\n```"))


def one_of_each_class(data):
    """The first training image of each class."""
    figure, axes = _figure(2, 5, size=(9, 4.4), title=f"{data.name}: one image of each class")
    labels = data.y_train.argmax(axis=1)
    for label, axis in enumerate(axes.flat):
        first = np.flatnonzero(labels == label)[0]
        _image(axis, data.x_train[first], f"{label}  {data.class_names[label]}")
    _show(figure)


def functions_and_derivatives(activations, title):
    """Each activation beside its derivative. activations: {name: (function, derivative of the output)}."""
    A = np.linspace(-5, 5, 501)[None]
    figure, axes = _figure(1, 2, size=(9, 3.8), title=title)
    for (name, (f, d_f)), style in zip(activations.items(), ["--", "-", "-", "-"]):
        H = f(A)
        axes[0].plot(A[0], H[0], style, label=name)
        axes[1].plot(A[0], d_f(H)[0], style, label=name)
    axes[0].set(title="H = f(A)", xlabel="a", ylabel="f(a)", ylim=(-1.6, 3.1))
    axes[1].set(title="f ′, what a gradient is multiplied by", xlabel="a", ylabel="f ′(a)", ylim=(-0.1, 1.15))
    axes[0].legend(loc="upper left")
    _show(figure)


def losses_of_one_answer(losses, softmax, title):
    """Loss, and size of its gradient by the logits, as the probability of the right class goes from 0 to 1."""
    right = np.linspace(-8, 8, 401)
    Y_hat = softmax(np.stack([right, np.zeros_like(right)], axis=1))
    Y = np.tile([1.0, 0.0], (1, 1))
    figure, axes = _figure(1, 2, size=(9, 3.8), title=title)
    for name, (value, derivative) in losses.items():
        values = [value(row[None], Y) for row in Y_hat]
        slopes = [abs(derivative(row[None], Y)[0, 0]) for row in Y_hat]
        axes[0].plot(Y_hat[:, 0], values, label=name)
        axes[1].plot(Y_hat[:, 0], slopes, label=name)
    axes[0].set(title="The loss", xlabel="probability given to the right class", ylabel="loss", ylim=(0, 5))
    axes[1].set(title="How hard it pulls", xlabel="probability given to the right class", ylabel="|dL/da|")
    axes[0].legend()
    _show(figure)


def activation_spread(spreads, title, source):
    """The spread of the hidden units, layer by layer. spreads: {initialisation: [standard deviations]}."""
    figure, axis = _figure(size=(8, 4), title=title)
    for name, values in spreads.items():
        axis.semilogy(range(1, len(values) + 1), values, "o-", label=name)
    axis.set(xlabel="hidden layer", ylabel="standard deviation of its outputs")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(title="weight_init")
    _show(figure, source)


def path_over_a_bowl(paths, height, title):
    """The last path over the bowl, and its height after each step beside those of the paths before.

    paths: {name: points (T, 2)}; height(x, y): the loss.
    """
    points = list(paths.values())[-1]
    x, y = np.meshgrid(np.linspace(-10, 5, 200), np.linspace(-3.6, 3.6, 120))
    figure, axes = _figure(1, 2, size=(10, 3.4), title=title, width_ratios=(3, 2))
    axes[0].contour(x, y, height(x, y), levels=np.geomspace(0.05, 15, 9), colors="lightgrey", linewidths=1)
    axes[0].plot(*points.T, ".-", color=COLOURS[len(paths) - 1], markersize=6, linewidth=1.5)
    axes[0].plot(0, 0, "k+", markersize=12, markeredgewidth=2)
    axes[0].set(xlabel="x, the flat direction", ylabel="y, the steep one")
    axes[0].grid(visible=False)
    for (name, path), colour in zip(paths.items(), COLOURS):
        width, alpha = (3, 1) if path is points else (1.5, 0.35)
        axes[1].semilogy(height(*path.T), color=colour, linewidth=width, alpha=alpha, label=name)
    axes[1].set(xlabel="step", ylabel="height", ylim=(1e-7, 30))
    axes[1].legend(loc="lower left", fontsize=9, labelspacing=0.2)
    _show(figure)


def learning_curves(histories, title, column="val_accuracy"):
    """One column of several histories in one figure. histories: {name: data frame}."""
    figure, axis = _figure(size=(9, 4.6), title=title)
    for (name, history), mark in zip(histories.items(), "os^Dv*P"):
        axis.plot(history["epoch"], history[column], f"{mark}-", label=name, markersize=6)
    _epochs(axis, column)
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    _show(figure, history.attrs["data"])


def training_curves(history, title):
    """Loss and accuracy of training and validation, and the epoch whose parameters were kept."""
    figure, axes = _figure(1, 2, size=(9.5, 4), title=title)
    for axis, what in zip(axes, ("loss", "accuracy")):
        axis.plot(history["epoch"], history[f"train_{what}"], "o-", label="training")
        axis.plot(history["epoch"], history[f"val_{what}"], "s-", label="validation")
        axis.axvline(history.attrs["best_epoch"], color="grey", linestyle=":", label="best epoch: kept")
        _epochs(axis, what)
    axes[0].legend()
    _show(figure, history.attrs["data"])


def _epochs(axis, column):
    names = {"val_accuracy": "validation accuracy", "train_loss": "training loss", "val_loss": "validation loss"}
    axis.set(xlabel="epoch", ylabel=names.get(column, column))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    if "accuracy" in column:
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))


def confusion(matrix, class_names, title, source):
    """The confusion matrix in per cent of each true class; what is right is blue, what is wrong is orange."""
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    right = np.eye(len(matrix), dtype=bool)
    figure, axis = _figure(size=(8.6, 7.4), title=title)
    axis.imshow(np.ma.masked_where(~right, share), cmap="Blues", vmin=0, vmax=1.3)
    axis.imshow(np.ma.masked_where(right, share), cmap="Oranges", vmin=0, vmax=0.25)
    for i, j in np.ndindex(*matrix.shape):
        if matrix[i, j]:
            text = f"{share[i, j]:.0%}" if round(100 * share[i, j]) else "·"
            axis.text(j, i, text, ha="center", va="center", color="white" if share[i, j] > 0.6 else "black")
    axis.set_xticks(range(len(matrix)), class_names, rotation=40, ha="right")
    axis.set_yticks(range(len(matrix)), class_names)
    axis.set(xlabel="what the network said", ylabel="what it is")
    axis.grid(visible=False)
    _show(figure, source)


def mistakes(X, Y, Y_hat, indices, class_names, title, source):
    """Images that were taken for something else: what the network said, how sure it was, and what it is."""
    said, truth = Y_hat.argmax(axis=1), Y.argmax(axis=1)
    above = [f"{class_names[said[i]]} {Y_hat[i, said[i]]:.1%}" for i in indices]
    gallery(X[indices], above, [f"is: {class_names[truth[i]]}" for i in indices], title, source, COLOURS[1])


def gallery(X, above, below, title, source, colour="black"):
    """Images, six a row, each with a word above and one below."""
    rows = max(1, -(-len(X) // 6))
    figure, axes = _figure(rows, 6, size=(9.8, 2.3 * rows + 0.3), title=title)
    for axis in axes.flat[len(X) :]:
        axis.set_axis_off()
    for axis, pixels, over, under in zip(axes.flat, X, above, below):
        _image(axis, pixels, over, colour)
        axis.set_xlabel(under, fontsize=11)
    _show(figure, source)


def reliability(tables, title, source):
    """How often the network is right, beside how sure it is. tables: {name: calibration's data frame}."""
    figure, axes = _figure(1, len(tables), size=(4.6 * len(tables), 4.6), title=title, sharey=True, squeeze=False)
    for axis, (name, table), colour in zip(axes.flat, tables.items(), COLOURS):
        table = table[table["images"] >= 0.001 * table["images"].sum()]  # a handful of images says nothing
        axis.plot([0, 1], [0, 1], color="grey", linestyle=":", label="sure as it is right")
        area = 600 * table["images"] / table["images"].sum()
        axis.scatter(table["probability"], table["accuracy"], area, color=colour, alpha=0.4)
        axis.plot(table["probability"], table["accuracy"], "o-", color=colour, markersize=5)
        axis.set(title=name, xlabel="how sure it is", xlim=(0.15, 1.03), ylim=(0.15, 1.05))
        axis.xaxis.set_major_formatter(PercentFormatter(1))
        axis.yaxis.set_major_formatter(PercentFormatter(1))
    axes[0, 0].set_ylabel("how often it is right")
    axes[0, 0].legend()
    _show(figure, source)


def ablation(differences, title, source):
    """What each change brings or costs. differences: {name: (mean, standard deviation, points of each seed)}."""
    figure, axis = _figure(size=(9, 0.55 * len(differences) + 1.6), title=title)
    for row, (mean, deviation, points) in enumerate(differences.values()):
        axis.errorbar(mean, row, xerr=deviation, fmt="o", markersize=9, capsize=4, color=COLOURS[0])
        axis.plot(points, [row + 0.24] * len(points), "|", markersize=9, color="grey")
    axis.set_yticks(range(len(differences)), list(differences))
    axis.axvline(0, color="grey", linestyle=":")
    axis.set(xlabel="validation accuracy beside the whole recipe's, points", ylim=(len(differences) - 0.4, -0.6))
    _show(figure, source)


def overfitting(curves, marks, title, source):
    """Mean and spread over seeds of training and validation, epoch by epoch. curves: rows with seed and epoch."""
    figure, axes = _figure(1, 2, size=(9.8, 4.2), title=title)
    for axis, what in zip(axes, ("loss", "accuracy")):
        for part, label in (("train", "training"), ("val", "validation")):
            seeds = curves.pivot_table(index="epoch", columns="seed", values=f"{part}_{what}")
            (line,) = axis.plot(seeds.index, seeds.mean(axis=1), label=label)
            axis.fill_between(seeds.index, seeds.min(axis=1), seeds.max(axis=1), color=line.get_color(), alpha=0.25)
        for mark in marks:
            axis.axvline(mark, color="grey", linestyle=":")
        _epochs(axis, what)
    axes[0].legend(frameon=True, framealpha=1, edgecolor="none")
    _show(figure, source)


def first_layer(dW, title, source, count=24, label="change of the weight"):
    """The units whose incoming weights (784, units) are largest, or changed most, as images: purple up, orange down."""
    most = np.argsort(-np.linalg.norm(dW, axis=0))[:count]
    limit = np.quantile(abs(dW[:, most]), 0.998)
    figure, axes = _figure(3, count // 3, size=(9.5, 4.2), title=title)
    for unit, axis in zip(most, axes.flat):
        picture = axis.imshow(dW[:, unit].reshape(28, 28), cmap="PuOr", vmin=-limit, vmax=limit)
        axis.set_axis_off()
    figure.colorbar(picture, ax=axes, shrink=0.8, label=label)
    _show(figure, source)


def trials_in_order(results, title, source, metric="val_accuracy"):
    """Each trial of a search by the order of creation, and the highest so far."""
    figure, axis = _figure(size=(9, 4.2), title=title)
    for state, mark, colour in (
        ("complete", "o", COLOURS[0]),
        ("pruned", "x", COLOURS[4]),
        ("failed", "s", COLOURS[1]),
    ):
        rows = results[results["state"] == state].dropna(subset=metric)
        if len(rows):
            axis.plot(rows["trial"], rows[metric], mark, color=colour, alpha=0.8, label=f"{state} ({len(rows)})")
    best = results.sort_values("trial")
    axis.plot(best["trial"], best[metric].cummax(), color=COLOURS[6], linewidth=1.5, label="highest so far")
    axis.set(xlabel="trial, in order of creation", ylabel="validation accuracy")
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.legend(loc="lower right")
    _show(figure, source)


def parallel_coordinates(results, settings, title, source, metric="val_accuracy", poor=0.65):
    """Each trial as a line through its settings to its accuracy: the best quarter, the poor ones, and the rest."""
    rows = results.dropna(subset=metric)
    figure, axis = _figure(size=(10, 4.8), title=title)
    rng = np.random.default_rng(0)
    heights = []
    for x, name in enumerate(settings):
        values = sorted(rows[name].unique())
        place = {value: i / max(len(values) - 1, 1) for i, value in enumerate(values)}
        heights.append(rows[name].map(place) + rng.normal(0, 0.02, len(rows)))  # side by side, not on top
        for value in values:
            box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
            axis.text(x + 0.04, place[value], str(value), fontsize=10, va="center", bbox=box, zorder=9)
    low, high = rows[metric].min(), rows[metric].max()
    heights.append((rows[metric] - low) / (high - low))
    for value, y in ((low, 0), (high, 1)):
        axis.text(len(settings) + 0.04, y, f"{value:.0%}", fontsize=10, va="center")
    good = rows[metric].quantile(0.75)
    groups = {
        "others": ((rows[metric] >= poor) & (rows[metric] < good), "lightgrey", 0.8),
        f"under {poor:.0%}": (rows[metric] < poor, COLOURS[1], 1),
        f"best quarter: {good:.1%} and more": (rows[metric] >= good, COLOURS[0], 1),
    }
    for label, (chosen, colour, width) in groups.items():
        lines = axis.plot(np.array(heights)[:, chosen.to_numpy()], color=colour, linewidth=width, alpha=0.6)
        axis.plot([], color=colour, linewidth=3, label=label if lines else None)
    axis.set_xticks(range(len(settings) + 1), [*settings, metric], rotation=20, ha="right")
    axis.set(yticks=[], xlim=(-0.1, len(settings) + 0.4))
    axis.spines["left"].set_visible(False)
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    _show(figure, source)


def importance(shares, correlations, title, source):
    """How much each setting matters, and which way its values pull."""
    figure, axes = _figure(1, 2, size=(10, 5.2), title=title)
    shares = shares["importance"].sort_values()
    axes[0].barh(shares.index, shares, color=COLOURS[0])
    axes[0].set(title="importance", xlabel="share of what a random forest knows")
    values = correlations["correlation"]
    axes[1].barh(values.index, values, color=np.where(values > 0, COLOURS[0], COLOURS[1]))
    axes[1].set(title="correlation", xlabel="with validation accuracy")
    axes[1].tick_params(labelsize=9)
    _show(figure, source)
