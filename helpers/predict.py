"""Classify images with a trained network, or evaluate it on the test set.

Examples: python -m helpers.predict chosen.npz coat.png bag.png
          python -m helpers.predict chosen.npz --test

Each image must have 28 × 28 pixels and show a light object on a dark background, as in the data sets.
"""

import sys
import warnings
from pathlib import Path

if __name__ == "__main__":  # before the other imports, which need this path, and of which one may fail
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # was the folder of this file, if it is run as a file
    from helpers.cli import run_module

    run_module("helpers.predict")

import numpy as np

from helpers import cli
from helpers.experiment.checkpoint import load_model
from helpers.experiment.metrics import predict


def read_image(path):
    """Return the image file as a row (1, 784) of float32 in [0, 1]; ValueError if it is not a 28 × 28 image."""
    from PIL import Image

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            (width, height), mode = image.size, image.mode
            readable = (width, height) == (28, 28) and mode in ("1", "L", "P", "RGB")
            pixels = np.asarray(image.convert("L"), np.float32) if readable else None
    except Exception as error:  # Pillow raises about ten different types for damaged files
        raise ValueError(f"{path} cannot be read as an image: {type(error).__name__}: {error}") from None
    if (width, height) != (28, 28):
        raise ValueError(f"{path} has {width} × {height} pixels; it must have 28 × 28")
    if not readable:
        raise ValueError(f"{path} has the pixel format {mode}; save it as 8-bit greyscale or RGB")
    return pixels.reshape(1, 784) / np.float32(255)


def print_test_scores(path, params, config, names, allow_sample):
    """Print accuracy, and macro averages of precision, recall and F1 score on the test set of these classes.

    `path` is that of the network, for an error.
    """
    from helpers.data import CLASS_NAMES, load_data  # slow to import
    from helpers.experiment import metrics

    dataset = next((dataset for dataset, classes in CLASS_NAMES.items() if classes == tuple(names)), None)
    if dataset is None:
        known = " or ".join(CLASS_NAMES)
        raise ValueError(f"--test needs a network for the classes of {known}; the network in {path} has {names}")
    data = load_data(dataset, allow_sample=allow_sample)
    Y_hat = metrics.predict(params, data.x_test, **config.prediction)
    scores = metrics.per_class_scores(Y_hat, data.y_test, names).loc["macro avg"]
    print(f"{data.name}: test accuracy {metrics.accuracy(Y_hat, data.y_test):.4f}")
    print("macro average: " + ", ".join(f"{name} {scores[name]:.4f}" for name in ("precision", "recall", "f1-score")))


def main(arguments=None):
    """Print the three most probable classes of each image, and the scores on the test set; return the exit code.

    0; 1 if there are no data; 2 for an argument or a file that is not valid.
    """
    parser = cli.parser("helpers.predict", __doc__)
    parser.add_argument("model", help="a model file, written by helpers.train --model or by save_model")
    parser.add_argument("images", nargs="*", metavar="image", help="an image of 28 x 28 pixels, such as a PNG file")
    parser.add_argument("--test", action="store_true", help="print accuracy, precision, recall and F1 on the test set")
    cli.add_allow_sample(parser)
    args = parser.parse_args(arguments)
    if not (args.images or args.test):
        parser.error("nothing to do: name at least one image, or add --test")
    try:
        params, config, names = load_model(args.model)
        if args.test:
            print_test_scores(args.model, params, config, names, args.allow_sample)
        if not args.images:
            return 0
        X = np.concatenate([read_image(path) for path in args.images]).astype(params.theta.dtype)
        inputs = params.layers[0][0].shape[0]
        if inputs != X.shape[1]:
            raise ValueError(f"{args.model} holds a network of {inputs} inputs; an image has {X.shape[1]} pixels")
        Y_hat = predict(params, X, **config.prediction)
    except ValueError as error:
        parser.error(str(error))
    except FileNotFoundError as error:
        return cli.error(error)
    for path, y_hat in zip(args.images, Y_hat, strict=True):
        print(f"{cli.printable(path)}: " + ", ".join(f"{names[k]} {y_hat[k]:.1%}" for k in y_hat.argsort()[:-4:-1]))
    return 0
