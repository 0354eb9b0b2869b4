"""Figures that the reader changes, with sliders or with a picture.

Without sliders, or without ipywidgets, they are shown once, as they are at the start.
"""

import numpy as np

from helpers.data.pictures import prepare, read_picture
from helpers.experiment.metrics import predict
from helpers.lesson import figures
from helpers.nn import optimizers


def explore(draw, sliders, **controls):
    """Show the figure `draw(**values)` with a control for each argument; without `sliders`, with the initial values.

    `controls` holds for each argument of `draw` the name of a widget class and its arguments, which include ``value``.
    """
    if sliders:
        try:
            import ipywidgets
            from IPython.display import display
        except ImportError:
            print("The sliders need ipywidgets: pip install ipywidgets")
        else:
            widgets = {
                name: getattr(ipywidgets, kind)(**{"continuous_update": False} if "Slider" in kind else {}, **arguments)
                for name, (kind, arguments) in controls.items()
            }
            output = ipywidgets.interactive_output(draw, widgets)
            display(ipywidgets.VBox([*widgets.values(), output]))
            return
    draw(**{name: arguments["value"] for name, (_, arguments) in controls.items()})


def explore_optimizers(optimize, loss, *, sliders):
    """Show the path of an optimizer on a loss of two parameters, with controls for its hyperparameters.

    ``optimize(rule, **hyperparameters)`` returns the path, an array (T, 2); ``loss(x, y)`` takes arrays.
    """
    rules = {name: getattr(optimizers, name) for name in ("sgd", "momentum", "nag", "rmsprop", "adam", "nadam")}

    def draw(optimizer, learning_rate, beta):
        names = optimizers.hyperparameters(rules[optimizer])
        decay = {name: beta for name in ("momentum", "beta", "beta1") if name in names}
        label = f"{optimizer}, η = {learning_rate:.2f}" + (f", β = {beta:.2f}" if decay else "")
        with np.errstate(all="ignore"):  # a learning rate that is too large overflows
            path = optimize(rules[optimizer], learning_rate=learning_rate, **decay)
        final = loss(*path[-1])
        end = f"the loss is {final:.1e} after {len(path) - 1} steps" if final < loss(*path[0]) else "it diverges"
        figures.optimizer_paths({label: path}, loss, f"{label}: {end}")

    explore(
        draw, sliders,
        optimizer=("Dropdown", {"options": list(rules), "value": "momentum", "description": "optimizer"}),
        learning_rate=("FloatSlider", {"min": 0.02, "max": 1.2, "step": 0.02, "value": 0.3, "description": "η"}),
        beta=("FloatSlider", {"min": 0.0, "max": 0.98, "step": 0.02, "value": 0.9, "description": "β"}),
    )  # fmt: skip


def explore_weights(weights, units, title, source, *, sliders):
    """Show the first `units` columns of weights (784, n) recorded at several steps, ``{step: weights}``, as images.

    Without sliders all steps are shown, as rows; with them, the one that the reader chooses.
    """
    rows = {f"step {step}": W[:, :units] for step, W in weights.items()}
    columns = [f"unit {j + 1}" for j in range(units)]
    if not sliders:
        figures.weight_table(rows, columns, title, source)
        return

    def draw(step):
        figures.weight_table({step: rows[step]}, columns, title, source)

    explore(
        draw, sliders, step=("SelectionSlider", {"options": list(rows), "value": list(rows)[-1], "description": "at"})
    )


def explore_predictions(params, data, prediction, *, sliders):
    """Show a test image, with controls that shift and rotate it, and what ``predict(params, X, **prediction)`` says."""
    boot = first_boot(data)

    def draw(image, right, down, degrees):
        pixels = transform(data.x_test[image], right, down, degrees)
        y_hat = predict(params, pixels[None], **prediction)[0]
        predicted, true = (data.class_names[y.argmax()] for y in (y_hat, data.y_test[image]))
        title = f"Predicted: {predicted}, with {y_hat.max():.0%} (label: {true})"
        figures.prediction(pixels, y_hat, data.class_names, title, data.name)

    pixels = {"min": -8, "max": 8, "value": 0}
    explore(
        draw, sliders,
        image=("BoundedIntText", {"min": 0, "max": len(data.x_test) - 1, "value": boot, "description": "test image"}),
        right=("IntSlider", pixels | {"description": "right, px"}),
        down=("IntSlider", pixels | {"description": "down, px"}),
        degrees=("IntSlider", {"min": -180, "max": 180, "step": 5, "value": 0, "description": "rotation, °"}),
    )  # fmt: skip


def first_boot(data):
    """Return the index of the first ankle boot of the test set."""
    return int(np.flatnonzero(data.y_test[:, 9])[0])


def classify_picture(path, params, class_names, prediction):
    """Show how a picture is prepared for the network, and its prediction; if `path` is None, say how to choose one."""
    if path is None:
        print("Choose a picture, such as a photograph of a shoe: picture = 'shoe.jpg'")
        return
    grey = read_picture(path)
    pixels, steps = prepare(grey, class_names)
    y_hat = predict(params, pixels[None].astype(params.theta.dtype), **prediction)[0]
    title = f"{class_names[y_hat.argmax()]}, with {y_hat.max():.0%}"
    title += f": the picture was {', '.join(steps)}" if steps else ""
    figures.own_picture(grey, pixels, y_hat, class_names, title, str(path))


def transform(pixels, right, down, degrees):
    """Return the image (784,), rotated counter-clockwise around its centre, then shifted by whole pixels."""
    from scipy import ndimage  # slow to import

    image = pixels.reshape(28, 28)
    rotated = ndimage.rotate(image, degrees, reshape=False, order=1) if degrees else image
    return np.clip(ndimage.shift(rotated, (down, right), order=0), 0, 1).astype(pixels.dtype).reshape(-1)
