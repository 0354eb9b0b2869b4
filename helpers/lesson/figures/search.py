"""Figures of a hyperparameter search: its trials, their hyperparameters, and which of these matter."""

import textwrap

import numpy as np
from matplotlib.ticker import MaxNLocator

from helpers.lesson.figures import style


def trial_history(results, title, source):
    """Plot the validation accuracy of each trial, in order of creation, and the best one so far."""
    states = {"complete": ("o", style.BLUE), "pruned": ("x", style.YELLOW), "failed": ("s", style.ORANGE)}
    ordered = results.sort_values("trial")
    best = ordered["val_accuracy"].cummax().ffill()
    low = min(0.85, best.max() - 0.02)
    alt = f"Scatter plots of the accuracy of each trial and the best so far: all trials, those of at least {low:.0%}"
    with style.figure(2, 1, size=(8, 6.4), title=title, alt=alt, source=source, sharex=True) as (fig, axes):
        for axis in axes:
            for state, (marker, colour) in states.items():
                rows = results[results["state"] == state].dropna(subset="val_accuracy")
                look = {"marker": marker, "markersize": 5, "linestyle": "", "color": colour, "alpha": 0.8}
                label = state.replace("pruned", "stopped early")
                if len(rows):
                    axis.plot(rows["trial"], rows["val_accuracy"], **look, label=f"{label} ({len(rows)})")
            axis.step(ordered["trial"], best, where="post", color=style.BLACK, linewidth=1.5, label="best so far")
            axis.set_ylabel("validation accuracy")
            style.percent(axis.yaxis)
        axes[0].set_title("all trials", loc="left")
        axes[1].set_title(f"trials of at least {low:.0%}", loc="left")
        axes[1].set(xlabel="trial, in order of creation", ylim=(low, best.max() + 0.08 * (best.max() - low)))
        style.legend_below(fig, axes[0], columns=4)


def parallel_coordinates(results, hyperparameters, title, source):
    """Plot each trial as a line through the values of these hyperparameters, from top to bottom, to its accuracy."""
    rows = results.dropna(subset="val_accuracy")
    accuracy, poor = rows["val_accuracy"], 0.65
    good = accuracy.quantile(0.75)
    names = [*map(style.words, hyperparameters), "validation accuracy"]
    alt = f"Parallel coordinates, one line per trial, from top to bottom: {style.sentence(names)}; highlighted: "
    alt += f"the best quarter, and trials below {poor:.0%}"
    rng, last = np.random.default_rng(0), len(hyperparameters)
    with style.figure(size=(8.5, 0.72 * len(names) + 1.6), title=title, alt=alt, source=source) as (fig, axis):
        places = []
        for y, name in enumerate(hyperparameters):
            numeric = rows[name].dtype.kind in "if"
            column = rows[name] if numeric else rows[name].map(str)  # lists, None
            values = sorted(column.unique())
            place = {value: (i + 0.5) / len(values) for i, value in enumerate(values)}
            places.append(column.map(place) + rng.normal(0, 0.012, len(rows)))  # jitter against overplotting
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
            for value in values:
                axis.text(place[value], y, style.decimal(value), ha="center", va="center", bbox=box, zorder=9)
        ticks = MaxNLocator(8).tick_values(accuracy.min(), accuracy.max())
        for value, x in zip(ticks, (ticks - ticks[0]) / (ticks[-1] - ticks[0]), strict=True):
            axis.text(x, last + 0.12, f"{100 * value:.4g}%", ha="center", va="top")
            axis.plot([x, x], [last, last + 0.1], color="black", linewidth=1)
        places = np.array([*places, (accuracy - ticks[0]) / (ticks[-1] - ticks[0])])
        for label, chosen, colour, width in (
            ("others", (accuracy >= poor) & (accuracy < good), "lightgrey", 0.8),
            (f"below {poor:.0%}", accuracy < poor, style.ORANGE, 1),
            (f"best quarter: at least {good:.1%}", accuracy >= good, style.BLUE, 1),
        ):
            drawn = axis.plot(places[:, chosen], range(last + 1), color=colour, linewidth=width, antialiased=False)
            axis.plot([], color=colour, linewidth=3, label=label if drawn else None)
        axis.set_yticks(range(last + 1), [textwrap.fill(name, 14) for name in names])
        axis.set(xticks=[], xlim=(-0.05, 1.02), ylim=(last + 0.45, -0.3))
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        style.legend_below(fig, axis)


def hyperparameter_importance(importances, correlations, title, source):
    """Plot the importance of each hyperparameter, and the correlation of its values with the validation accuracy.

    `importances` holds for each label a table with the column ``importance``, indexed by hyperparameter; the bars have
    the order of the first. `correlations` is a table with the column ``correlation``, for the last of the labels.
    """
    order = next(iter(importances.values()))["importance"].sort_values(ascending=False).index
    correlation = correlations["correlation"]
    alt = f"Bar charts: importance of {style.sentence(order)} ({style.sentence(importances)}), and correlations"
    height, width = max(5, 0.3 * len(correlation) + 1.8), 0.8 / len(importances)
    with style.figure(1, 2, size=(8.5, height), title=title, alt=alt, source=source) as (fig, axes):
        for i, (label, table, look) in enumerate(style.distinct(importances)):
            y = np.arange(len(order)) + width * (i - (len(importances) - 1) / 2)
            axes[0].barh(y, table["importance"].reindex(order), width, color=look["color"], label=label)
        axes[0].set_yticks(range(len(order)), map(style.words, order))
        axes[0].set(title="Importance", xlabel="permutation importance,\nsum 1", ylim=(len(order) - 0.4, -0.6))
        axes[1].barh(list(map(style.words, correlation.index)), correlation, color=look["color"])
        axes[1].set(title="Correlation", xlabel="correlation with the\nvalidation accuracy")
        axes[1].margins(y=0.01)
        for axis in axes:
            axis.tick_params(axis="y", labelsize=11)
            axis.grid(visible=False, axis="y")
        if len(importances) > 1:
            style.legend_below(fig, axes[0])
