"""Data augmentation. A batch X (N, d²) has one image per row, read as a square of d × d pixels."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from helpers.experiment.checks import image_width

NEIGHBOURS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))  # the shifts over which predictions are averaged


def horizontal_flip(X):
    """Return the images of X (N, d²) with left and right exchanged."""
    d = image_width("X", X.shape[1])
    return X.reshape(-1, d, d)[:, :, ::-1].reshape(X.shape)


def random_horizontal_flip(rng, X, p):
    """Flip each image of X (N, d²) with probability `p`, in place."""
    chosen = rng.random(len(X)) < p
    X[chosen] = horizontal_flip(X[chosen])


def shift(X, rows, columns):
    """Return the images of X (N, d²), moved by `rows` down and `columns` to the right.

    Zeros fill the free place.
    """
    d, p = image_width("X", X.shape[1]), max(abs(rows), abs(columns))
    padded = np.pad(X.reshape(-1, d, d), [(0, 0), (p, p), (p, p)])
    row, column = p - rows, p - columns
    return padded[:, row : row + d, column : column + d].reshape(X.shape)


def random_shift(rng, X, pixels):
    """Move each image of X (N, d²) by −pixels … pixels rows and columns, in place.

    All moves are equally probable.
    """
    d = image_width("X", X.shape[1])
    padded = np.pad(X.reshape(-1, d, d), [(0, 0), (pixels, pixels), (pixels, pixels)])
    windows = sliding_window_view(padded, (d, d), axis=(1, 2))  # one for each move
    rows, columns = pixels - rng.integers(-pixels, pixels, (len(X), 2), endpoint=True).T
    X[:] = windows[np.arange(len(X)), rows, columns].reshape(X.shape)


def random_affine(rng, X, amount):
    """Rotate, scale and shear each image of X (N, d²) about its centre at random, in place.

    Pixel x of the new image is that at (I + M) x of the old one, with x counted from the centre and the four entries
    of M uniform in −amount … amount; between pixels the image is interpolated linearly (Simard et al. 2003, section 2).
    """
    from scipy import ndimage  # slow to import

    d = image_width("X", X.shape[1])
    matrices, centre = np.eye(2) + rng.uniform(-amount, amount, (len(X), 2, 2)), np.full(2, (d - 1) / 2)
    for x, matrix in zip(X, matrices, strict=True):
        x[:] = ndimage.affine_transform(x.reshape(d, d), matrix, centre - matrix @ centre, order=1).ravel()


def mixup(rng, X, Y, alpha):
    """x ← λx + (1−λ)x′ and y ← λy + (1−λ)y′, in place, with another image x′ of the batch.

    λ is drawn from Beta(α, α) for each image: the smaller α, the closer λ is to 0 or 1 (Zhang et
    al. 2018, section 2).
    """
    mix = rng.beta(alpha, alpha, (len(X), 1)).astype(X.dtype)
    other = rng.permutation(len(X))
    for Z in (X, Y):
        Z += (1 - mix) * (Z[other] - Z)


def augment(rng, X, Y, config):
    """Change a batch of images X (N, d²) and labels Y (N, C) in place, as the configuration says."""
    if config.flip_probability:
        random_horizontal_flip(rng, X, config.flip_probability)
    if config.max_shift:
        random_shift(rng, X, config.max_shift)
    if config.affine:
        random_affine(rng, X, config.affine)
    if config.mixup:
        mixup(rng, X, Y, config.mixup)
