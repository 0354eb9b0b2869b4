"""Techniques that help a network to generalise: local receptive fields at the start, dropout in each step."""

import numpy as np

from helpers.experiment.checks import image_width
from helpers.nn.network import NUMPY

MIN_RECEPTIVE_FIELD = 0.5  # pixels; a narrower Gaussian may miss every pixel


def gaussian_masks(rng, n, m, sigma):
    """Return m Gaussian masks e^(−r²/2σ²) on images of n = d² pixels, an array (n, m).

    r is the distance from a centre that `rng` draws uniformly from the image, σ is in
    pixels. Multiplied with the first layer's initial weights, the masks give each unit
    a local receptive field (Hubel & Wiesel 1962): a prior that neighbouring pixels
    belong together, which a dense layer lacks. The mean square of a mask is 1, so that
    the variance of the pre-activations is unchanged on average over the units, if all
    pixels have the same variance.
    """
    d = image_width("inputs", n)
    y, x = rng.uniform(0, d, (2, m))
    pixels = np.arange(d)[:, np.newaxis] + 0.5  # the pixels' centres
    rows, columns = (np.exp(-(((pixels - c) / sigma) ** 2) / 2) for c in (y, x))
    masks = (rows[:, np.newaxis] * columns).reshape(n, m)
    return masks / np.sqrt(np.mean(masks**2, axis=0))


def dropout_masks(rng, dropout, N, params, engine=NUMPY):
    """Return the masks of a batch of N samples: for the inputs None, for each hidden layer an inverted-dropout mask.

    An entry is 0 with probability `dropout`, else 1/(1 − dropout). Dividing during training keeps the expected input of
    a unit unchanged, so that prediction needs no correction (Srivastava et al. 2014, section 10).
    """
    uniform = [rng.random((N, d), params.theta.dtype) for d in params.sizes[1:-1]]
    return [None, *(engine.apply(keep, M, dropout=dropout) for M in uniform)]


def keep(M, *, dropout):
    """Return the mask for uniform random numbers: 1/(1 − dropout) where m ≥ dropout, else 0."""
    return (dropout <= M).astype(M.dtype) * (1 / (1 - dropout))
