"""Figures of trainings: losses and accuracies against the epoch, the step or a hyperparameter."""

import numpy as np
import pandas as pd
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from helpers.lesson.figures import style


def learning_curves(histories, title, column="val_accuracy"):
    """Plot one column of several training histories, ``{name: history or [history of each seed]}``.

    For several seeds mean and range are plotted, over the epochs that all of them have.
    """
    runs = {name: runs if isinstance(runs, list) else [runs] for name, runs in histories.items()}
    counts = [len(several) for several in runs.values() if len(several) > 1]
    source = next(iter(runs.values()))[0].attrs["data"]
    alt = f"Line plot of the {style.words(column)} against the epoch; curves: {style.sentence(runs)}"
    with style.figure(size=(7.5, 4.4), title=title, alt=alt, source=source) as (_, axis):
        for name, several, look in style.distinct(runs, marked=True):
            values = pd.concat([one.set_index("epoch")[column].astype(float) for one in several], axis=1)
            values = values.dropna() if len(several) > 1 else values
            stopped = " (stopped)" if any(one.attrs["interrupted"] for one in several) else ""
            every = max(1, len(values) // 15)
            style.mean_and_range(axis, values, style.words(name) + stopped, **look, markersize=6, markevery=every)
        style.epoch_axes(axis, column)
        style.legend(axis, f"mean and range\nof {style.seeds(counts)}" if counts else None)


def training_curves(history, title):
    """Plot the loss and the accuracy of training and validation, and mark the best epoch.

    The history, that of `model_train`, may be empty. From four epochs on, a first epoch whose values are far from the
    others is outside the axes.
    """
    best_epoch = history.attrs["best_epoch"]
    alt = "Line plots of the loss and of the accuracy against the epoch; curves: training, validation"
    alt += "" if best_epoch is None else f"; a vertical line marks the best epoch, {best_epoch}"
    with style.figure(1, 2, size=(8.5, 4.2), title=title, alt=alt, source=history.attrs["data"]) as (fig, axes):
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
            style.epoch_axes(axis, metric)
        style.legend_below(fig, axes[0])


def lines(curves, title, source, *, xlabel, ylabel):
    """Plot sequences of numbers, by their names, against their position, counted from 1."""
    alt = f"Line plot of {ylabel} against {xlabel}; curves: {style.sentence(curves)}"
    with style.figure(size=(7.5, 4.3), title=title, alt=alt, source=source) as (_, axis):
        for name, values, look in style.distinct(curves):
            axis.plot(range(1, len(values) + 1), values, **look, label=style.words(name))
        axis.set(xlabel=xlabel, ylabel=ylabel)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        style.legend(axis)


def accuracy_by(table, x, title, source, by=None):
    """Plot the validation accuracy against the positive hyperparameter `x`, for each value of `by`: mean and range.

    `table` has one row per run, and the columns `x`, `by`, ``seed`` and ``val_accuracy``. Runs that diverged, whose
    accuracy is NaN, are left out.
    """
    groups = dict(tuple(table.groupby(by, sort=False))) if by else {"": table}
    curves = f"; curves by {style.words(by)}: {style.sentence(groups)}" if by else ""
    alt = f"Line plot with error bars of the validation accuracy against the {style.words(x)}{curves}"
    with style.figure(size=(7.5, 4.4), title=title, alt=alt, source=source) as (_, axis):
        for name, rows, look in style.distinct(groups, marked=True):
            values = rows.dropna(subset="val_accuracy").groupby(x)["val_accuracy"].agg(["mean", "min", "max"])
            mean, low, high = values.to_numpy().T
            error = np.maximum([mean - low, high - mean], 0)  # the mean of equal values may be rounded
            axis.errorbar(values.index, mean, error, **look, markersize=7, capsize=4, label=style.words(name))
        axis.set_xscale("log")
        values = sorted(table[x].unique())
        if len(" ".join(map(style.decimal, values))) <= 40:
            axis.xaxis.set_major_locator(FixedLocator(values))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: style.decimal(float(value))))
        style.percent(axis.yaxis)
        runs = style.seeds([table["seed"].nunique()])
        axis.set(xlabel=style.words(x), ylabel=f"validation accuracy\n(mean and range of {runs})")
        if by:
            style.legend(axis, style.words(by))


def panels(curves, title, source, *, xlabel, columns=2, logarithmic=(), height=2.6):
    """Plot curves in several panels: ``{label of the y axis: {name: Series}}``, against the index of each Series.

    The y axes of the panels in `logarithmic` have a logarithmic scale. Panels whose curves have the same names share
    their colours.
    """
    names = dict.fromkeys(name for several in curves.values() for name in several)
    looks = {name: look for name, _, look in style.distinct(names)}
    rows = -(-len(curves) // columns)
    alt = f"Line plots against the {xlabel}: {style.sentence(curves)}; curves: {style.sentence(names)}"
    shape = {"rows": rows, "columns": columns, "squeeze": False, "sharex": True}
    with style.figure(**shape, size=(8.5, height * rows + 1), title=title, alt=alt, source=source) as (fig, axes):
        for axis in axes.flat[len(curves) :]:
            axis.set_axis_off()
        for axis, (label, several) in zip(axes.flat, curves.items(), strict=False):
            for name, values in several.items():
                axis.plot(values.index, values, **looks[name], linewidth=1.5, label=style.words(name))
            axis.set(ylabel=label, yscale="log" if label in logarithmic else "linear")
        for axis in axes[-1]:
            axis.set_xlabel(xlabel)
            axis.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 2.5, 5, 10]))
        handles = {line.get_label(): line for axis in axes.flat for line in axis.get_lines()}
        fig.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=3, columnspacing=1.4)


def optimizer_paths(paths, loss, title, columns=3):
    """Plot the path of each optimizer over a loss of two parameters, with the loss after its last step.

    `paths` holds for each optimizer its points, shape (T, 2). ``loss(x, y)`` takes arrays; its minimum is at (0, 0).
    """
    x, y = np.meshgrid(np.linspace(-10, 5, 200), np.linspace(-3.6, 3.6, 120))
    rows, columns = -(-len(paths) // columns), min(columns, len(paths))
    alt = f"Contour lines of the loss with the path of each optimizer: {style.sentence(paths)}"
    shape = {"rows": rows, "columns": columns, "squeeze": False, "sharex": True, "sharey": True}
    with style.figure(**shape, size=(8.5, 2.6 * rows + 1), title=title, alt=alt) as (fig, axes):
        for axis, (name, path, look) in zip(axes.flat, style.distinct(paths), strict=False):
            axis.contour(x, y, loss(x, y), levels=[0.1, 0.5, 2, 5, 10], colors="darkgrey", linewidths=1)
            axis.plot(*path.T, marker=".", markersize=5, linewidth=1.5, color=look["color"])
            axis.plot(0, 0, "k+", markersize=12, markeredgewidth=2)
            if len(paths) > 1:
                axis.set_title(f"{name}\nloss {loss(*path[-1]):.0e} after {len(path) - 1} steps", fontsize=style.SMALL)
            axis.grid(visible=False)
        fig.supxlabel("flat direction", fontsize=12)
        fig.supylabel("steep direction", fontsize=12)
