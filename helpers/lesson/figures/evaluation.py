"""Figures of predictions: which classes are confused."""

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
