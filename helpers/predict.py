"""Classify pictures with a trained network, or evaluate it on the test set.

Examples: python -m helpers.predict chosen.npz boot.jpg pictures/
          python -m helpers.predict chosen.npz --test

A picture may have any size and background. It is prepared as the images of the data sets were made, and the steps are
printed: made grey, inverted if its border is bright, cropped to the object, scaled to 28 × 28 pixels.
"""

import sys
from pathlib import Path

if __name__ == "__main__":  # before the other imports, which need this path, and of which one may fail
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # was the folder of this file, if it is run as a file
    from helpers.cli import run_module

    run_module("helpers.predict")

from helpers import cli
from helpers.data import pictures
from helpers.experiment.checkpoint import load_model
from helpers.experiment.metrics import predict
from helpers.files import atomic_write


def read_image(path, class_names, as_is=False):
    """Return the pixels (784,) of a picture, in [0, 1], and a list of what was done; ValueError if that fails."""
    grey = pictures.read_picture(path)
    if not as_is:
        try:
            return pictures.prepare(grey, class_names)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    if grey.shape != (pictures.SIZE, pictures.SIZE):
        raise ValueError(f"{path} has {grey.shape[1]} × {grey.shape[0]} pixels; with --as-is it must have 28 × 28")
    unlike = ["unlike the data sets: its border is bright"] if pictures.has_bright_border(grey) else []
    return (grey / 255).reshape(-1), unlike


def print_test_scores(path, model, allow_sample):
    """Print accuracy, and macro averages of precision, recall and F1 score of a network on the test set of its data."""
    from helpers.data import CLASS_NAMES, TITLES, load_data  # slow to import
    from helpers.experiment import metrics

    params, config, names, trained_on = model
    dataset = next((dataset for dataset, classes in CLASS_NAMES.items() if classes == tuple(names)), None)
    if dataset is None:
        known = " or ".join(CLASS_NAMES)
        raise ValueError(f"--test needs a network for the classes of {known}; the network in {path} has {names}")
    data = load_data(dataset, allow_sample=allow_sample)
    if trained_on and trained_on.removesuffix(" (sample)") != data.name.removesuffix(" (sample)"):
        remedy = "set DATASETS_DIR to the data that it was trained on, or unset it"
        if not trained_on.startswith(TITLES[dataset]):
            remedy = "--test needs a network that was trained on a published data set"
        raise ValueError(f"the network in {path} was trained on {trained_on}, and this is {data.name}: {remedy}")
    Y_hat = metrics.predict(params, data.x_test, **config.prediction)
    scores = metrics.per_class_scores(Y_hat, data.y_test, names).loc["macro avg"]
    print(f"{data.name}: test accuracy {metrics.accuracy(Y_hat, data.y_test):.4f}")
    print("macro average: " + ", ".join(f"{name} {scores[name]:.4f}" for name in ("precision", "recall", "f1-score")))


def main(arguments=None):
    """Print the three most probable classes of each picture, and the scores on the test set; return the exit code.

    0; 1 if there are no data or a file cannot be written; 2 for an argument or a file that is not valid. A picture that
    cannot be read does not keep the others from being classified.
    """
    parser = cli.parser("helpers.predict", __doc__)
    parser.add_argument("model", help="a model file, written by helpers.train --model or by save_model")
    parser.add_argument("pictures", nargs="*", metavar="picture", help="a file that Pillow reads, or a folder of such")
    parser.add_argument("--as-is", action="store_true", help="prepare nothing: each picture has 28 x 28 pixels")
    parser.add_argument("--save-prepared", metavar="FOLDER", help="write what the network sees to PNG files")
    parser.add_argument("--test", action="store_true", help="print accuracy, precision, recall and F1 on the test set")
    cli.add_allow_sample(parser)
    args = parser.parse_args(arguments)
    if not (args.pictures or args.test):
        parser.error("nothing to do: name at least one picture, or add --test")
    code = 0
    try:
        params, config, names, _ = model = load_model(args.model)
        if args.test:
            print_test_scores(args.model, model, args.allow_sample)
        inputs = params.layers[0][0].shape[0]
        if args.pictures and inputs != 784:
            raise ValueError(f"{args.model} holds a network of {inputs} inputs; an image has 784 pixels")
        paths = pictures.pictures_in(args.pictures)
        if args.save_prepared:
            Path(args.save_prepared).mkdir(parents=True, exist_ok=True)
        for i, path in enumerate(paths, 1):
            try:
                pixels, steps = read_image(path, names, args.as_is)
            except ValueError as error:
                cli.error(error)
                code = 2
                continue
            y_hat = predict(params, pixels[None].astype(params.theta.dtype), **config.prediction)[0]
            best = ", ".join(f"{names[k]} {y_hat[k]:.1%}" for k in y_hat.argsort()[:-4:-1])
            print(f"{path}: {best}" + (f" ({', '.join(steps)})" if steps else ""))
            if args.save_prepared:
                with atomic_write(Path(args.save_prepared, f"{path.stem}-{i}.png")) as file:
                    pictures.write_png(pixels, file)
    except ValueError as error:
        parser.error(str(error))
    except BrokenPipeError:  # as after | head
        raise
    except OSError as error:  # no data; a file cannot be written
        return cli.error(error)
    return code
