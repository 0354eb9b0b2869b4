"""Figures of images: of the data, of predictions, and of weights."""

import numpy as np

from helpers.lesson.figures import style


def class_examples(data, count=8):
    """Plot the first `count` training images of each class of a `Dataset`."""
    labels = data.y_train.argmax(axis=1)
    X = np.array([data.x_train[np.flatnonzero(labels == label)[:count]] for label in range(len(data.class_names))])
    title = f"{data.name}: {count} training images of each class"
    alt = f"Images in ten rows, one row for each class: {style.sentence(data.class_names)}"
    with style.figure(size=(8.2, 8.6), title=title, alt=alt) as (_, axis):
        image_table(axis, X, data.class_names)


def augmented_images(rows, title, source):
    """Plot the same images in several versions: ``{name of the version: images (N, 784)}``, one row for each."""
    X = np.stack([*rows.values()])
    alt = f"Table of images: {X.shape[1]} images in columns, their versions in rows: {style.sentence(rows)}"
    with style.figure(size=(8.5, 8.5 * len(X) / X.shape[1] + 0.7), title=title, alt=alt, source=source) as (_, axis):
        image_table(axis, X, [*rows])
        axis.set_xticks(32 * np.arange(1, X.shape[1]) - 0.5, [])
        axis.set_yticks(32 * np.arange(1, len(X)) - 0.5, [], minor=True)
        axis.tick_params(which="minor", length=0)
        axis.grid(visible=True, axis="x")
        axis.grid(visible=True, axis="y", which="minor")


def image_table(axis, X, rows):
    """Draw images, shape (len(rows), columns, 784), as one table with the names of its rows."""
    tiles = np.pad(X.reshape(*X.shape[:2], 28, 28), [(0, 0), (0, 0), (2, 2), (2, 2)])
    axis.imshow(np.concatenate(np.concatenate(tiles, axis=1), axis=1), cmap="Greys", vmin=0, vmax=1)
    axis.set(xticks=[])
    axis.set_yticks(32 * np.arange(len(rows)) + 15.5, rows)
    axis.tick_params(length=0)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)


def image_grid(X, above, below, title, source):
    """Plot images (N, 784), four in a row, each with a text above, in orange, and one below."""
    rows = max(1, -(-len(X) // 4))
    texts = "; ".join(" ".join(f"{over}, {under}".split()) for over, under in zip(above, below, strict=True))
    alt = f"{len(X)} images, each with a text above and one below: {texts}"
    with style.figure(rows, 4, size=(7.5, 2.3 * rows + 0.6), title=title, alt=alt, source=source) as (fig, axes):
        fig.get_layout_engine().set(h_pad=0.08, hspace=0.1)
        for axis in axes.flat[len(X) :]:
            axis.set_axis_off()
        for axis, pixels, over, under in zip(axes.flat[: len(X)], X, above, below, strict=True):
            draw_image(axis, pixels)
            axis.set_title(over, fontsize=12, color=style.ORANGE)
            axis.set_xlabel(under, fontsize=12)


def draw_image(axis, pixels):
    """Draw an image (784,) in a light frame."""
    axis.imshow(pixels.reshape(28, 28), cmap="Greys", vmin=0, vmax=1)
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    axis.spines[:].set(visible=True, color="lightgrey")


def misclassified(X, Y, Y_hat, indices, class_names, title, source):
    """Plot the images of these indices: predicted class and its probability above, true class below.

    X has the shape (N, 784); the one-hot labels Y and the predicted probabilities Y_hat have (N, C).
    """
    predicted, true = Y_hat.argmax(axis=1), Y.argmax(axis=1)
    above = [f"{class_names[predicted[i]]} {Y_hat[i, predicted[i]]:.1%}" for i in indices]
    below = [f"true: {class_names[true[i]]}" for i in indices]
    image_grid(X[indices], above, below, title, source)


def prediction(x, y_hat, class_names, title, source):
    """Plot an image x (784,) and the predicted probabilities y_hat (C,) of the classes."""
    alt = f"An image, and bars of the predicted probability of each class: {style.sentence(class_names)}"
    with style.figure(1, 2, size=(7.2, 3.4), title=title, alt=alt, source=source) as (_, axes):
        draw_image(axes[0], x)
        axes[1].barh(class_names, y_hat, color=style.BLUE)
        axes[1].invert_yaxis()
        axes[1].set(xlabel="predicted probability", xlim=(0, 1))
        style.percent(axes[1].xaxis)


def own_picture(grey, pixels, y_hat, class_names, title, source):
    """Plot a picture (height, width) of greys 0 … 255, what the network sees (784,), and the three best classes."""
    best = y_hat.argsort()[:-4:-1]
    alt = "A picture, the 28 × 28 pixels that the network sees, and bars of the three most probable classes: "
    alt += style.sentence(class_names[k] for k in best)
    with style.figure(1, 3, size=(8.5, 3.2), title=title, alt=alt, source=source) as (_, axes):
        axes[0].imshow(grey, cmap="gray", vmin=0, vmax=255)
        axes[0].set(xticks=[], yticks=[], title="the picture, in grey")
        axes[0].grid(visible=False)
        draw_image(axes[1], pixels)
        axes[1].set_title("what the network sees")
        axes[2].barh([class_names[k] for k in best], y_hat[best], color=style.BLUE)
        axes[2].invert_yaxis()
        axes[2].set(xlabel="predicted probability", xlim=(0, 1))
        style.percent(axes[2].xaxis)


def first_layer_weights(W, title, source, count=24):
    """Plot the weights W (784, units) of the first `count` units as images: positive in purple, negative in orange."""
    count = min(count, W.shape[1])
    limit = np.quantile(abs(W[:, :count]), 0.998)
    chosen = f"the first {count} of {W.shape[1]:,} units"
    alt = f"Images of the incoming weights of {chosen}, positive in purple, negative in orange: weight"
    shape = {"rows": 4, "columns": -(-count // 4), "squeeze": False}
    with style.figure(**shape, size=(7.5, 5), title=title, alt=alt, source=f"{chosen}; {source}") as (fig, axes):
        for axis in axes.flat:
            axis.set_axis_off()
        for axis, pixels in zip(axes.flat, W.T[:count], strict=False):
            image = draw_weights(axis, pixels, limit)
        fig.colorbar(image, ax=axes, shrink=0.9, label="weight")


def weight_table(rows, columns, title, source):
    """Plot weights as images, ``{name of the row: array (784, len(columns))}``: positive in purple, negative in orange.

    Each row has its own scale, up to the largest absolute value.
    """
    size = (8.5, 8.7 * len(rows) / (len(columns) + 1) + 1.1)
    alt = f"Table of images, positive in purple, negative in orange; rows: {style.sentence(rows)}; "
    alt += f"columns: {style.sentence(columns)}"
    with style.figure(len(rows), len(columns), size=size, title=title, alt=alt, source=source, squeeze=False) as (
        _,
        axes,
    ):
        for row, (name, W) in zip(axes, rows.items(), strict=True):
            row[0].set_ylabel(name, fontsize=style.SMALL)
            for axis, pixels in zip(row, W.T, strict=True):
                draw_weights(axis, pixels, np.quantile(abs(W), 0.998) or 1)
        for axis, name in zip(axes[0], columns, strict=True):
            axis.set_title(name.replace("/", "/\n").replace(" ", "\n"), fontsize=style.SMALL)


def draw_weights(axis, pixels, limit):
    """Draw weights (784,) as an image with the colours of −limit … limit, and return it."""
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    return axis.imshow(pixels.reshape(28, 28), cmap="PuOr", vmin=-limit, vmax=limit)
