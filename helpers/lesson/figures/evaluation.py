"""Figures of predictions: which classes are confused, and what a predicted probability means."""

import numpy as np

from helpers.lesson.figures import style


def confusion_matrix(matrix, class_names, title, source):
    """Plot a confusion matrix in per cent of each true class: correct predictions in blue, errors in orange.

    Row i, column j of `matrix`, shape (C, C), is the number of images of class i that were predicted as class j.
    """
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    correct = np.eye(len(matrix), dtype=bool)
    alt = f"Confusion matrix in per cent of each true class, true classes in rows: {style.sentence(class_names)}"
    with style.figure(size=(7.6, 7.4), title=title, alt=alt, source=source) as (_, axis):
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


def reliability_diagram(tables, title, source):
    """Plot tables of `calibration`: accuracy against confidence with 95 % intervals, and the fraction of images."""
    from scipy import stats  # slow to import

    names = style.sentence(tables)
    alt = f"Reliability diagrams: accuracy against confidence, and a histogram of the confidence, for {names}"
    shape = {"rows": 2, "columns": len(tables), "squeeze": False, "sharex": True, "sharey": "row"}
    shape |= {"size": (min(8.5, 4 * len(tables) + 1), 5.6), "height_ratios": (3, 1)}
    with style.figure(**shape, title=title, alt=alt, source=source) as (fig, axes):
        for (above, below), (name, table) in zip(axes.T, tables.items(), strict=True):
            x, y, n = table["probability"], table["accuracy"], table["images"]
            tests = [stats.binomtest(round(part * m), m) for part, m in zip(y, n, strict=True)]
            error = abs(np.transpose([test.proportion_ci(method="wilson") for test in tests]) - y.to_numpy())
            above.plot([0, 1], [0, 1], color="grey", linestyle=":", label="perfectly calibrated")
            label = "accuracy with its 95% interval (Wilson)"
            above.errorbar(x, y, error, fmt="o", color=style.BLUE, capsize=3, label=label)
            above.set(title=name, xlim=(0, 1.03), ylim=(0, 1.05), xticks=[0.2, 0.4, 0.6, 0.8, 1])
            below.bar(x, n / n.sum(), 0.04, color=style.BLUE)
            below.set_xlabel("confidence")
            style.percent(above.yaxis, below.xaxis, below.yaxis)
        axes[0, 0].set_ylabel("accuracy")
        axes[1, 0].set_ylabel("fraction\nof images")
        style.legend_below(fig, axes[0, 0])
