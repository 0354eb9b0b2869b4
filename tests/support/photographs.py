"""Pictures of images of a data set, as people might take them."""

import numpy as np
from PIL import Image

WAYS = ("on white", "small and off-centre", "uneven grey with noise")


def photograph(pixels, way, rng):
    """Return a picture of 600 × 800 pixels of an image (784,) of a data set: dark on a bright background."""
    side = {"on white": 520, "small and off-centre": 220, "uneven grey with noise": 380}[way]
    size = Image.fromarray(pixels.reshape(28, 28).astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
    object_, background = np.clip(np.asarray(size), 0, 1), np.full((800, 600), 255.0)
    if way == "uneven grey with noise":
        background = 190 + 30 * np.linspace(-1, 1, 800)[:, None] + 15 * np.linspace(-1, 1, 600)
    top, left = (800 - side) // 2, (600 - side) // 2
    if way != "on white":
        top, left = rng.integers(20, 780 - side), rng.integers(20, 580 - side)
    picture = background.copy()
    picture[top : top + side, left : left + side] *= 1 - object_
    if way == "uneven grey with noise":
        picture += rng.normal(0, 6, picture.shape)
    return Image.fromarray(np.clip(np.round(picture), 0, 255).astype(np.uint8))
