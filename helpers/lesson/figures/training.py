"""Figures of trainings: losses and accuracies against the epoch, the step or a hyperparameter."""

import textwrap

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


def overfitting(curves, epochs, title, source):
    """Plot mean and range over the seeds of the loss and accuracy of training and validation, and mark some epochs.

    `curves` is a table of training histories, one row per seed and epoch, with the additional column ``seed``.
    """
    runs = style.seeds([curves["seed"].nunique()])
    alt = "Line plots of the loss and of the accuracy against the epoch, mean and range; curves: training, validation; "
    alt += f"vertical lines at the epochs {style.sentence(epochs)}"
    with style.figure(1, 2, size=(8.5, 4.4), title=title, alt=alt, source=source) as (fig, axes):
        for axis, metric in zip(axes, ("loss", "accuracy"), strict=True):
            for part, label in (("train", "training"), ("val", "validation")):
                values = curves.pivot_table(index="epoch", columns="seed", values=f"{part}_{metric}")
                style.mean_and_range(axis, values, f"{label}, mean and range of {runs}")
            for epoch in epochs:
                axis.axvline(epoch, color="grey", linestyle=":")
                axis.text(epoch, 1, epoch, transform=axis.get_xaxis_transform(), ha="center", va="bottom", fontsize=11)
            style.epoch_axes(axis, metric)
        style.legend_below(fig, axes[0], columns=1)


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
            error = np.array([mean - low, high - mean])
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


def ablation(differences, title, source):
    """Plot the effect of each change on the validation accuracy: mean, 95 % interval and single seeds.

    `differences` holds for each change the differences in percentage points, one for each seed.
    """
    from scipy import stats

    runs = style.seeds([len(points) for points in differences.values()])
    alt = f"Points with 95 % intervals of the difference in validation accuracy; rows: {style.sentence(differences)}"
    with style.figure(size=(7.5, 0.6 * len(differences) + 2.1), title=title, alt=alt, source=source) as (_, axis):
        for row, points in enumerate(differences.values()):
            n = len(points)
            half = stats.t.ppf(0.975, n - 1) * stats.sem(points) if n > 1 else None
            axis.errorbar(np.mean(points), row, xerr=half, fmt="o", markersize=9, capsize=4, color=style.BLUE)
            axis.plot(points, [row + 0.28] * n, "|", markersize=9, color="dimgrey")
        axis.set_yticks(range(len(differences)), [textwrap.fill(style.words(name), 24) for name in differences])
        axis.axvline(0, color="grey", linestyle=":")
        shown = f"mean, 95% interval (t, n = {runs}); ticks: single seeds"
        axis.set_xlabel(f"difference in validation accuracy, percentage points:\n{shown}")
        axis.set(ylim=(len(differences) - 0.4, -0.6))


def optimizer_path(paths, loss, title):
    """Plot the path of the last optimizer over a loss of two parameters, and the loss of all of them at each step.

    `paths` holds for each optimizer its points, shape (T, 2). ``loss(x, y)`` takes arrays; its minimum is at (0, 0).
    """
    x, y = np.meshgrid(np.linspace(-10, 5, 200), np.linspace(-3.6, 3.6, 120))
    *_, highlighted = paths
    alt = f"Contour lines of the loss with the path of {highlighted}; line plot of the loss at each step: "
    alt += style.sentence(paths)
    with style.figure(2, 1, size=(7.5, 6.4), title=title, alt=alt, height_ratios=(5, 4)) as (fig, axes):
        for name, path, look in style.distinct(paths):
            (line,) = axes[1].semilogy(loss(*path.T), **look, linewidth=1.5, alpha=0.5, label=name)
        line.set(linewidth=3, alpha=1)
        axes[1].set(xlabel="step", ylabel="loss", ylim=(1e-7, 30))
        style.legend_below(fig, axes[1], columns=2)
        contours = axes[0].contour(x, y, loss(x, y), levels=[0.1, 0.5, 2, 5, 10], colors="darkgrey", linewidths=1)
        axes[0].clabel(contours, levels=[0.5, 2, 5, 10], fontsize=style.SMALL, colors="dimgrey", fmt="%g")
        axes[0].plot(*path.T, marker=".", markersize=6, linewidth=1.5, **look)
        axes[0].plot(0, 0, "k+", markersize=12, markeredgewidth=2)
        axes[0].set(xlabel="flat direction", ylabel="steep direction")
        axes[0].grid(visible=False)
