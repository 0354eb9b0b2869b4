"""Pictures as people have them, prepared as the images of the data sets were made.

An image of the data sets shows one light object on black, as large as it fits, in 28 × 28 pixels. A photograph shows it
on a bright background that is not even, somewhere, at any size. `prepare` does what the authors did: for Fashion-MNIST
(Xiao et al. 2017, section 2) the longer side of the object has 28 pixels, and the object is in the middle; for MNIST
(LeCun et al. 1998, section III.A) it has 20, and its centre of mass is in the middle.
"""

import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np

SIZE = 28  # pixels
LARGEST = 280  # pixels: what is larger is scaled to this first, which removes noise and takes less time
CONTRAST = 12  # of 255: the least by which an object stands out from the background
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic")


def read_picture(path):
    """Return a picture as greys 0 … 255, an array (height, width) of float32; ValueError if it cannot be read.

    It is turned as its EXIF data say, transparent parts become white, and of an animation the first picture is taken.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)  # a small file that claims to be huge
            with Image.open(path) as file:
                image = ImageOps.exif_transpose(file)
                if image.mode.startswith(("I", "F")):  # 16 or 32 bits
                    grey = np.asarray(image, np.float32)
                    most = 65535 if image.mode.startswith("I") else float(grey.max())
                    return grey * np.float32(255 / max(most, 1))
                if image.has_transparency_data:
                    image = image.convert("RGBA")
                    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
                return np.asarray(image.convert("L"), np.float32)
    except Exception as error:  # Pillow raises about ten different types for damaged files
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} cannot be read as an image: {reason}") from None


def prepare(grey, class_names=()):
    """Return a picture as an image of the data sets, and what was done.

    Parameters
    ----------
    grey : ndarray, shape (height, width)
        Greys 0 … 255.
    class_names : sequence of str, optional
        The classes of the network. If they are digits, the image is made like those of MNIST.

    Returns
    -------
    pixels : ndarray of float32, shape (784,)
        The image, pixels in [0, 1].
    steps : list of str
        What was done, in words. A picture of 28 × 28 pixels with a dark border is an image already: nothing.

    Raises
    ------
    ValueError
        If nothing in the picture stands out from its background.
    """
    digits = bool(class_names) and all(name.isdigit() for name in class_names)
    steps = []
    if has_bright_border(grey):
        grey = 255 - grey
        steps.append("inverted")
    if grey.shape == (SIZE, SIZE):
        return (grey / 255).reshape(-1).astype(np.float32), steps
    light, factor = cut_out(grey)
    steps.append(f"cropped to {light.shape[1] * factor:.0f} × {light.shape[0] * factor:.0f}")
    small = scaled(light, 20 if digits else SIZE) / np.float32(255)
    steps.append(f"scaled to {small.shape[1]} × {small.shape[0]}")
    return placed(small, by_mass=digits).reshape(-1), steps


def has_bright_border(grey):
    """Return whether the median of the sides is bright, as in 2 of 70,000 images of Fashion-MNIST, none of MNIST."""
    return np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])) > 127


def cut_out(grey, closer=True):
    """Return the light object, cropped and on black, and the number of pixels of the picture that one of its pixels is.

    Where a picture is scaled down and has background around the object, it is looked at a second time, closer, so that
    a small object keeps its details. If noise, of which more is seen there, hides the object, the first look counts.
    """
    factor = max(1.0, max(grey.shape) / LARGEST)
    light = without_background(scaled(grey, LARGEST) if factor > 1 else grey)
    sides = [np.flatnonzero(light.any(axis=axis)) for axis in (1, 0)]
    if not len(sides[0]):
        raise ValueError("nothing in it stands out from the background")
    box = [(side[0], side[-1] + 1) for side in sides]
    free = min(min(start, length - stop) for (start, stop), length in zip(box, light.shape, strict=True))
    longer = max(stop - start for start, stop in box)
    margin = max(1, longer // 10)
    if closer and factor > 1 and margin <= free:
        near = [slice(int((start - margin) * factor), int((stop + margin) * factor)) for start, stop in box]
        with suppress(ValueError):
            found = cut_out(grey[tuple(near)], closer=False)
            if max(found[0].shape) * found[1] > 0.9 * longer * factor:
                return found
    return light[tuple(slice(*side) for side in box)], factor


def without_background(grey):
    """Return the light object on black: the background, a plane through the greys of the border, is subtracted.

    What stands out by less than the noise of the border is background too, and so are specks.
    """
    from scipy import ndimage  # slow to import

    height, width = grey.shape
    y, x = np.mgrid[:height, :width] / max(height, width)
    edge = np.ones(grey.shape, bool)
    margin = max(1, min(height, width) // 20)
    edge[margin:-margin, margin:-margin] = False
    design = np.stack([np.ones(edge.sum()), x[edge], y[edge]], axis=1)
    plane = np.linalg.lstsq(design, grey[edge], rcond=None)[0]
    background = np.maximum(plane[0] + plane[1] * x + plane[2] * y, 0)
    light = np.clip((grey - background) / (255 - np.minimum(background, 250)), 0, 1) * 255
    noise = 1.5 * np.median(abs(grey[edge] - background[edge]))
    smooth = ndimage.gaussian_filter(light, max(height, width) / 200)  # specks of noise disappear
    parts, count = ndimage.label(smooth > max(CONTRAST, 2 * noise))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    keep = np.concatenate([[False], sizes > max(sizes, default=0) / 50])
    return np.where(keep[parts], light, 0)


def scaled(grey, longest):
    """Return the image with its longer side of `longest` pixels."""
    from PIL import Image

    factor = longest / max(grey.shape)
    size = [max(1, round(side * factor)) for side in grey.shape[::-1]]
    return np.asarray(Image.fromarray(grey.astype(np.float32)).resize(size, Image.Resampling.BOX))


def placed(small, by_mass):
    """Return the image on 28 × 28 black pixels: in the middle, or with its centre of mass at the pixel (14, 14)."""
    places = []
    for axis, side in enumerate(small.shape):
        weights = small.sum(axis=1 - axis)
        place = 14 - weights @ np.arange(side) / weights.sum() if by_mass else (SIZE - side) / 2
        places.append(int(np.clip(round(place), 0, SIZE - side)))
    image = np.zeros((SIZE, SIZE), np.float32)
    image[places[0] : places[0] + small.shape[0], places[1] : places[1] + small.shape[1]] = np.clip(small, 0, 1)
    return image


def write_png(pixels, file):
    """Write an image, pixels (784,) in [0, 1], to an open binary file."""
    from PIL import Image

    Image.fromarray(np.round(255 * pixels.reshape(SIZE, SIZE)).astype(np.uint8)).save(file, "png")


def pictures_in(paths):
    """Return the paths, with each folder replaced by the pictures in it; ValueError for a folder without any."""
    found = []
    for path in map(Path, paths):
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in ENDINGS) if path.is_dir() else [path]
        if not inside:
            raise ValueError(f"{path} is a folder without pictures ({', '.join(ENDINGS)})")
        found += inside
    return found
