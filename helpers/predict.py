"""What a trained network says of images: python -m helpers.predict model.npz coat.png bag.png

An image is 28 × 28 pixels, the thing light on a dark ground, as in the data sets.
"""

import argparse

import numpy as np

from helpers import console
from helpers.checkpoint import load_model
from helpers.evaluation import predict


def read_image(path):
    """Return the image file as a row (1, 784) of float32 in [0, 1]; ValueError if it is no image of 28 × 28 pixels."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.size != (28, 28):
                width, height = image.size
                raise ValueError(f"{path} has {width} × {height} pixels; it must have 28 × 28")
            if image.mode not in ("1", "L", "P", "RGB"):
                raise ValueError(f"{path} has pixels of the kind {image.mode}; save it as grey or RGB with 8 bits each")
            return np.asarray(image.convert("L"), np.float32).reshape(1, 784) / np.float32(255)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from None


def main(arguments=None):
    """Print each image's three most probable classes; return the exit code: 0, or 2 for a file that is no use."""
    parser = argparse.ArgumentParser(prog="python -m helpers.predict", description=__doc__, allow_abbrev=False)
    parser.add_argument("model", help="what helpers.train --model, or save_model, wrote")
    parser.add_argument("images", nargs="+", metavar="image", help="a picture of 28 x 28 pixels, such as a PNG file")
    given = parser.parse_args(arguments)
    try:
        params, config, names = load_model(given.model)
        X = np.concatenate([read_image(path) for path in given.images]).astype(params.theta.dtype)
        Y_hat = predict(params, X, activation=config.activation, mirror=config.flip > 0)
    except ValueError as error:
        parser.error(str(error))
    for path, y_hat in zip(given.images, Y_hat):
        print(f"{path}: " + ", ".join(f"{names[k]} {y_hat[k]:.1%}" for k in y_hat.argsort()[:-4:-1]))
    return 0


if __name__ == "__main__":
    console.run(main)
