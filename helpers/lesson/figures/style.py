"""The figures of the notebook, and the listing of a function. Each function shows its figure and returns nothing.

A figure is displayed as a PNG with an alternative text. The PNG has few colours, which makes it small, and 140 dots per
inch, which makes it sharp. Its text can be read on a phone, where a figure of 850 pixels is 390 pixels wide.

The colours are those of Okabe and Ito (2008), which are distinguishable with the common colour-vision deficiencies.
Titles are given by the caller, because they state the result. The name of the data set is in the lower right corner.
Matplotlib's global settings are not changed.
"""

import inspect
import io
import itertools
import textwrap
from contextlib import contextmanager

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patches import Ellipse, FancyBboxPatch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

DPI = 140  # of the PNG; the notebook shows it as if it had 100
PALETTE = 32  # colours of the PNG
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
LINE_STYLES = plt.cycler(linestyle=["-", "-.", ":", "--"])
CURVES = LINE_STYLES * plt.cycler(color=COLOURS)  # 28 different curves, the first seven with solid lines
MARKED_CURVES = LINE_STYLES * plt.cycler(color=COLOURS, marker="os^Dv*P")
SMALL = 10.5  # the smallest font
STYLE = {
    "axes.prop_cycle": plt.cycler(color=COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 13,
    "axes.labelsize": 13,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
    "figure.dpi": 100,
    "figure.titlesize": 14,
    "figure.titleweight": "bold",
    "font.size": 12,
    "legend.frameon": False,
    "lines.linewidth": 2,
}
WORDS = {  # parts of names whose words are not those between the underscores
    "cross_entropy": "cross-entropy",
    "mean_squared_error": "squared error",
    "num_layers": "hidden layers",
    "weight_init": "initialisation",
    "val_accuracy": "validation accuracy",
    "val_loss": "validation loss",
    "train_accuracy": "training accuracy",
    "train_loss": "training loss",
}


@contextmanager
def figure(rows=1, columns=1, *, size, title, alt, source=None, **subplots):
    """Create a figure in the style of the notebook; show and close it at the end of the block.

    Parameters
    ----------
    rows, columns : int, default=1
        Number of axes in each direction.
    size : tuple of float
        Width and height in inches.
    title : str
        The title of the figure, left-aligned. It is broken into lines.
    alt : str
        A description of the kind of plot and of what it contains, without a full stop. The alternative text of the
        figure is this text and the title.
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
            _title(fig, title)
            yield fig, axes
            if source:
                fig.supxlabel(source, x=0.995, ha="right", fontsize=SMALL, color="dimgrey")
            _show(fig, f"{alt}. {title}")
        finally:
            plt.close(fig)


def _title(fig, title):
    """Write the title of the figure, left-aligned, in lines of similar length that are not wider than the figure."""
    text, width = fig.suptitle(title, x=0.01, ha="left"), len(title)
    while text.get_window_extent().x1 > 0.99 * fig.bbox.width and width > 1:
        width -= 1
        text.set_text(textwrap.fill(title, width))
    while width > 1 and len(textwrap.wrap(title, width - 1)) == len(textwrap.wrap(title, width)):
        width -= 1
    text.set_text(textwrap.fill(title, max(width, 1)))


def _show(fig, alt):
    """Display the figure as a PNG, with its width in the notebook and the alternative text."""
    from IPython.display import display

    width = round(100 * fig.get_figwidth())
    output = {"image/png": _png(fig), "text/plain": alt}
    display(output, metadata={"image/png": {"width": width, "alt": alt}}, raw=True)


def _png(fig):
    """Return the figure as the bytes of a PNG with a palette."""
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    fig.savefig(drawn, format="png", dpi=DPI)
    image = Image.open(drawn).convert("RGB")
    # This method keeps the colours of thin lines, and one pass of k-means those of large areas.
    image = image.quantize(PALETTE, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    image.save(small, format="png", optimize=True)
    return small.getvalue()


def _words(name):
    """Return the words of a name: "cross_entropy" is "cross-entropy", and "batch_size" is "batch size"."""
    text = str(name)
    for part, words in WORDS.items():
        text = text.replace(part, words)
    return text.replace("_", " ")


def _decimal(value):
    """Return a number without an exponent, and anything else as a text."""
    return np.format_float_positional(value, 8, fractional=False, trim="-") if isinstance(value, float) else str(value)


def _percent(*axes):
    """Write the tick labels of the x or y axes in per cent, without needless decimals."""
    for axis in axes:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}%"))


def _sentence(names):
    """Return the names as one text, for an alternative text."""
    return ", ".join(str(name) for name in names)


def _seeds(counts):
    """Return a text such as "3 seeds" or "3 to 5 seeds" for the numbers of seeds of several curves."""
    return f"{min(counts)} seeds" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)} seeds"


def _legend(axis, title=None):
    """Draw the legend at the right of the axes, with long names in several lines."""
    handles, labels = axis.get_legend_handles_labels()
    labels = [textwrap.fill(label, 22) for label in labels]
    axis.legend(handles, labels, title=title, loc="center left", bbox_to_anchor=(1, 0.5), alignment="left")


def _legend_below(fig, axis, columns=3):
    """Draw the legend of the axes below all axes of the figure."""
    fig.legend(*axis.get_legend_handles_labels(), loc="outside lower left", ncols=columns, columnspacing=1.4)


def _image(axis, pixels, title="", colour="black"):
    axis.imshow(pixels.reshape(28, 28), cmap="Greys", vmin=0, vmax=1)
    axis.set_title(title, fontsize=12, color=colour)
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(True)
        spine.set_color("lightgrey")


def _image_table(axis, X, rows, columns):
    """Draw images, shape (len(rows), len(columns), 784), as one table with the names of its rows and columns."""
    tiles = np.pad(X.reshape(len(rows), len(columns), 28, 28), [(0, 0), (0, 0), (2, 2), (2, 2)])
    axis.imshow(np.concatenate(np.concatenate(tiles, axis=1), axis=1), cmap="Greys", vmin=0, vmax=1)
    axis.set_xticks(32 * np.arange(len(columns)) + 15.5, columns)
    axis.set_yticks(32 * np.arange(len(rows)) + 15.5, rows)
    axis.tick_params(length=0)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)


def _diagram(axis, x, y):
    """Prepare axes for a drawing without scales, with the given limits and equal scales."""
    axis.set(xlim=x, ylim=y, aspect="equal")
    axis.set_axis_off()


def _format_epochs(axis, column):
    """Label the axes of a curve over the epochs, for a column of a training history."""
    axis.set(xlabel="epoch", ylabel=_words(column))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    if "accuracy" in column:
        _percent(axis.yaxis)


def show_source(*functions):
    """Display the source code of the functions, as it is in their modules."""
    from IPython.display import Markdown, display

    listing = "\n\n".join(inspect.getsource(function).rstrip() for function in functions)
    # nbconvert's HTML takes the font of the surrounding element: without this one the listing would be proportional.
    display(Markdown(f'<div style="font-family: monospace">\n\n```python\n{listing}\n```\n\n</div>'))


def class_examples(data, count=8):
    """Plot training images of each of the ten classes.

    Parameters
    ----------
    data : Dataset
        The data.
    count : int, default=8
        The number of images of each class, the first ones of the training set.
    """
    labels = data.y_train.argmax(axis=1)
    X = np.array([data.x_train[np.flatnonzero(labels == label)[:count]] for label in range(len(data.class_names))])
    title = f"{data.name}: {count} training images of each class"
    alt = f"Images in ten rows, one row for each class: {_sentence(data.class_names)}"
    with figure(size=(8.2, 8.6), title=title, alt=alt) as (_, axis):
        _image_table(axis, X, data.class_names, [""] * count)


def network_diagram(sizes, title):
    """Draw a feed-forward network: its layers as columns of units, with the names and shapes of all arrays.

    Parameters
    ----------
    sizes : sequence of int
        The number of inputs, of the units of each hidden layer, and of the classes.
    title : str
        The title of the figure.
    """
    last = len(sizes) - 1
    alt = f"Diagram of a feed-forward network: layers of {_sentence(sizes)} units, fully connected, from left to right"
    gap = 8.5 / (last + 0.75)  # inches between columns
    height = 0.55 * max(min(size, 3 + int(np.log2(size)) // 2) for size in sizes)
    with figure(size=(8.5, height + 2.4), title=title, alt=alt) as (_, axis):
        _diagram(axis, (-0.38 * gap, (last + 0.38) * gap), (-height / 2 - 0.75, height / 2 + 1.2))
        columns = []
        for size in sizes:
            shown = min(size, 3 + int(np.log2(size)) // 2)
            columns.append(0.55 * (np.arange(shown) - (shown - 1) / 2))
        for k, (size, column) in enumerate(zip(sizes, columns, strict=True)):
            x, middle = k * gap, len(column) // 2
            hidden = len(column) < size  # then the middle unit stands for the others
            name = f"H_{k}" + (" = X" if k == 0 else r" = \hat{Y}" if k == last else "")
            axis.text(x, -height / 2 - 0.2, f"${name}$\n($N$, {size})", ha="center", va="top", linespacing=1.4)
            for i, y in enumerate(column):
                if hidden and i == middle:
                    axis.text(x, y, "⋮", ha="center", va="center", fontsize=16)
                    continue
                colour = COLOURS[4] if k == 0 else COLOURS[2] if k == last else COLOURS[5]
                axis.add_patch(Ellipse((x, y), 0.38, 0.38, facecolor=colour, edgecolor="black", zorder=3))
                for j, above in enumerate(columns[k - 1] if k else []):
                    if not (len(columns[k - 1]) < sizes[k - 1] and j == len(columns[k - 1]) // 2):
                        axis.plot(
                            [x - gap, x], [above, y], color="lightgrey", linewidth=0.8, antialiased=False, zorder=1
                        )
            if k:
                shapes = f"$W_{k}$ ({sizes[k - 1]}, {size})\n$b_{k}$ ({size},)\n{'softmax' if k == last else '$f$'}"
                axis.text(x - gap / 2, height / 2 + 0.15, shapes, ha="center", va="bottom", linespacing=1.4)


def layer_graph(title):
    """Draw the computational graph of one layer: forward propagation above, backward propagation below.

    Parameters
    ----------
    title : str
        The title of the figure.
    """
    alt = (
        "Graph of one layer. Forward, from left to right: H of the layer before, times W plus b, gives A; f gives H. "
        "Backward, from right to left: dH, times the derivative of f, gives dA; times W transposed it gives dH of the "
        "layer before; dA also gives dW and db"
    )
    forward, backward = COLOURS[0], COLOURS[1]
    with figure(size=(8.5, 5), title=title, alt=alt) as (_, axis):
        _diagram(axis, (-0.75, 7.75), (-2.35, 2.0))

        def box(x, y, text, colour, width=1.3, height=0.72, fill="white"):
            style = {"boxstyle": "round,pad=0.02,rounding_size=0.12", "facecolor": fill, "edgecolor": colour}
            axis.add_patch(FancyBboxPatch(
                (x - width / 2, y - height / 2), width, height, linewidth=2, **style,
            ))  # fmt: skip
            axis.text(x, y, text, ha="center", va="center", fontsize=15)

        def arrow(start, end, colour, text=""):
            axis.annotate("", end, start, arrowprops={"arrowstyle": "-|>,head_width=0.3", "color": colour, "lw": 2})
            x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
            axis.text(x, y + 0.12, text, ha="center", va="bottom", fontsize=14, color=colour)

        for x, name in zip((0, 3.5, 7), ("H_{k-1}", "A_k", "H_k"), strict=True):
            box(x, 1.2, f"${name}$", forward)
            box(x, -0.35, "$dH_{k-1}$" if x == 0 else f"$d{name}$", backward)
        arrow((0.7, 1.2), (2.8, 1.2), forward, "$\\times\\, W_k + b_k$")
        arrow((4.2, 1.2), (6.3, 1.2), forward, "$f$")
        arrow((6.3, -0.35), (4.2, -0.35), backward, r"$\circ\, f\,'(A_k)$")
        arrow((2.8, -0.35), (0.7, -0.35), backward, r"$\times\, W_k^\top$")
        arrow((3.2, -0.75), (1.9, -1.55), backward)
        arrow((3.8, -0.75), (5.1, -1.55), backward)
        box(1.65, -1.95, r"$dW_k = H_{k-1}^\top\, dA_k$", backward, width=3.0)
        box(5.35, -1.95, r"$db_k = \sum_n dA_k$", backward, width=3.0)
        axis.text(-0.65, 1.75, "forward", color=forward, va="bottom", fontsize=14)
        axis.text(-0.65, 0.2, "backward", color=backward, va="bottom", fontsize=14)


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
    alt = f"Line plots of activation functions and of their derivatives from −5 to 5: {_sentence(activations)}"
    with figure(1, 2, size=(8, 4), title=title, alt=alt) as (_, axes):
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
    names = _sentence(map(_words, losses))
    alt = (
        f"Line plots, for two classes, of losses and their gradients against the probability of the true class: {names}"
    )
    with figure(1, 2, size=(8, 4), title=title, alt=alt) as (_, axes):
        for (name, (loss, d_loss)), style in zip(losses.items(), itertools.cycle(CURVES)):
            axes[0].plot(Y_hat[:, 0], [loss(row[None], Y) for row in Y_hat], **style, label=_words(name))
            gradient = [abs(d_loss(row[None], Y)[0, 0]) for row in Y_hat]
            axes[1].plot(Y_hat[:, 0], gradient, **style, label=_words(name))
        axes[0].set(title="loss, two classes", ylabel="loss", ylim=(0, 5))
        axes[1].set(title="size of the gradient, two classes", ylabel="|dL/da|")
        for axis in axes:
            axis.set_xlabel("predicted probability\nof the true class")
        axes[0].legend()


def layer_scales(activations, gradients, title, source):
    """Plot the scale of the activations and of the gradients in each hidden layer.

    Parameters
    ----------
    activations, gradients : dict of str to dict of str to list of float
        For each activation function, and for each initialisation scheme, one value per hidden layer: the standard
        deviation of the activations, and the norm of the gradient dW.
    title, source : str
        The title of the figure, and the name of the data set.
    """
    schemes = dict.fromkeys(scheme for column in activations.values() for scheme in column)
    alt = (
        "Line plots against the hidden layer, with a logarithmic scale: the standard deviation of the activations "
        f"above, the norm of the gradient below; columns: {_sentence(activations)}; curves: {_sentence(schemes)}"
    )
    styles = dict(zip(schemes, itertools.cycle(MARKED_CURVES)))
    shape = {"rows": 2, "columns": len(activations), "sharex": True, "sharey": "row", "squeeze": False}
    with figure(**shape, size=(8.5, 5.6), title=title, alt=alt, source=source) as (fig, axes):
        for row, quantity in zip(axes, (activations, gradients), strict=True):
            for axis, name in zip(row, activations, strict=True):
                for scheme, values in quantity[name].items():
                    axis.semilogy(range(1, len(values) + 1), values, **styles[scheme], markersize=5, label=scheme)
        for axis, name in zip(axes[0], activations, strict=True):
            axis.set_title(name)
        for axis in axes[1]:
            axis.set_xlabel("hidden layer")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes[0, 0].set_ylabel("standard deviation\nof the activations")
        axes[1, 0].set_ylabel("norm of dW")
        _legend_below(fig, axes[0, 0], columns=4)


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
    *_, highlighted = paths
    alt = (
        f"Above, contour lines of the loss with the path of {highlighted}. Below, a line plot of the loss at each step "
        f"for {_sentence(paths)}"
    )
    with figure(2, 1, size=(7.5, 6.4), title=title, alt=alt, height_ratios=(5, 4)) as (fig, axes):
        for (name, path), style in zip(paths.items(), itertools.cycle(CURVES)):
            (line,) = axes[1].semilogy(loss(*path.T), **style, linewidth=1.5, alpha=0.5, label=name)
        line.set(linewidth=3, alpha=1)
        axes[1].set(xlabel="step", ylabel="loss", ylim=(1e-7, 30))
        _legend_below(fig, axes[1], columns=2)
        contours = axes[0].contour(x, y, loss(x, y), levels=[0.1, 0.5, 2, 5, 10], colors="darkgrey", linewidths=1)
        axes[0].clabel(contours, levels=[0.5, 2, 5, 10], fontsize=SMALL, colors="dimgrey", fmt="%g")
        axes[0].plot(*path.T, marker=".", markersize=6, linewidth=1.5, **style)
        axes[0].plot(0, 0, "k+", markersize=12, markeredgewidth=2)
        axes[0].set(xlabel="flat direction", ylabel="steep direction")
        axes[0].grid(visible=False)


def learning_curves(histories, title, column="val_accuracy"):
    """Plot one column of several training histories.

    Parameters
    ----------
    histories : dict of str to (pandas.DataFrame or list of pandas.DataFrame)
        Histories that `model_train` returned, by the name for the legend. Of a list, the histories of several seeds,
        the mean and the range are plotted, over the epochs that all of them have.
    title : str
        The title of the figure.
    column : str, default="val_accuracy"
        The column to plot.
    """
    runs = {name: runs if isinstance(runs, list) else [runs] for name, runs in histories.items()}
    counts = [len(several) for several in runs.values() if len(several) > 1]
    shown = f"mean and range\nof {_seeds(counts)}" if counts else None
    source = next(iter(runs.values()))[0].attrs["data"]
    alt = f"Line plot of the {_words(column)} against the epoch; curves: {_sentence(map(_words, runs))}"
    with figure(size=(7.5, 4.4), title=title, alt=alt, source=source) as (_, axis):
        for (name, several), style in zip(runs.items(), itertools.cycle(MARKED_CURVES)):
            values = pd.concat([one.set_index("epoch")[column].astype(float) for one in several], axis=1)
            values = values.dropna() if len(several) > 1 else values
            stopped = " (stopped)" if any(one.attrs["interrupted"] for one in several) else ""
            every = max(1, len(values) // 15)
            axis.plot(
                values.index, values.mean(axis=1), **style, markersize=6, markevery=every, label=_words(name) + stopped
            )
            if len(several) > 1:
                low, high = values.min(axis=1), values.max(axis=1)
                axis.fill_between(values.index, low, high, color=style["color"], alpha=0.2, linewidth=0)
        _format_epochs(axis, column)
        _legend(axis, shown)


def accuracy_by(table, x, title, source, by=None):
    """Plot the validation accuracy against a hyperparameter: mean and range over the seeds.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per run with the columns `x`, `by`, ``seed`` and ``val_accuracy``. Runs that diverged, whose accuracy
        is NaN, are left out.
    x : str
        The hyperparameter of the x axis, a positive number; the axis is logarithmic.
    title, source : str
        The title of the figure, and the name of the data set.
    by : str, optional
        The hyperparameter that the curves differ in.
    """
    groups = dict(tuple(table.groupby(by, sort=False))) if by else {"": table}
    curves = f"; curves by {_words(by)}: {_sentence(groups)}" if by else ""
    alt = f"Line plot with error bars of the validation accuracy against the {_words(x)}{curves}"
    seeds = _seeds([table["seed"].nunique()])
    with figure(size=(7.5, 4.4), title=title, alt=alt, source=source) as (_, axis):
        for (name, rows), style in zip(groups.items(), itertools.cycle(MARKED_CURVES)):
            values = rows.dropna(subset="val_accuracy").groupby(x)["val_accuracy"].agg(["mean", "min", "max"])
            mean, low, high = (values[column].to_numpy() for column in ("mean", "min", "max"))
            error = np.array([mean - low, high - mean])
            axis.errorbar(values.index, mean, error, **style, markersize=7, capsize=4, label=_words(name))
        axis.set_xscale("log")
        values = sorted(table[x].unique())
        if len(" ".join(map(_decimal, values))) <= 40:
            axis.xaxis.set_major_locator(FixedLocator(values))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _decimal(float(value))))
        _percent(axis.yaxis)
        axis.set(xlabel=_words(x), ylabel=f"validation accuracy\n(mean and range of {seeds})")
        if by:
            _legend(axis, _words(by))


def training_curves(history, title):
    """Plot the loss and the accuracy of training and validation, and mark the best epoch.

    From four epochs on, a first epoch whose values are far from the others is outside the axes.

    Parameters
    ----------
    history : pandas.DataFrame
        The history that `model_train` returned. It may be empty.
    title : str
        The title of the figure.
    """
    best_epoch = history.attrs["best_epoch"]
    alt = "Line plots of the loss and of the accuracy against the epoch; curves: training, validation"
    alt += "" if best_epoch is None else f"; a vertical line marks the best epoch, {best_epoch}"
    with figure(1, 2, size=(8.5, 4.2), title=title, alt=alt, source=history.attrs["data"]) as (fig, axes):
        for axis, metric in zip(axes, ("loss", "accuracy"), strict=True):
            values = history[[f"train_{metric}", f"val_{metric}"]].to_numpy(float)
            axis.plot(history["epoch"], values[:, 0], "o-", markersize=5, label="training, mean during the epoch")
            axis.plot(history["epoch"], values[:, 1], "s-", markersize=5, label="validation")
            if best_epoch is not None:
                axis.axvline(best_epoch, color="grey", linestyle=":", label="best epoch")
            if len(history) >= 4:
                low, high = np.nanmin(values[1:]), np.nanmax(values[1:])
                span = high - low
                if np.nanmin(values[0]) < low - span / 2 or np.nanmax(values[0]) > high + span / 2:
                    axis.set_ylim(low - 0.06 * span, high + 0.06 * span)
            _format_epochs(axis, metric)
        _legend_below(fig, axes[0])


def lines(curves, title, source, *, xlabel, ylabel):
    """Plot sequences of numbers against their position, counted from 1.

    Parameters
    ----------
    curves : dict of str to sequence of float
        The sequences, by the name for the legend.
    title, source : str
        The title of the figure, and the name of the data set.
    xlabel, ylabel : str
        The labels of the axes.
    """
    alt = f"Line plot of {ylabel} against {xlabel}; curves: {_sentence(map(_words, curves))}"
    with figure(size=(7.5, 4.3), title=title, alt=alt, source=source) as (_, axis):
        for (name, values), style in zip(curves.items(), itertools.cycle(CURVES)):
            axis.plot(range(1, len(values) + 1), values, **style, label=_words(name))
        axis.set(xlabel=xlabel, ylabel=ylabel)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend(axis)


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
    alt = f"Confusion matrix in per cent of each true class, true classes in rows: {_sentence(class_names)}"
    with figure(size=(7.6, 7.4), title=title, alt=alt, source=source) as (_, axis):
        axis.imshow(np.ma.masked_where(~correct, share), cmap="Blues", vmin=0, vmax=1.3)
        axis.imshow(np.ma.masked_where(correct, share), cmap="Oranges", vmin=0, vmax=0.25)
        for i, j in np.ndindex(*matrix.shape):
            if matrix[i, j]:
                text = f"{share[i, j]:.0%}" if round(100 * share[i, j]) else "·"
                axis.text(j, i, text, ha="center", va="center", color="white" if share[i, j] > 0.6 else "black")
        axis.set_xticks(range(len(matrix)), class_names, rotation=40, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(len(matrix)), class_names)
        axis.set(xlabel="predicted class     ( · : less than 0.5%, empty: none)", ylabel="true class")
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
    """Plot images, four per row, each with a text above and one below.

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
    rows = max(1, -(-len(X) // 4))
    texts = "; ".join(" ".join(f"{over}, {under}".split()) for over, under in zip(above, below, strict=True))
    alt = f"{len(X)} images, each with a text above and one below: {texts}"
    with figure(rows, 4, size=(7.5, 2.3 * rows + 0.6), title=title, alt=alt, source=source) as (fig, axes):
        fig.get_layout_engine().set(h_pad=0.08, hspace=0.1)
        for axis in axes.flat[len(X) :]:
            axis.set_axis_off()
        for axis, pixels, over, under in zip(axes.flat[: len(X)], X, above, below, strict=True):
            _image(axis, pixels, over, colour)
            axis.set_xlabel(under, fontsize=12)


def augmented_images(rows, title, source):
    """Plot the same images in several versions, one version per row.

    Parameters
    ----------
    rows : dict of str to ndarray, shape (N, 784)
        The name of each version, and its images.
    title, source : str
        The title of the figure, and the name of the data set.
    """
    X = np.stack([*rows.values()])
    alt = f"Table of images: {X.shape[1]} images in columns, their versions in rows: {_sentence(rows)}"
    with figure(size=(8.5, 8.5 * len(X) / X.shape[1] + 0.7), title=title, alt=alt, source=source) as (_, axis):
        _image_table(axis, X, [*rows], [""] * X.shape[1])
        axis.set_xticks(32 * np.arange(1, X.shape[1]) - 0.5, [])
        axis.set_yticks(32 * np.arange(1, len(X)) - 0.5, [], minor=True)
        axis.tick_params(which="minor", length=0)
        axis.grid(visible=True, which="both")


def prediction(x, y_hat, class_names, title, source):
    """Plot an image and the predicted probability of each class.

    Parameters
    ----------
    x : ndarray, shape (784,)
        The image.
    y_hat : ndarray, shape (C,)
        The predicted probabilities.
    class_names : sequence of str
        The C names.
    title, source : str
        The title of the figure, and the name of the data set.
    """
    alt = f"An image, and bars of the predicted probability of each class: {_sentence(class_names)}"
    with figure(1, 2, size=(7.2, 3.4), title=title, alt=alt, source=source) as (_, axes):
        _image(axes[0], x)
        axes[1].barh(class_names, y_hat, color=COLOURS[0])
        axes[1].invert_yaxis()
        axes[1].set(xlabel="predicted probability", xlim=(0, 1))
        _percent(axes[1].xaxis)


def reliability_diagram(tables, title, source):
    """Plot the accuracy against the confidence with 95 % Wilson intervals, and below it the fraction of images.

    Parameters
    ----------
    tables : dict of str to pandas.DataFrame
        Tables that `helpers.nn.metrics.calibration` returned, one diagram for each.
    title, source : str
        The title of the figure, and the name of the data set.
    """
    alt = (
        "Reliability diagrams: accuracy against confidence with 95 % intervals, and a histogram of the confidence, for "
        + _sentence(tables)
    )
    shape = {"rows": 2, "columns": len(tables), "squeeze": False, "height_ratios": (3, 1)}
    size = (min(8.5, 4 * len(tables) + 1), 5.6)
    with figure(**shape, size=size, title=title, alt=alt, source=source, sharex=True, sharey="row") as (fig, axes):
        for (above, below), (name, table) in zip(axes.T, tables.items(), strict=True):
            low, high = _wilson_interval(table["accuracy"], table["images"])
            error = np.maximum(0, [table["accuracy"] - low, high - table["accuracy"]])  # rounding: high < 1 is possible
            above.plot([0, 1], [0, 1], color="grey", linestyle=":", label="perfectly calibrated")
            label = "accuracy with its 95% interval (Wilson)"
            above.errorbar(
                table["probability"], table["accuracy"], error, fmt="o", color=COLOURS[0], capsize=3, label=label
            )
            above.set(title=name, xlim=(0, 1.03), ylim=(0, 1.05), xticks=[0.2, 0.4, 0.6, 0.8, 1])
            below.bar(table["probability"], table["images"] / table["images"].sum(), 0.04, color=COLOURS[0])
            below.set_xlabel("confidence")
            _percent(above.yaxis, below.xaxis, below.yaxis)
        axes[0, 0].set_ylabel("accuracy")
        axes[1, 0].set_ylabel("fraction\nof images")
        _legend_below(fig, axes[0, 0])


def _wilson_interval(fraction, n):
    """Return the lower and upper end of the 95 % Wilson interval of an observed fraction of n images."""
    z = 1.959964
    centre = (fraction + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(fraction * (1 - fraction) / n + z**2 / (4 * n**2))
    return centre - half, centre + half


def ablation(differences, title, source):
    """Plot the effect of each change on the validation accuracy: mean, 95 % interval and single seeds.

    Parameters
    ----------
    differences : dict of str to list of float
        For each change the differences in percentage points, one for each seed.
    title, source : str
        The title of the figure, and the name of the data set.
    """
    from scipy import stats

    seeds = _seeds([len(points) for points in differences.values()])
    alt = f"Points with 95 % intervals of the difference in validation accuracy; rows: {_sentence(differences)}"
    with figure(size=(7.5, 0.6 * len(differences) + 2.1), title=title, alt=alt, source=source) as (_, axis):
        for row, points in enumerate(differences.values()):
            n = len(points)
            half = stats.t.ppf(0.975, n - 1) * np.std(points, ddof=1) / np.sqrt(n) if n > 1 else None
            axis.errorbar(np.mean(points), row, xerr=half, fmt="o", markersize=9, capsize=4, color=COLOURS[0])
            axis.plot(points, [row + 0.28] * n, "|", markersize=9, color="dimgrey")
        axis.set_yticks(range(len(differences)), [textwrap.fill(_words(name), 24) for name in differences])
        axis.axvline(0, color="grey", linestyle=":")
        axis.set_xlabel(
            "difference in validation accuracy, percentage points:\n"
            f"mean, 95% interval (t, n = {seeds}); ticks: single seeds"
        )
        axis.set(ylim=(len(differences) - 0.4, -0.6))


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
    seeds = _seeds([curves["seed"].nunique()])
    alt = (
        "Line plots of the loss and of the accuracy against the epoch, mean and range over the seeds; curves: "
        f"training, validation; vertical lines at the epochs {_sentence(epochs)}"
    )
    with figure(1, 2, size=(8.5, 4.4), title=title, alt=alt, source=source) as (fig, axes):
        for axis, metric in zip(axes, ("loss", "accuracy"), strict=True):
            for part, label in (("train", "training"), ("val", "validation")):
                values = curves.pivot_table(index="epoch", columns="seed", values=f"{part}_{metric}")
                label = f"{label}, mean and range of {seeds}"
                (line,) = axis.plot(values.index, values.mean(axis=1), label=label)
                low, high, colour = values.min(axis=1), values.max(axis=1), line.get_color()
                axis.fill_between(values.index, low, high, color=colour, alpha=0.25, linewidth=0)
            for epoch in epochs:
                axis.axvline(epoch, color="grey", linestyle=":")
                axis.text(epoch, 1, epoch, transform=axis.get_xaxis_transform(), ha="center", va="bottom", fontsize=11)
            _format_epochs(axis, metric)
        _legend_below(fig, axes[0], columns=1)


def first_layer_weights(W, title, source, count=24, label="change of the weight"):
    """Plot the incoming weights of units of the first layer as images: positive in purple, negative in orange.

    Parameters
    ----------
    W : ndarray, shape (784, units)
        Weights, or their changes. The columns of largest norm are plotted.
    title, source : str
        The title of the figure, and the text in its lower right corner.
    count : int, default=24
        The number of units.
    label : str
        The label of the colour bar.
    """
    largest = np.argsort(-np.linalg.norm(W, axis=0))[:count]
    limit = np.quantile(abs(W[:, largest]), 0.998)
    columns = -(-len(largest) // 4)
    chosen = f"the {len(largest)} units with the largest norm of {W.shape[1]:,}"
    alt = f"Images of the incoming weights of {chosen}, positive in purple, negative in orange: {label}"
    with figure(4, columns, size=(7.5, 5), title=title, alt=alt, source=source, squeeze=False) as (fig, axes):
        for axis in axes.flat:
            axis.set_axis_off()
        for axis, unit in zip(axes.flat[: len(largest)], largest, strict=True):
            image = axis.imshow(W[:, unit].reshape(28, 28), cmap="PuOr", vmin=-limit, vmax=limit)
        fig.colorbar(image, ax=axes, shrink=0.9, label=f"{label}\n{chosen}")


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
    ordered = results.sort_values("trial")
    best = ordered[metric].cummax().ffill()
    low = min(0.85, best.max() - 0.02)
    alt = (
        f"Two scatter plots of the {_words(metric)} of each trial, in order of creation, with a line for the best so "
        f"far: all trials above, those of at least {low:.0%} below"
    )
    with figure(2, 1, size=(8, 6.4), title=title, alt=alt, source=source, sharex=True) as (fig, axes):
        for axis in axes:
            for state, (marker, colour) in states.items():
                rows = results[results["state"] == state].dropna(subset=metric)
                if len(rows):
                    label = f"{state} ({len(rows)})"
                    axis.plot(rows["trial"], rows[metric], marker, markersize=5, color=colour, alpha=0.8, label=label)
            axis.step(ordered["trial"], best, where="post", color=COLOURS[6], linewidth=1.5, label="best so far")
            axis.set_ylabel(_words(metric))
            _percent(axis.yaxis)
        axes[0].set_title("all trials", loc="left")
        axes[1].set_title(f"trials of at least {low:.0%}", loc="left")
        axes[1].set(xlabel="trial, in order of creation", ylim=(low, best.max() + 0.08 * (best.max() - low)))
        _legend_below(fig, axes[0], columns=4)


def parallel_coordinates(results, hyperparameters, title, source, metric="val_accuracy", poor=0.65):
    """Plot each trial of a search as a line through its hyperparameters, from top to bottom, to its accuracy.

    Parameters
    ----------
    results : pandas.DataFrame
        The trials, as `helpers.search.search` returns them.
    hyperparameters : sequence of str
        The columns for the axes, from top to bottom.
    title, source : str
        The title of the figure, and the name of the data set.
    metric : str, default="val_accuracy"
        The column for the last axis, an accuracy.
    poor : float, default=0.65
        Trials below this value are highlighted, as are those of the best quarter.
    """
    rows = results.dropna(subset=metric)
    rng = np.random.default_rng(0)
    names = [*map(_words, hyperparameters), _words(metric)]
    good = rows[metric].quantile(0.75)
    alt = (
        f"Parallel coordinates, one line per trial, from top to bottom: {_sentence(names)}; highlighted: the best "
        f"quarter, and trials below {poor:.0%}"
    )
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    with figure(size=(8.5, 0.72 * len(names) + 1.6), title=title, alt=alt, source=source) as (fig, axis):
        places = []
        for y, name in enumerate(hyperparameters):
            values = sorted(rows[name].unique())
            place = {value: (i + 0.5) / len(values) for i, value in enumerate(values)}
            places.append(rows[name].map(place) + rng.normal(0, 0.012, len(rows)))  # jitter against overplotting
            for value in values:
                axis.text(place[value], y, _decimal(value), ha="center", va="center", bbox=box, zorder=9)
        ticks = MaxNLocator(8).tick_values(rows[metric].min(), rows[metric].max())
        low, high, last = ticks[0], ticks[-1], len(hyperparameters)
        places.append((rows[metric] - low) / (high - low))
        for value in ticks:
            x = (value - low) / (high - low)
            axis.text(x, last + 0.12, f"{100 * value:.4g}%", ha="center", va="top")
            axis.plot([x, x], [last, last + 0.1], color="black", linewidth=1)
        groups = {
            "others": ((rows[metric] >= poor) & (rows[metric] < good), "lightgrey", 0.8),
            f"below {poor:.0%}": (rows[metric] < poor, COLOURS[1], 1),
            f"best quarter: at least {good:.1%}": (rows[metric] >= good, COLOURS[0], 1),
        }
        for label, (chosen, colour, width) in groups.items():
            curves = np.array(places)[:, chosen.to_numpy()]
            drawn = axis.plot(curves, range(last + 1), color=colour, linewidth=width, antialiased=False)
            axis.plot([], color=colour, linewidth=3, label=label if drawn else None)
        axis.set_yticks(range(last + 1), [textwrap.fill(name, 14) for name in names])
        axis.set(xticks=[], xlim=(-0.05, 1.02), ylim=(last + 0.45, -0.3))
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        _legend_below(fig, axis)


def hyperparameter_importance(importances, correlations, title, source):
    """Plot the importance of each hyperparameter, and the correlation of its values with the validation accuracy.

    Parameters
    ----------
    importances : dict of str to pandas.DataFrame
        For each label the column ``importance``, and optionally its standard deviation ``std``, indexed by
        hyperparameter. They are plotted as grouped bars, in the order of the first one.
    correlations : pandas.DataFrame
        The column ``correlation``, indexed by hyperparameter, or by hyperparameter and value.
    title, source : str
        The title of the figure, and the name of the data set.
    """
    order = next(iter(importances.values()))["importance"].sort_values(ascending=False).index
    correlation = correlations["correlation"]
    alt = (
        f"Bar charts: the importance of {_sentence(map(_words, order))} ({_sentence(importances)}), and correlations "
        "with the validation accuracy"
    )
    height = max(5, 0.3 * len(correlation) + 1.8)
    with figure(1, 2, size=(8.5, height), title=title, alt=alt, source=source) as (fig, axes):
        width = 0.8 / len(importances)
        for i, ((label, table), colour) in enumerate(zip(importances.items(), itertools.cycle(COLOURS))):
            table = table.reindex(order)
            y = np.arange(len(order)) + width * (i - (len(importances) - 1) / 2)
            error = {"xerr": table["std"], "error_kw": {"capsize": 2}} if "std" in table else {}
            axes[0].barh(y, table["importance"], width, color=colour, label=label, **error)
        axes[0].set_yticks(range(len(order)), map(_words, order))
        axes[0].set(title="Importance", xlabel="normalised permutation\nimportance", ylim=(len(order) - 0.4, -0.6))
        colours = np.where(correlation > 0, COLOURS[0], COLOURS[1])
        axes[1].barh(list(map(_words, correlation.index)), correlation, color=colours)
        axes[1].set(title="Correlation", xlabel="correlation with the\nvalidation accuracy")
        axes[1].margins(y=0.01)
        for axis in axes:
            axis.tick_params(axis="y", labelsize=11)
            axis.grid(visible=False, axis="y")
        if len(importances) > 1:
            _legend_below(fig, axes[0])
