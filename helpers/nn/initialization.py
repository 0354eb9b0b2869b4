"""The initial weights."""

import numpy as np

from helpers.nn.functions import Registry
from helpers.nn.network import Params, check_int, count_params, layer_sizes

# Each scheme draws the weights of a layer of fan-in n and fan-out m.
WEIGHT_INITS = Registry(
    "weight_init",
    # normal, standard deviation 0.05 for every layer: the default of Keras's RandomNormal
    random=lambda rng, n, m: rng.normal(0, 0.05, (n, m)),
    # uniform on ±√(6/(n+m)): Glorot & Bengio 2010, equation 16
    Xavier=lambda rng, n, m: rng.uniform(-1, 1, (n, m)) * np.sqrt(6 / (n + m)),
    # normal, variance 2/n: He et al. 2015, equation 10
    He=lambda rng, n, m: rng.normal(0, 1, (n, m)) * np.sqrt(2 / n),
    # all zero: with ReLU and tanh, only the last biases learn; with sigmoid, the units of a layer stay equal
    zeros=lambda rng, n, m: np.zeros((n, m)),
)


def intial_weights(
    num_layers, hidden_size, weight_init="Xavier", *, inputs=784, classes=10, seed=0, dtype=np.float32
):  # fmt: skip
    """Return the initial parameters of a network; the biases are zero. Spelt as in the assignment.

    Parameters
    ----------
    num_layers, hidden_size : int, int or list of int
        Number of hidden layers, and their units: one number for all, or one per layer.
    weight_init : {"random", "Xavier", "He", "zeros"}, default="Xavier"
        How the weights are drawn, see ``WEIGHT_INITS``.
    inputs, classes : int
        Width of the input and number of classes.
    seed : int or numpy.random.Generator, default=0
        The random generator, or its seed. The same seed gives the same weights.
    dtype : {numpy.float32, numpy.float64}
        Type of the parameters.

    Returns
    -------
    Params
        The parameters: ``theta`` (P,) and ``layers`` [(W_1, b_1), …].

    Raises
    ------
    ValueError
        If a name is unknown, or a size is not a positive integer.
    """
    sizes, draw = layer_sizes(num_layers, hidden_size, inputs, classes), WEIGHT_INITS[weight_init]
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype={dtype!r} must be numpy.float32 or numpy.float64")
    rng = seed if isinstance(seed, np.random.Generator) else np.random.default_rng(check_int("seed", seed, ge=0))
    params = Params(np.zeros(count_params(sizes), dtype), sizes)
    for W, _ in params.layers:
        W[:] = draw(rng, *W.shape)
    return params
