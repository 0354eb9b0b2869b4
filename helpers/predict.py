"""Classify images with a trained network.

Example: python -m helpers.predict chosen.npz coat.png bag.png

Each image must have 28 × 28 pixels and show a light object on a dark background, as in the data sets.
"""

import numpy as np

from helpers import cli
from helpers.nn import load_model, predict


def read_image(path):
    """Return the image file as a row (1, 784) of float32 in [0, 1]; ValueError if it is not a 28 × 28 image."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.size != (28, 28):
                width, height = image.size
                raise ValueError(f"{path} has {width} × {height} pixels; it must have 28 × 28")
            if image.mode not in ("1", "L", "P", "RGB"):
                raise ValueError(f"{path} has the pixel format {image.mode}; save it as 8-bit greyscale or RGB")
            return np.asarray(image.convert("L"), np.float32).reshape(1, 784) / np.float32(255)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from None


def main(arguments=None):
    """Print the three most probable classes of each image; return 0. A file that is not valid ends with exit code 2."""
    parser = cli.parser("helpers.predict", __doc__)
    parser.add_argument("model", help="a model file, written by helpers.train --model or by save_model")
    parser.add_argument("images", nargs="+", metavar="image", help="an image of 28 x 28 pixels, such as a PNG file")
    args = parser.parse_args(arguments)
    try:
        params, config, names = load_model(args.model)
        X = np.concatenate([read_image(path) for path in args.images]).astype(params.theta.dtype)
        Y_hat = predict(params, X, **config.prediction)
    except ValueError as error:
        parser.error(str(error))
    for path, y_hat in zip(args.images, Y_hat, strict=True):
        print(f"{path}: " + ", ".join(f"{names[k]} {y_hat[k]:.1%}" for k in y_hat.argsort()[:-4:-1]))
    return 0


if __name__ == "__main__":
    cli.run(main)
