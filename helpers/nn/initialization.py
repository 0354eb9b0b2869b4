"""The initial weights."""

import numpy as np

from helpers.nn.network import count_params, layer_sizes, unflatten
from helpers.nn.validation import Registry, check_int, check_zero_or_min, image_width

MIN_RECEPTIVE_FIELD = 0.5  # pixels; a narrower Gaussian may miss every pixel

# Each scheme draws the weights of a layer of fan-in n and fan-out m.
WEIGHT_INITS = Registry(
    "weight_init",
    {
        # normal, standard deviation 0.05 for every layer: the default of Keras's RandomNormal
        "random": lambda rng, n, m: rng.normal(0, 0.05, (n, m)),
        # uniform on ±√(6/(n+m)): Glorot & Bengio 2010, equation 16
        "Xavier": lambda rng, n, m: rng.uniform(-1, 1, (n, m)) * np.sqrt(6 / (n + m)),
        # normal, variance 2/n: He et al. 2015, equation 10
        "He": lambda rng, n, m: rng.normal(0, 1, (n, m)) * np.sqrt(2 / n),
        # all zero: all units of a layer then stay equal, and the network cannot learn
        "zeros": lambda rng, n, m: np.zeros((n, m)),
    },
)


def intial_weights(
    num_layers,
    hidden_size,
    weight_init="Xavier",
    *,
    receptive_field=0,
    inputs=784,
    classes=10,
    seed=0,
    dtype=np.float32,
):
    """Return the initial parameters of a network; the biases are zero.

    Parameters
    ----------
    num_layers : int
        Number of hidden layers.
    hidden_size : int or list of int
        Units in each hidden layer: one number for all, or one per layer.
    weight_init : {"random", "Xavier", "He", "zeros"}, default="Xavier"
        How the weights are drawn, see ``WEIGHT_INITS``.
    receptive_field : float, default=0
        Standard deviation, in pixels, of the Gaussian mask that multiplies the initial weights of each unit in the
        first layer (see `gaussian_masks`); 0 for none.
    inputs, classes : int
        Width of the input and number of classes.
    seed : int, default=0
        Seed of the random generator. The same seed gives the same weights.
    dtype : {numpy.float32, numpy.float64}
        Type of the parameters.

    Returns
    -------
    Params
        The parameters: ``theta`` (P,) and ``layers`` [(W_1, b_1), …].

    Raises
    ------
    ValueError
        If a name is unknown, a size is not a positive integer, or `receptive_field` is given and `inputs` is not the
        number of pixels of a square image.

    Notes
    -----
    The spelling of the name is historical; the assignment's users rely on it.
    """
    sizes = layer_sizes(num_layers, hidden_size, inputs, classes)
    draw = WEIGHT_INITS[weight_init]
    rng = np.random.default_rng(check_int("seed", seed, ge=0))
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype={dtype!r} must be numpy.float32 or numpy.float64")
    params = unflatten(np.zeros(count_params(sizes), dtype), sizes)
    for W, _ in params.layers:
        W[:] = draw(rng, *W.shape)
    if check_zero_or_min("receptive_field", receptive_field, MIN_RECEPTIVE_FIELD):
        W, _ = params.layers[0]
        W *= gaussian_masks(rng, *W.shape, receptive_field)
    return params


def gaussian_masks(rng, n, m, sigma):
    """Return m Gaussian masks e^(−r²/2σ²) on an image of n = d² pixels.

    r is the distance from a centre that is drawn uniformly from the image. Multiplied with the
    initial weights of the first layer, the masks give each unit a local receptive field (Hubel &
    Wiesel 1962): a prior that neighbouring pixels belong together, which a dense layer lacks. The
    mean square of a mask is 1, so that the variance of the layer's pre-activations is unchanged.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws the centres.
    n : int
        Number of pixels, a square number.
    m : int
        Number of masks.
    sigma : float
        σ in pixels.

    Returns
    -------
    ndarray, shape (n, m)
        One mask per column.
    """
    d = image_width("inputs", n)
    y, x = rng.uniform(0, d, (2, m))
    pixels = np.arange(d)[:, np.newaxis] + 0.5  # the pixels' centres
    rows, columns = (np.exp(-(((pixels - centre) / sigma) ** 2) / 2) for centre in (y, x))
    masks = (rows[:, np.newaxis] * columns).reshape(n, m)
    return masks / np.sqrt(np.mean(masks**2, axis=0))
